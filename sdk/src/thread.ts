/**
 * A conversation as a fold of its events: snapshot + events = fresh snapshot.
 *
 * The rules are those of the server (`parlour/core/thread.py`); both satisfy the vectors in
 * `tests/golden/thread`. Live events and replayed ones pass through the same function. `fold` never
 * changes the state that it is given, and keeps the identity of every record that it does not touch, so a
 * view may compare by reference. Events of an unknown type, or about a message that is not in the window,
 * change nothing.
 */

import type { Delta, ThreadEventData } from './generated/wire.js';
import type { Ask, Message, Run, RunEnd, Status, Step, ThreadSnapshot } from './protocol.js';

/** Newest messages that a snapshot holds. */
export const MESSAGE_WINDOW = 1000;
/** Newest steps that a snapshot holds. */
export const STEP_WINDOW = 500;

/** The fields of a message that `message:update` may set. */
const UPDATABLE: ReadonlySet<string> = new Set([
  'content',
  'actions',
  'files',
  'sources',
  'data',
  'edited_at',
  'author',
  'streaming',
]);

/** What a conversation looks like at one offset. Records are keyed by id, in order of first appearance. */
export interface ThreadState {
  readonly messages: ReadonlyMap<string, Message>;
  readonly steps: ReadonlyMap<string, Step>;
  readonly asks: ReadonlyMap<string, Ask>;
  readonly runs: ReadonlyMap<string, Run>;
  readonly status: Status | null;
  readonly lastRun: RunEnd | null;
  readonly title: string | null;
  readonly tags: readonly string[];
  readonly truncated: boolean;
}

/** The part of a stream's event that folding needs. */
export interface FoldEvent {
  type: string;
  data: Record<string, unknown>;
  offset: number;
  at: number;
}

interface Draft {
  messages: Map<string, Message>;
  steps: Map<string, Step>;
  asks: Map<string, Ask>;
  runs: Map<string, Run>;
  status: Status | null;
  lastRun: RunEnd | null;
  title: string | null;
  tags: readonly string[];
  truncated: boolean;
}

export const EMPTY_THREAD: ThreadState = Object.freeze({
  messages: new Map(),
  steps: new Map(),
  asks: new Map(),
  runs: new Map(),
  status: null,
  lastRun: null,
  title: null,
  tags: Object.freeze([]),
  truncated: false,
});

/** Read a snapshot. */
export function threadFromSnapshot(snapshot: ThreadSnapshot): ThreadState {
  return {
    messages: new Map(snapshot.messages.map((message) => [message.id, message])),
    steps: new Map((snapshot.steps ?? []).map((step) => [step.id, step])),
    asks: new Map((snapshot.asks ?? []).map((ask) => [ask.ask_id, ask])),
    runs: new Map((snapshot.runs ?? []).map((run) => [run.run_id, run])),
    status: snapshot.status ?? null,
    lastRun: snapshot.last_run ?? null,
    title: snapshot.title ?? null,
    tags: snapshot.tags ?? [],
    truncated: snapshot.truncated ?? false,
  };
}

/** The inverse of `threadFromSnapshot`. */
export function threadToSnapshot(state: ThreadState): Required<ThreadSnapshot> {
  return {
    messages: [...state.messages.values()],
    steps: [...state.steps.values()],
    asks: [...state.asks.values()],
    runs: [...state.runs.values()],
    status: state.status,
    last_run: state.lastRun,
    title: state.title,
    tags: [...state.tags],
    truncated: state.truncated,
  };
}

/** Apply `events`, in order, to a copy of `state`. */
export function fold(
  state: ThreadState,
  events: readonly FoldEvent[],
  window: number = MESSAGE_WINDOW,
): ThreadState {
  const draft: Draft = {
    ...state,
    messages: new Map(state.messages),
    steps: new Map(state.steps),
    asks: new Map(state.asks),
    runs: new Map(state.runs),
  };
  trim(draft, window);
  for (const event of events) {
    apply(draft, event);
    // After each event: how events were grouped must not matter.
    trim(draft, window);
  }
  return draft;
}

/** What arrives has the form of its type. */
function apply(draft: Draft, event: FoldEvent): void {
  if (!Object.hasOwn(RULES, event.type)) return;
  const rule = RULES[event.type as Folded] as Rule<unknown>;
  rule(draft, event);
}

