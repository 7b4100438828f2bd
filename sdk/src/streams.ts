/**
 * Following a stream: contiguous and in order, whatever the network does.
 *
 * A follower stands at a position. Joining sends the position; the answer brings what was missed (or a
 * snapshot) and live events continue behind it. An event at or below the own position is dropped; one that
 * leaves a gap, or belongs to another epoch, makes the follower join again from where it stands.
 */

import type { Connection } from './connection.js';
import { isRecord, ParlourError } from './errors.js';
import type { Position, StreamEvent } from './protocol.js';

/** Live events kept while a join is under way. Beyond it the join is simply made again. */
const HELD_EVENTS = 5_000;
const REJOIN_MS = { first: 500, most: 8_000 };
/** Refusals that end when somebody gives access (back): then events of the stream arrive by themselves. */
const SHUT_OUT: ReadonlySet<string> = new Set(['forbidden', 'not_found']);

export interface FollowHandlers {
  /** The state was replaced: history could not be continued, or this is the first join. */
  snapshot(snapshot: Record<string, unknown>, position: Position): void;
  /** All that a join was answered, before its snapshot and events are handed over. */
  joined?(answer: Record<string, unknown>): void;
  /** New events, contiguous with everything before. */
  events(events: readonly StreamEvent[]): void;
  /** The server will not let this stream be followed, or (`forbidden`, `not_found`) no longer: nothing of
   * it may stay. Where access is given back, a snapshot follows. */
  failed?(error: ParlourError): void;
  /** The follower is current (true) or catching up (false). */
  current?(current: boolean): void;
}

type FollowerState = 'paused' | 'joining' | 'current' | 'failed' | 'closed';

