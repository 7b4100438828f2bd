/**
 * A session as people read it: each action with what came of it, what was said, and the changes that somebody
 * or a limit made. A pure fold of the events.
 */

import type { Person } from '../protocol.js';
import type {
  AgentActionEvent,
  AgentActions,
  AgentEvent,
  AgentObservationEvent,
  AgentState,
  AgentUsage,
  InputPolicy,
} from './events.js';
import { AGENT_ENDS } from './state.js';

interface ItemBase {
  /** The number of the event that brought it. */
  readonly id: number;
  /** Milliseconds since 1970 UTC. */
  readonly at: number;
  /** How many sub-agents deep it happened. */
  readonly depth: number;
}

/** Words of a person to the agent, or of the agent. `taken`: the agent has read it. */
export interface MessageItem extends ItemBase {
  readonly kind: 'message';
  readonly from: 'person' | 'agent';
  readonly user: Person | null;
  readonly text: string;
  readonly policy: InputPolicy | null;
  readonly taken: boolean;
  /** The agent waits for an answer. */
  readonly waits: boolean;
  readonly usage: AgentUsage | null;
}

/** Words for the people who watch. */
export interface CommentItem extends ItemBase {
  readonly kind: 'comment';
  readonly user: Person | null;
  readonly text: string;
}

/** `asking`: people are asked. `running`: no result yet. `failed`: it ended badly. `refused`: it was not
 * carried out. `interrupted`: it did not end by itself, or nobody knows how it ended. */
export type StepStatus = 'asking' | 'running' | 'done' | 'failed' | 'refused' | 'interrupted';

export type StepName = 'run' | 'run_ipython' | 'read' | 'write' | 'edit' | 'think' | 'delegate';

export type StepAction = {
  [Name in StepName]: { readonly name: Name; readonly args: AgentActions[Name] };
}[StepName];

/** An action of the agent, and what came of it. */
export interface StepItem extends ItemBase {
  readonly kind: 'step';
  readonly action: StepAction;
  readonly status: StepStatus;
  readonly result: AgentObservationEvent | null;
  /** Milliseconds since 1970 at which it began: when somebody agreed, where people were asked. */
  readonly began_at: number;
  readonly ended_at: number | null;
  /** Who agreed, or refused. */
  readonly decided_by: Person | null;
  readonly usage: AgentUsage | null;
}

/** The agent has finished, or will not do the task. */
export interface EndItem extends ItemBase {
  readonly kind: 'end';
  readonly outcome: 'finished' | 'rejected';
  readonly text: string;
  readonly outputs: Readonly<Record<string, unknown>>;
  readonly usage: AgentUsage | null;
}

/** The agent's state changed, by a person (`user`) or by `reason`. */
export interface StateItem extends ItemBase {
  readonly kind: 'state';
  readonly state: AgentState;
  readonly reason: string;
  readonly user: Person | null;
  readonly resume_at: number;
}

/** Something went wrong beside the agent's actions. */
export interface ErrorItem extends ItemBase {
  readonly kind: 'error';
  readonly text: string;
  readonly code: string;
  readonly reference: string | null;
}

/** About the session: `moved` to another node, `member_removed`, `condensation` (`text` is the summary). */
export interface NoteItem extends ItemBase {
  readonly kind: 'note';
  readonly note: string;
  readonly text: string;
}

export type TimelineItem =
  MessageItem | CommentItem | StepItem | EndItem | StateItem | ErrorItem | NoteItem;

export interface Timeline {
  readonly items: readonly TimelineItem[];
  /** Places of items that later events are about, by the number of their event. */
  readonly places: ReadonlyMap<number, number>;
  /** Requests of people that are not decided. */
  readonly requests: ReadonlyMap<number, AgentActionEvent & { name: 'change_agent_state' }>;
  /** The actions of the sub-agents at work. */
  readonly delegates: readonly number[];
}

