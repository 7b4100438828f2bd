/**
 * One agent session as a view: where it stands, its timeline, and what this client has sent but not yet seen
 * come back. It follows the session's stream and reads what came before over HTTP, a page at a time.
 */

import type { Answer, PendingCommand } from '../commands.js';
import type { Connection } from '../connection.js';
import { isRecord, ParlourError } from '../errors.js';
import { newId } from '../ids.js';
import type { Position, StreamEvent } from '../protocol.js';
import { Store, type Readable } from '../store.js';
import type { Follower } from '../streams.js';
import type { AgentInfo, AgentsApi } from './agents-api.js';
import {
  readAgentEvent,
  type AgentEvent,
  type AgentRequest,
  type AgentRole,
  type InputPolicy,
} from './events.js';
import { Recording } from './recording.js';
import {
  agentStateFrom,
  EMPTY_AGENT_STATE,
  foldAgentState,
  type AgentSessionState,
} from './state.js';
import { EMPTY_TIMELINE, foldTimeline, type Timeline } from './timeline.js';

const PAGE = 200;
const WHOLE_PAGE = 1_000;
/** Events that are held of a session that is followed for long; earlier ones can be read again. */
const HELD = 4_000;
/** Characters that are shown of what is on its way. */
const LIVE_TEXT = 20_000;

/** Words or a comment of this client that the stream has not shown yet. */
export interface PendingAgentMessage {
  command_id: string;
  action: 'message' | 'comment';
  content: string;
  created_at: number;
  state: PendingCommand['state'];
  error: ParlourError | null;
}

export interface AgentView {
  /** `opening`: nothing known yet. `failed`: it may not be read, or it is gone. */
  phase: 'opening' | 'open' | 'failed';
  error: ParlourError | null;
  session: AgentInfo | null;
  role: AgentRole;
  state: AgentSessionState;
  /** The newest events, contiguous; `earlier` says whether there are others before them. */
  events: readonly AgentEvent[];
  timeline: Timeline;
  earlier: boolean;
  earlierState: 'idle' | 'loading' | 'failed';
  /** Words of the model as they come, until the event holds them. */
  saying: string;
  /** Output of the command that runs, until the event holds it. */
  printing: string;
  pending: readonly PendingAgentMessage[];
}

/** What somebody is answered who asked for a change: of several answers to one question the first counts. */
export interface Decision {
  accepted: boolean;
  by: { id: string; name: string } | null;
}

const NOTHING: AgentView = {
  phase: 'opening',
  error: null,
  session: null,
  role: 'watch',
  state: EMPTY_AGENT_STATE,
  events: [],
  timeline: EMPTY_TIMELINE,
  earlier: false,
  earlierState: 'idle',
  saying: '',
  printing: '',
  pending: [],
};

export class AgentSession {
  readonly id: string;
  readonly #connection: Connection;
  readonly #api: AgentsApi;
  readonly #view = new Store<AgentView>(NOTHING);
  readonly #follower: Follower;
  readonly #stops: (() => void)[];
  readonly #seen = new Set<string>();
  #generation = 0;
  #closed = false;