function trim(draft: Draft, window: number): void {
  if (drop(draft.messages, window)) draft.truncated = true;
  drop(draft.steps, STEP_WINDOW);
}

function drop(records: Map<string, unknown>, limit: number): boolean {
  if (records.size <= limit) return false;
  for (const id of records.keys()) {
    records.delete(id);
    if (records.size <= limit) break;
  }
  return true;
}

function revise(draft: Draft, id: string, changes: Partial<Message>): void {
  const message = draft.messages.get(id);
  if (message) draft.messages.set(message.id, { ...message, ...changes });
}

function append(draft: Draft, { id, text }: Delta): void {
  const content = (draft.messages.get(id)?.content ?? '') + text;
  revise(draft, id, { content, streaming: true });
}

function extend(draft: Draft, id: string, name: 'files' | 'sources', items: unknown[]): void {
  const message = draft.messages.get(id);
  if (message) revise(draft, id, { [name]: [...(message[name] ?? []), ...items] });
}

/** Types of events that change nothing here: they are told to whoever listens. */
type Passing = 'notification' | 'settings' | 'action:called' | 'chat:access';
type Folded = Exclude<keyof ThreadEventData, Passing>;
type Rule<Data> = (draft: Draft, event: FoldEvent & { data: Data }) => void;

/** One for each type of event that the server has, but for the passing ones. */
const RULES: { readonly [Type in Folded]: Rule<ThreadEventData[Type]> } = {
  message: (draft, { data, offset, at }) => {
    const known = draft.messages.get(data.id);
    const created_at = data.created_at ?? known?.created_at ?? at;
    draft.messages.set(data.id, { ...data, offset: known?.offset ?? offset, created_at });
  },
  'message:delta': (draft, { data }) => append(draft, data),
  // Deltas of several messages that came in turns while this reader was slow.
  'message:deltas': (draft, { data }) => data.deltas.forEach((delta) => append(draft, delta)),
  'message:replace': (draft, { data }) => revise(draft, data.id, { content: data.content }),
  'message:done': (draft, { data }) => revise(draft, data.id, { streaming: false }),
  'message:update': (draft, { data }) => {
    const changes = Object.entries(data).filter(([name]) => UPDATABLE.has(name));
    revise(draft, data.id, Object.fromEntries(changes) as Partial<Message>);
  },
  'message:delete': (draft, { data }) => void draft.messages.delete(data.id),
  step: (draft, { data, offset }) =>
    void draft.steps.set(data.id, {
      ...data,
      offset: draft.steps.get(data.id)?.offset ?? offset,
    }),
  status: (draft, { data }) => void (draft.status = data.done || !data.text ? null : { ...data }),
  files: (draft, { data }) => extend(draft, data.message_id, 'files', data.files),
  source: (draft, { data }) => extend(draft, data.message_id, 'sources', [data.source]),
  ask: (draft, { data, offset }) => void draft.asks.set(data.ask_id, { ...data, offset }),
  'ask:closed': (draft, { data }) => void draft.asks.delete(data.ask_id),
  'run:queued': (draft, { data }) => void draft.runs.set(data.run_id, { ...data, queued: true }),
  'run:started': (draft, { data, at }) =>
    void draft.runs.set(data.run_id, { ...data, started_at: at }),
  'run:ended': endRun,
  'chat:title': (draft, { data }) => void (draft.title = data.title ?? null),
  'chat:tags': (draft, { data }) => void (draft.tags = [...(data.tags ?? [])]),
};

function endRun(draft: Draft, { data, at }: FoldEvent & { data: RunEnd }): void {
  const runId = data.run_id;
  // The end of an unknown run counts as well: its beginning was lost with a store's data.
  if (!draft.runs.delete(runId) && draft.lastRun?.run_id === runId) return;
  draft.lastRun = { ...data };
  if (draft.runs.size === 0) draft.status = null;
  for (const message of [...draft.messages.values()]) {
    if (message.streaming && message.run_id === runId)
      revise(draft, message.id, { streaming: false });
  }
  for (const step of [...draft.steps.values()]) {
    if (step.status === 'running' && step.run_id === runId)
      draft.steps.set(step.id, { ...step, status: 'failed', ended_at: at });
  }
}

/** Every event type that changes a conversation's state; `notification` and signals do not. */
export const EVENT_TYPES: ReadonlySet<string> = new Set(Object.keys(RULES));
