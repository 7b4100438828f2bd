/** A session's history, to look at any moment of it again. */

import type { AgentEvent } from './events.js';
import { EMPTY_AGENT_STATE, foldAgentState, type AgentSessionState } from './state.js';
import { EMPTY_TIMELINE, foldTimeline, type Timeline } from './timeline.js';

export interface AgentMoment {
  state: AgentSessionState;
  timeline: Timeline;
  /** Texts of the files that the agent wrote until then, by path, as the events tell them. */
  files: ReadonlyMap<string, string>;
}

/** Moments that are kept, so that going back does not begin at the beginning. */
const KEPT_EVERY = 200;

const BEGINNING: AgentMoment = {
  state: EMPTY_AGENT_STATE,
  timeline: EMPTY_TIMELINE,
  files: new Map(),
};

export class Recording {
  readonly events: readonly AgentEvent[];
  readonly #kept: AgentMoment[] = [BEGINNING];

  /** All events of a session, in order. */
  constructor(events: readonly AgentEvent[]) {
    this.events = events;
  }

  get length(): number {
    return this.events.length;
  }

  /** After the first `count` events; 0 is before everything. */
  at(count: number): AgentMoment {
    const wanted = Math.max(0, Math.min(Math.trunc(count), this.length));
    while (this.#kept.length <= Math.floor(wanted / KEPT_EVERY)) {
      const from = (this.#kept.length - 1) * KEPT_EVERY;
      this.#kept.push(advance(this.#kept.at(-1)!, this.events.slice(from, from + KEPT_EVERY)));
    }
    const from = Math.floor(wanted / KEPT_EVERY);
    return advance(this.#kept[from]!, this.events.slice(from * KEPT_EVERY, wanted));
  }
}

function advance(moment: AgentMoment, events: readonly AgentEvent[]): AgentMoment {
  if (events.length === 0) return moment;
  const timeline = foldTimeline(moment.timeline, events);
  return {
    state: foldAgentState(moment.state, events),
    timeline,
    files: foldFiles(moment.files, timeline, events),
  };
}

/** Files change when their result says so; a command that changes one is not seen. */
function foldFiles(
  files: ReadonlyMap<string, string>,
  { items, places }: Timeline,
  events: readonly AgentEvent[],
): ReadonlyMap<string, string> {
  const after = new Map(files);
  for (const event of events) {
    if (event.kind !== 'observation' || event.cause === null) continue;
    const item = items[places.get(event.cause) ?? -1];
    if (item?.kind !== 'step' || item.action.name !== event.name) continue;
    const { name, args } = item.action;
    if (name === 'write') after.set(args.path, args.content);
    else if (name === 'edit') {
      const before = after.get(args.path);
      if (before !== undefined) after.set(args.path, replaced(before, args.old, args.new));
    } else if (event.name === 'read' && !event.extras.truncated) {
      after.set(event.extras.path, event.content);
    }
  }
  return after;
}

/** `String.replace` gives `$` in the new text a meaning of its own. */
function replaced(text: string, before: string, after: string): string {
  const at = text.indexOf(before);
  return at < 0 ? text : text.slice(0, at) + after + text.slice(at + before.length);
}