  constructor(connection: Connection, api: AgentsApi, id: string) {
    this.id = id;
    this.#connection = connection;
    this.#api = api;
    this.#stops = [
      connection.on('oh_signal', (payload) => this.#hearSignal(payload)),
      connection.on('agent:updated', (payload) => this.#hearUpdate(payload)),
      connection.on('agent:deleted', (payload) => {
        if (isRecord(payload) && payload['id'] === id) this.#fail(gone());
      }),
    ];
    this.#follower = connection.follow(`agent:${id}`, {
      snapshot: (snapshot, position) => this.#replace(snapshot, position),
      events: (events) => this.#take(events),
      failed: (error) => this.#fail(error),
    });
    this.#stops.push(connection.outbox.pending.subscribe(() => this.#showPending()));
  }

  get view(): Readable<AgentView> {
    return this.#view;
  }

  subscribe(run: (view: AgentView) => void): () => void {
    return this.#view.subscribe(run);
  }

  /** The newest event that is known here. */
  get latestEventId(): number {
    return this.#view.get().state.offset;
  }

  // -- commands ------------------------------------------------------------------------------------

  /** Tell the agent something. While it works, `policy` says what becomes of it; the session's own without.
   * It is sent until it is answered, also after a reload. */
  send(content: string, policy?: InputPolicy): Promise<Answer> {
    return this.#submit('message', { content, ...(policy ? { policy } : {}) });
  }

  /** Tell the people who watch something; the agent does not read it. */
  comment(content: string): Promise<Answer> {
    return this.#submit('comment', { content });
  }

  pause(): Promise<Decision> {
    return this.#request('paused');
  }

  resume(): Promise<Decision> {
    return this.#request('running');
  }

  stop(): Promise<Decision> {
    return this.#request('stopped');
  }

  /** Let the action be carried out that people are asked about. */
  confirm(askId: number): Promise<Decision> {
    return this.#request('user_confirmed', askId);
  }

  reject(askId: number): Promise<Decision> {
    return this.#request('user_rejected', askId);
  }

  /** Send again what was refused. */
  retry(commandId: string): void {
    this.#connection.outbox.retry(commandId);
  }

  dismiss(commandId: string): void {
    this.#connection.outbox.dismiss(commandId);
  }

  // -- history -------------------------------------------------------------------------------------

  /** Fetch the page of events before the first one that is held. */
  async loadEarlier(): Promise<void> {
    const { earlier, earlierState, events, state } = this.#view.get();
    if (!earlier || earlierState === 'loading') return;
    await this.#read((events[0]?.id ?? state.offset + 1) - 1);
  }

  /** Every event, from the first one on. */
  async recording(): Promise<Recording> {
    const found: AgentEvent[] = [];
    let next: number | null = 1;
    while (next !== null) {
      const from: number = next;
      const held: readonly AgentEvent[] = this.#view.get().events;
      if (from >= (held[0]?.id ?? Infinity)) {
        found.push(...held.filter(({ id }) => id >= from));
        break;
      }
      const page = await this.#api.events(this.id, { start_id: from, limit: WHOLE_PAGE });
      found.push(...page.events);
      next = page.next_id;
    }
    return new Recording(found);
  }

  /** Every event after number `after`, in order and once each: what was missed, then what comes. Ends with
   * `close`; throws what ended the session's readability. */
  async *stream(after = 0): AsyncGenerator<AgentEvent, void, undefined> {
    let last = after;
    while (!this.#closed) {
      const { phase, error, events } = this.#view.get();
      if (phase === 'failed') throw error ?? gone();
      const first = events[0]?.id;
      const missed = first !== undefined && last + 1 < first;
      const fresh = missed ? await this.#between(last + 1, first - 1) : events;
      let moved = false;
      for (const event of fresh) {
        if (event.id <= last) continue;
        last = event.id;
        moved = true;
        yield event;
      }
      // Numbers that cannot be read are passed over.
      if (missed && !moved) last = first - 1;
      else if (!moved) await this.#news();
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const stop of this.#stops) stop();
    this.#follower.close();
    // Whoever waits for news hears that there is none.
    this.#view.update((view) => ({ ...view }));
  }

  // -- from the server -----------------------------------------------------------------------------

  /** What happened until `position` is in the snapshot's state, and is read page by page. */
  #replace(snapshot: Record<string, unknown>, position: Position): void {
    this.#generation += 1;
    const { session, role } = snapshot as { session: AgentInfo; role: AgentRole };
    const stored = isRecord(snapshot['state']) ? snapshot['state'] : {};
    this.#change({
      ...NOTHING,
      phase: 'opening',
      session,
      role,
      state: agentStateFrom(stored),
      pending: this.#unseen(),
    });
    void this.#read(position.offset);
  }

  #take(incoming: readonly StreamEvent[]): void {
    const events = incoming.map(readAgentEvent);
    for (const { command_id } of events) if (command_id) this.#seen.add(command_id);
    const view = this.#view.get();
    const last = view.events.at(-1)?.id ?? 0;
    const fresh = events.filter(({ id }) => id > last);
    this.#change({
      ...this.#holding([...view.events, ...fresh], fresh),
      state: foldAgentState(view.state, fresh),
      pending: this.#unseen(),
      // The event holds the whole of what was on its way.
      ...(fresh.length > 0 ? { saying: '', printing: '' } : {}),
    });
  }

  /** Follow the end with a bounded number of events. */
  #holding(
    events: readonly AgentEvent[],
    fresh: readonly AgentEvent[],
  ): Pick<AgentView, 'events' | 'timeline' | 'earlier'> {
    const { timeline, earlier } = this.#view.get();
    if (events.length <= HELD) return { events, timeline: foldTimeline(timeline, fresh), earlier };
    const kept = events.slice(-HELD / 2);
    return { events: kept, timeline: foldTimeline(EMPTY_TIMELINE, kept), earlier: true };
  }

  /** Read the page that ends with number `end`, and put it before what is held. */
  async #read(end: number): Promise<void> {
    const generation = this.#generation;
    this.#change({ earlierState: 'loading' });
    try {
      const query = { end_id: end, reverse: true, limit: PAGE };
      const page = end > 0 ? await this.#api.events(this.id, query) : null;
      // A snapshot came in between: what is held now is not what this page stands before.
      if (generation !== this.#generation || this.#view.get().phase === 'failed') return;
      const held = this.#view.get().events;
      // Meanwhile the beginning of what is held may have been let go.
      if (held[0] && held[0].id !== end + 1) {
        this.#change({ earlierState: 'idle' });
        return;
      }
      const events = [...(page?.events ?? []).reverse(), ...held];
      this.#change({
        phase: 'open',
        events,
        timeline: foldTimeline(EMPTY_TIMELINE, events),
        earlier: page !== null && page.next_id !== null,
        earlierState: 'idle',
      });
    } catch (error) {
      if (generation !== this.#generation) return;
      const problem = ParlourError.from(error);
      if (this.#view.get().phase === 'opening' && !problem.retryable) this.#fail(problem);
      else this.#change({ phase: 'open', earlier: true, earlierState: 'failed' });
    }
  }

  async #between(start: number, end: number): Promise<readonly AgentEvent[]> {
    const query = { start_id: start, end_id: end, limit: WHOLE_PAGE };
    return (await this.#api.events(this.id, query)).events;
  }

  /** Resolves with the next change of the view. */
  #news(): Promise<void> {
    return new Promise((resolve) => {
      let heard = false;
      const stop = this.#view.subscribe(() => {
        if (!heard) {
          heard = true;
          return;
        }
        // The subscription is there by now: the first call is the present value.
        stop();
        resolve();
      });
    });
  }

  #hearSignal(payload: unknown): void {
    if (!isRecord(payload) || payload['conversation_id'] !== this.id) return;
    const { type, text } = payload;
    if (typeof text !== 'string') return;
    const view = this.#view.get();
    if (type === 'delta') this.#change({ saying: (view.saying + text).slice(-LIVE_TEXT) });
    if (type === 'output') this.#change({ printing: (view.printing + text).slice(-LIVE_TEXT) });
  }

  #hearUpdate(payload: unknown): void {
    if (!isRecord(payload) || payload['id'] !== this.id) return;
    const { reason, ...session } = payload as unknown as AgentInfo & { reason: string };
    if (this.#view.get().session) this.#change({ session });
    if (reason === 'members') void this.#readRole();
  }

  /** Somebody's role is another one now; it may be one's own. */
  async #readRole(): Promise<void> {
    const generation = this.#generation;
    try {
      const { role } = await this.#api.get(this.id);
      if (generation === this.#generation) this.#change({ role });
    } catch {
      // Who is shut out hears that from the stream; for others the server refuses what they may not do.
    }
  }

  /** Nothing of what was shown may stay: it is somebody else's now, or gone. */
  #fail(error: ParlourError): void {
    this.#generation += 1;
    this.#change({ ...NOTHING, phase: 'failed', error });
  }

  // -- to the server -------------------------------------------------------------------------------

  #submit(action: string, args: Record<string, unknown>): Promise<Answer> {
    const payload = { conversation_id: this.id, action, args };
    return this.#connection.outbox.submit('oh_user_action', payload);
  }

  /** Not kept over a reload, and not left in the outbox when it is refused: it means this moment. */
  async #request(request: AgentRequest, askId?: number): Promise<Decision> {
    const commandId = newId();
    const args = { agent_state: request, ...(askId === undefined ? {} : { ask_id: askId }) };
    const payload = { conversation_id: this.id, action: 'change_agent_state', args };
    try {
      const answer = await this.#connection.outbox.submit('oh_user_action', payload, commandId);
      const by = isRecord(answer['by']) ? (answer['by'] as { id: string; name: string }) : null;
      return { accepted: answer['accepted'] !== false, by };
    } catch (error) {
      this.#connection.outbox.dismiss(commandId);
      throw error;
    }
  }

  #showPending(): void {
    const { phase, pending: shown } = this.#view.get();
    if (phase === 'failed') return;
    const pending = this.#unseen();
    if (pending.length > 0 || shown.length > 0) this.#change({ pending });
  }

  #unseen(): PendingAgentMessage[] {
    return this.#connection.outbox.pending
      .get()
      .filter(
        ({ event, payload, command_id }) =>
          event === 'oh_user_action' &&
          payload['conversation_id'] === this.id &&
          payload['action'] !== 'change_agent_state' &&
          !this.#seen.has(command_id),
      )
      .map(toPending);
  }

  #change(changes: Partial<AgentView>): void {
    if (!this.#closed) this.#view.set({ ...this.#view.get(), ...changes });
  }
}

function toPending({ command_id, payload, created_at, state, error }: PendingCommand) {
  const args = isRecord(payload['args']) ? payload['args'] : {};
  return {
    command_id,
    action: payload['action'] === 'comment' ? ('comment' as const) : ('message' as const),
    content: typeof args['content'] === 'string' ? args['content'] : '',
    created_at,
    state,
    error,
  };
}

function gone(): ParlourError {
  return new ParlourError({ code: 'not_found', message: 'This session is not there any more.' });
}