export const EMPTY_TIMELINE: Timeline = Object.freeze({
  items: [],
  places: new Map(),
  requests: new Map(),
  delegates: [],
});

const STEPS: ReadonlySet<string> = new Set<StepName>([
  ...(['run', 'run_ipython', 'read', 'write', 'edit', 'think', 'delegate'] as const),
]);

/** Apply `events`, in order. Items that are not touched keep their identity. */
export function foldTimeline(timeline: Timeline, events: readonly AgentEvent[]): Timeline {
  if (events.length === 0) return timeline;
  const draft = new Draft(timeline);
  for (const event of events) draft.apply(event);
  return draft.result();
}

class Draft {
  readonly #items: TimelineItem[];
  readonly #places: Map<number, number>;
  readonly #requests: Map<number, AgentActionEvent & { name: 'change_agent_state' }>;
  #delegates: readonly number[];

  constructor({ items, places, requests, delegates }: Timeline) {
    this.#items = [...items];
    this.#places = new Map(places);
    this.#requests = new Map(requests);
    this.#delegates = delegates;
  }

  result(): Timeline {
    return {
      items: this.#items,
      places: this.#places,
      requests: this.#requests,
      delegates: this.#delegates,
    };
  }

  apply(event: AgentEvent): void {
    if (event.kind === 'action') this.#act(event);
    else if (event.kind === 'observation') this.#observe(event);
  }