export class Follower {
  readonly stream: string;
  #connection: Connection;
  #handlers: FollowHandlers;
  #limit: number | undefined;
  #closed: () => void;
  #state: FollowerState = 'paused';
  #position: Position | null = null;
  #held: StreamEvent[] = [];
  #join = 0;
  #failures = 0;
  #shutOut = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    connection: Connection,
    stream: string,
    handlers: FollowHandlers,
    limit: number | undefined,
    closed: () => void,
  ) {
    this.#connection = connection;
    this.stream = stream;
    this.#handlers = handlers;
    this.#limit = limit;
    this.#closed = closed;
  }

  get position(): Position | null {
    return this.#position;
  }

  /** Nothing more is expected from the server before the next event. */
  get settled(): boolean {
    return this.#state === 'current' || this.#state === 'failed';
  }

  /** (Re)join from the own position; whoever was shut out asks afresh. */
  resume(): void {
    if (this.#state === 'closed' || (this.#state === 'failed' && !this.#shutOut)) return;
    if (this.#state === 'failed') this.#position = null;
    clearTimeout(this.#timer);
    this.#state = 'joining';
    this.#held = [];
    this.#handlers.current?.(false);
    const join = ++this.#join;
    this.#connection.request('subscribe', this.#subscription()).then(
      (answer) => this.#joined(join, answer),
      (error: unknown) => this.#refused(join, ParlourError.from(error)),
    );
    this.#connection.settle();
  }

  /** Forget the position and take a fresh snapshot: what is held locally is known to be wrong. */
  reset(): void {
    this.#position = null;
    if (this.#connection.connected) this.resume();
  }

  /** The connection is gone; the position stays. */
  pause(): void {
    if (this.#state === 'closed' || this.#state === 'failed') return;
    clearTimeout(this.#timer);
    this.#join += 1;
    this.#state = 'paused';
    this.#handlers.current?.(false);
  }

  receive(event: StreamEvent): void {
    if (this.#state === 'failed' && this.#shutOut) this.resume();
    else if (this.#state === 'joining') this.#hold(event);
    else if (this.#state === 'current' && !this.#take([event])) this.resume();
  }

  /** The server said that access to this stream is another now (`access:updated`). */
  accessChanged(reason: unknown): void {
    if (this.#state === 'closed' || reason === 'permission') return;
    if (reason === 'granted' && this.#state === 'current') return;
    // Who no longer belongs to a channel may still read it; a conversation has no such state.
    const removed = reason === 'removed' && this.stream.startsWith('thread:');
    if (removed || reason === 'deleted') this.#end(removed ? 'forbidden' : 'not_found');
    // Whoever asks and is refused is told when access is given back; what is deleted does not come back.
    if (reason === 'deleted') this.#shutOut = false;
    else this.resume();
  }

  /** Stop following. Idempotent. */
  close(): void {
    if (this.#state === 'closed') return;
    clearTimeout(this.#timer);
    this.#state = 'closed';
    if (this.#connection.connected) {
      this.#connection.request('unsubscribe', { stream: this.stream }).catch(() => undefined);
    }
    this.#closed();
  }

  #subscription(): Record<string, unknown> {
    return {
      stream: this.stream,
      ...(this.#position ? { position: this.#position } : {}),
      ...(this.#limit ? { limit: this.#limit } : {}),
    };
  }

  #end(code: string): void {
    this.#position = null;
    this.#fail(new ParlourError({ code, message: 'This is not open to you any more.' }));
  }

  #fail(error: ParlourError): void {
    clearTimeout(this.#timer);
    this.#join += 1;
    this.#state = 'failed';
    this.#shutOut = SHUT_OUT.has(error.code);
    this.#held = [];
    this.#handlers.failed?.(error);
    this.#connection.settle();
  }

  #hold(event: StreamEvent): void {
    this.#held.push(event);
    // The newest are dropped: that leaves a gap behind the join's answer, and the follower joins again.
    if (this.#held.length > HELD_EVENTS) this.#held.pop();
  }

  #joined(join: number, answer: Record<string, unknown>): void {
    if (join !== this.#join || this.#state !== 'joining') return;
    const position = readPosition(answer['position']);
    const events = readEvents(answer['events'], this.stream, position);
    const held = this.#held;
    this.#held = [];
    this.#handlers.joined?.(answer);
    if (isRecord(answer['snapshot'])) {
      const start = firstPosition(events) ?? position;
      if (start) this.#position = start;
      this.#handlers.snapshot(answer['snapshot'], this.#position ?? { epoch: '', offset: 0 });
    } else if (!this.#position) {
      this.#position = firstPosition(events) ?? position;
    }
    if (!this.#take(events) || (position && !this.#reached(position)) || !this.#take(held)) {
      this.#disagree();
      return;
    }
    this.#failures = 0;
    this.#state = 'current';
    this.#handlers.current?.(true);
    this.#connection.settle();
  }

  #refused(join: number, error: ParlourError): void {
    if (join !== this.#join || this.#state !== 'joining') return;
    const shutOut = SHUT_OUT.has(error.code);
    // What came meanwhile may have come behind the refusal: then access was given back already.
    if (error.code === 'position_lost' || (shutOut && this.#held.length > 0)) {
      this.#position = null;
      this.resume();
    } else if (!error.retryable) {
      this.#fail(error);
    } else if (this.#connection.connected) {
      this.#rejoinLater();
    }
  }

  /** The answer does not continue the own position. Once is a race; more often, start afresh. */
  #disagree(): void {
    this.#failures += 1;
    if (this.#failures === 1) {
      this.resume();
      return;
    }
    this.#position = null;
    this.#rejoinLater();
  }

  #rejoinLater(): void {
    const delay = Math.min(REJOIN_MS.most, REJOIN_MS.first * 2 ** this.#failures++);
    this.#timer = setTimeout(() => this.resume(), delay);
  }

  /** Move to `position` where the answer's events end before it (signals are not replayed). False when it
   * is behind or of another epoch. */
  #reached(position: Position): boolean {
    const own = this.#position;
    if (!own || own.epoch !== position.epoch || own.offset > position.offset) return false;
    this.#position = position;
    return true;
  }

  /** Hand over what continues the own position. False at a gap, an overlap or another epoch. */
  #take(events: readonly StreamEvent[]): boolean {
    const own = this.#position;
    if (!own) return events.length === 0;
    const taken: StreamEvent[] = [];
    let offset = own.offset;
    let whole = true;
    for (const event of events) {
      if (event.epoch === own.epoch && event.offset <= offset) continue;
      // A joined event that began before the own position repeats text that is already shown.
      if (event.epoch !== own.epoch || event.since !== offset) {
        whole = false;
        break;
      }
      taken.push(event);
      offset = event.offset;
    }
    if (taken.length > 0) {
      this.#position = { epoch: own.epoch, offset };
      this.#handlers.events(taken);
    }
    return whole;
  }
}

function firstPosition(events: readonly StreamEvent[]): Position | null {
  const first = events[0];
  return first ? { epoch: first.epoch, offset: first.since } : null;
}

/** Read one `events` payload. Null for what is not an event of a stream (a signal has no offset). */
export function readEvent(payload: unknown): StreamEvent | null {
  if (!isRecord(payload)) return null;
  if (typeof payload['stream'] === 'string' && payload['stream'].startsWith('agent:')) {
    return readAgentPayload(payload);
  }
  const nested = isRecord(payload['data']) ? payload['data'] : {};
  const flat = typeof payload['type'] === 'string';
  const type = flat ? payload['type'] : nested['type'];
  const data = flat ? payload['data'] : nested['data'];
  const { stream, epoch, offset, since, at, cause } = payload;
  if (typeof stream !== 'string' || typeof epoch !== 'string' || typeof offset !== 'number') {
    return null;
  }
  return {
    stream,
    epoch,
    offset,
    since: typeof since === 'number' ? since : offset - 1,
    type: typeof type === 'string' ? type : '',
    data: isRecord(data) ? data : {},
    at: readTime(at),
    ...(typeof cause === 'string' ? { cause } : {}),
  };
}

/** An event of an agent session names itself by its action or observation, and its cause by number. */
function readAgentPayload(payload: Record<string, unknown>): StreamEvent | null {
  const { stream, epoch, offset, timestamp, cause, action, observation } = payload;
  if (typeof stream !== 'string' || typeof epoch !== 'string' || typeof offset !== 'number') {
    return null;
  }
  const name =
    typeof action === 'string' ? `action:${action}` : `observation:${String(observation)}`;
  return {
    ...{ stream, epoch, offset, since: offset - 1, type: name },
    data: payload,
    at: readTime(timestamp),
    ...(typeof cause === 'number' ? { cause: String(cause) } : {}),
  };
}

/** Milliseconds since 1970 from a number or RFC 3339 text; 0 for anything else. */
export function readTime(value: unknown): number {
  if (typeof value === 'number') return value;
  if (typeof value === 'string') return Date.parse(value) || 0;
  return 0;
}

function readPosition(value: unknown): Position | null {
  if (!isRecord(value)) return null;
  const { epoch, offset } = value;
  return typeof epoch === 'string' && typeof offset === 'number' ? { epoch, offset } : null;
}

/** The events of an answer leave out what they have in common with it. */
function readEvents(value: unknown, stream: string, position: Position | null): StreamEvent[] {
  if (!Array.isArray(value)) return [];
  const common = { stream, ...(position ? { epoch: position.epoch } : {}) };
  return value
    .map((item) => readEvent(isRecord(item) ? { ...common, ...item } : null))
    .filter((event) => event !== null);
}