  #act(event: AgentActionEvent): void {
    const base = this.#base(event);
    switch (event.name) {
      case 'message': {
        const { content: text, policy = null, wait: waits = false } = event.args;
        const from = event.source === 'user' ? 'person' : 'agent';
        const { user, usage } = event;
        const item = { from, user, text, policy, taken: false, waits, usage } as const;
        this.#add({ ...base, kind: 'message', ...item });
        break;
      }
      case 'comment':
        this.#add({ ...base, kind: 'comment', user: event.user, text: event.args.content });
        break;
      case 'change_agent_state':
        this.#requests.set(event.id, event);
        break;
      case 'finish':
        this.#end(event, 'finished', event.args.outputs ?? {});
        break;
      case 'reject':
        this.#end(event, 'rejected', {});
        break;
      default:
        this.#begin(event);
    }
  }

  #begin(event: AgentActionEvent): void {
    if (!STEPS.has(event.name)) return;
    this.#add({
      ...this.#base(event),
      kind: 'step',
      action: { name: event.name, args: event.args } as StepAction,
      status: event.asks ? 'asking' : 'running',
      result: null,
      began_at: event.at,
      ended_at: null,
      decided_by: null,
      usage: event.usage,
    });
    if (event.name === 'delegate') this.#delegates = [...this.#delegates, event.id];
  }

  #end(
    event: AgentActionEvent & { name: 'finish' | 'reject' },
    outcome: EndItem['outcome'],
    outputs: Record<string, unknown>,
  ): void {
    const { usage } = event;
    const text = event.args.content;
    this.#add({ ...this.#base(event), kind: 'end', outcome, text, outputs, usage });
  }

  #observe(event: AgentObservationEvent): void {
    switch (event.name) {
      case 'input_taken':
        for (const id of event.extras.ids) {
          this.#change(id, 'message', (item) => ({ ...item, taken: true }));
        }
        break;
      case 'agent_state_changed':
        this.#changed(event);
        break;
      case 'status':
        // That a session is ready is seen from what comes next.
        if (event.extras.status !== 'ready') this.#note(event, event.extras.status);
        break;
      case 'condensation':
        this.#note(event, 'condensation');
        break;
      default:
        if (!this.#conclude(event) && event.name === 'error') this.#fail(event);
    }
  }

  /** A result, and the action that it is of. */
  #conclude(event: AgentObservationEvent): boolean {
    const { cause } = event;
    if (cause === null) return false;
    const at = this.#delegates.indexOf(cause);
    if (at >= 0) this.#delegates = this.#delegates.slice(0, at);
    return this.#change(cause, 'step', (item) => ({
      ...item,
      status: statusOf(event),
      result: event,
      ended_at: event.at,
    }));
  }

  #changed(event: AgentObservationEvent & { name: 'agent_state_changed' }): void {
    const request = event.cause === null ? undefined : this.#requests.get(event.cause);
    if (request) this.#requests.delete(request.id);
    const { agent_state: state, reason = '', confirmed, resume_at = 0 } = event.extras;
    const user = request?.user ?? null;
    const about = request?.args.ask_id;
    if (confirmed || state === 'awaiting_user_input') {
      if (about !== undefined) this.#decide(about, event, user, confirmed === true);
    } else if (request || (TOLD.has(state) && !this.#toldAs(state))) {
      const told = { state, reason, user, resume_at };
      this.#add({ ...this.#base(event), kind: 'state', ...told });
    }
    if (AGENT_ENDS.has(state)) this.#endAll(event);
  }

  /** A failure was told right before, in its own words. */
  #toldAs(state: AgentState): boolean {
    return state === 'error' && this.#items.at(-1)?.kind === 'error';
  }

  #decide(about: number, event: AgentEvent, user: Person | null, agreed: boolean): void {
    this.#change(about, 'step', (item) => ({
      ...item,
      decided_by: user,
      ...(agreed ? { status: 'running', began_at: event.at } : {}),
    }));
  }

  /** The run has ended: what has no result by now gets none. */
  #endAll(event: AgentEvent): void {
    this.#delegates = [];
    for (const [at, item] of this.#items.entries()) {
      if (item.kind !== 'step' || item.result || item.ended_at !== null) continue;
      const status = item.status === 'asking' ? 'refused' : 'interrupted';
      this.#items[at] = { ...item, status, ended_at: event.at };
    }
  }

  #fail(event: AgentObservationEvent & { name: 'error' }): void {
    if (event.cause !== null) this.#requests.delete(event.cause);
    const { code, reference = null } = event.extras;
    this.#add({ ...this.#base(event), kind: 'error', text: event.content, code, reference });
  }

  #note(event: AgentObservationEvent, note: string): void {
    // A session that is looked at now and then is taken up again each time.
    const last = this.#items.at(-1);
    if (note === 'moved' && last?.kind === 'note' && last.note === 'moved') return;
    this.#add({ ...this.#base(event), kind: 'note', note, text: event.content });
  }

  #base({ id, at }: AgentEvent): ItemBase {
    return { id, at, depth: this.#delegates.length };
  }

  #add(item: TimelineItem): void {
    this.#places.set(item.id, this.#items.length);
    this.#items.push(item);
  }

  /** False where there is no such item: its event is before what was read. */
  #change<Kind extends TimelineItem['kind']>(
    id: number,
    kind: Kind,
    change: (item: Extract<TimelineItem, { kind: Kind }>) => TimelineItem,
  ): boolean {
    const place = this.#places.get(id);
    const item = place === undefined ? undefined : this.#items[place];
    if (place === undefined || item?.kind !== kind) return false;
    this.#items[place] = change(item as Extract<TimelineItem, { kind: Kind }>);
    return true;
  }
}

/** Changes that are told also where nobody asked for them. */
const TOLD: ReadonlySet<AgentState> = new Set<AgentState>([
  ...(['paused', 'rate_limited', 'error', 'stopped'] as const),
]);

function statusOf(event: AgentObservationEvent): StepStatus {
  switch (event.name) {
    case 'run':
    case 'run_ipython':
      if (event.extras.exit_code === undefined) return 'interrupted';
      return event.extras.exit_code === 0 ? 'done' : 'failed';
    case 'error':
      return event.extras.code === 'interrupted' ? 'interrupted' : 'failed';
    case 'user_rejected':
      return 'refused';
    default:
      return 'done';
  }
}
