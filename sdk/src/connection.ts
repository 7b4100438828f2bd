/**
 * One socket to the server, and what survives it.
 *
 * The connection reconnects by itself with jittered back-off, unless the server says that trying again is
 * pointless. Streams that are followed resume from their positions (`streams.ts`), commands that were not
 * acknowledged are sent again under the same id (`commands.ts`); nothing above needs to know.
 */

import { io } from 'socket.io-client';

import { Outbox, type CommandStore } from './commands.js';
import { isRecord, ParlourError, unanswered } from './errors.js';
import { newId } from './ids.js';
import { Follower, readEvent, type FollowHandlers } from './streams.js';
import { Store, type Readable } from './store.js';
import type { Tabs } from './tabs.js';

/** Version of the wire protocol that this client speaks. */
export const PROTOCOL = 1;

export const HEARTBEAT_MS = 30_000;
const ANSWER_MS = 15_000;
const PROBE_MS = 5_000;
const RETRY_MS = { first: 1_000, most: 5_000, spread: 0.5 };
const OFFLINE_AFTER = 3;
/** Bytes, where the server does not say. */
const MAX_PAYLOAD = 1_000_000;

/** Socket.IO's packet type of the handshake's answer. */
const CONNECT_PACKET = 0;

/** Events that are part of no stream. */
const SIGNALS = [
  ...['presence', 'typing', 'error', 'messages:history', 'notification'],
  ...['note:saved', 'events:note'],
  ...['ydoc:document:state', 'ydoc:document:update', 'ydoc:awareness:update'],
  ...['ydoc:user:joined', 'ydoc:user:left'],
  ...['oh_signal', 'agent:updated', 'agent:deleted'],
  ...['thread:listed', 'thread:unlisted'],
];

/** Refusals after which trying again cannot help. */
const FINAL: ReadonlySet<string> = new Set([
  'unauthenticated',
  'token_expired',
  'forbidden',
  'unsupported_protocol',
  'missing_user_env',
  'invalid_payload',
]);

/** `connecting`: never live yet. `resyncing`: connected again, streams are catching up; what is shown is
 * kept. `offline`: will try again at `retryAt`. `refused`: will not try again. */
export type Phase = 'connecting' | 'live' | 'resyncing' | 'offline' | 'refused' | 'closed';

export interface ConnectionState {
  phase: Phase;
  /** Why it is offline or refused. */
  error: ParlourError | null;
  /** Milliseconds since 1970 of the next try while offline. */
  retryAt: number | null;
  /** Attempts since the connection was lost that did not succeed. */
  attempts: number;
  /** So many attempts failed (`offlineAfter`) that the person should know: work goes on offline. */
  offline: boolean;
}

/** What the server tells at the handshake. */
export interface Welcome {
  session_id: string;
  user: { id: string; name: string } | null;
  node: string;
  version: string;
  deployment_id: string;
  protocol: number;
  resumed: boolean;
}

export interface ConnectOptions {
  /** Origin of the server; the page's own by default. */
  url?: string;
  /** Path of the socket. */
  path?: string;
  /** A token, or where to get one at each attempt. Without it the `access_token` cookie decides. */
  token?: string | null | (() => string | null);
  /** Names this tab or device across reconnects. */
  sessionId?: string;
  threadId?: string;
  userEnv?: Record<string, string>;
  chatProfile?: string;
  clientType?: string;
  /** Called once when the server refuses for good. */
  onRefused?: (error: ParlourError) => void;
  /** Where unacknowledged commands are kept; memory by default. */
  commands?: CommandStore;
  /** Who this is for. Where the server finds somebody else (another tab signed in), the connection is
   * refused with `another_user`, and nothing is sent. That of `commands` by default. */
  userId?: string;
  /** Where there are several tabs, only the one that leads sends heartbeats. */
  tabs?: Tabs;
  /** Failed attempts before the state says `offline: true`; it goes on trying. 3 by default. */
  offlineAfter?: number;
  transports?: ('websocket' | 'polling')[];
}

/** The part of a Socket.IO client that a connection needs. */
interface Wire {
  readonly connected: boolean;
  readonly io: {
    on(event: 'packet', run: (packet: { type: number; data: unknown }) => void): unknown;
    readonly engine?: { on(event: 'handshake', run: (told: unknown) => void): unknown };
  };
  on(event: string, run: (...args: never[]) => void): unknown;
  emit(event: string, ...args: unknown[]): unknown;
  connect(): unknown;
  disconnect(): unknown;
}

export function connect(options: ConnectOptions = {}): Connection {
  return new Connection(options);
}

export class Connection {
  readonly sessionId: string;
  readonly outbox: Outbox;

  readonly #options: ConnectOptions;
  readonly #state = new Store<ConnectionState>({
    phase: 'connecting',
    error: null,
    retryAt: null,
    attempts: 0,
    offline: false,
  });
  readonly #welcome = new Store<Welcome | null>(null);
  readonly #followers = new Map<string, Follower>();
  readonly #offers = new Map<string, (args: unknown) => unknown>();
  readonly #signals = new Map<string, Set<(payload: unknown) => void>>();
  readonly #arrivals = new Set<() => void>();
  readonly #waiting = new Set<(error: ParlourError) => void>();
  readonly #wire: Wire;
  #maxPayload = MAX_PAYLOAD;
  #attempts = 0;
  #wasLive = false;
  #pauseMs: number | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #heartbeat: ReturnType<typeof setInterval> | undefined;
  #unlisten: () => void = () => undefined;
  #unlead: () => void = () => undefined;

  constructor(options: ConnectOptions) {
    this.#options = options;
    this.sessionId = options.sessionId ?? newId();
    this.outbox = new Outbox(this, options.commands);
    this.#wire = this.#open();
    this.#listen();
    this.#unlisten = watchNetwork(
      () => this.#networkBack(),
      () => this.#networkGone(),
    );
    // Whoever begins to lead says so at once: the last heartbeat may be half a minute old.
    this.#unlead =
      options.tabs?.leads.subscribe((leads) => {
        if (leads && this.#wire.connected) this.#beat(HEARTBEAT_MS / 2);
      }) ?? this.#unlead;
    if (options.commands) void this.outbox.restore();
    this.#call();
  }

  get state(): Readable<ConnectionState> {
    return this.#state;
  }

  /** What the server said at the last handshake. */
  get welcome(): Readable<Welcome | null> {
    return this.#welcome;
  }

  /** Bytes of the largest packet that the server takes; a larger one ends the connection. */
  get maxPayload(): number {
    return this.#maxPayload;
  }

  get connected(): boolean {
    return this.#wire.connected && !isOver(this.#state.get().phase);
  }

  /** Follow a stream until the follower is closed. One follower per stream and connection. */
  follow(stream: string, handlers: FollowHandlers, limit?: number): Follower {
    this.#followers.get(stream)?.close();
    const follower = new Follower(this, stream, handlers, limit, () => {
      if (this.#followers.get(stream) === follower) this.#followers.delete(stream);
      this.#settle();
    });
    this.#followers.set(stream, follower);
    if (this.#wire.connected) follower.resume();
    return follower;
  }

  /** Let the app call `run` under a name; what it gives back, or resolves to, is the answer. The
   * returned function takes the offer back. */
  offer(name: string, run: (args: unknown) => unknown): () => void {
    this.#offers.set(name, run);
    return () => {
      if (this.#offers.get(name) === run) this.#offers.delete(name);
    };
  }

  /** Hear an event that is not part of a stream (`presence`, `notification`, …). */
  on(event: string, run: (payload: unknown) => void): () => void {
    const runs = this.#signals.get(event) ?? new Set();
    this.#signals.set(event, runs.add(run));
    return () => runs.delete(run);
  }

  /** Hear of every connect, at once where there is a connection. */
  onConnected(run: () => void): () => void {
    const own = () => run();
    this.#arrivals.add(own);
    if (this.connected) own();
    return () => this.#arrivals.delete(own);
  }

  /** Emit and wait for the acknowledgement. Rejects with a `ParlourError`; `unanswered` when the
   * connection closed or `limitMs` passed first. */
  request(
    event: string,
    payload: Record<string, unknown>,
    limitMs = ANSWER_MS,
  ): Promise<Record<string, unknown>> {
    if (!this.#wire.connected) return Promise.reject(unanswered('There is no connection.'));
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void) => {
        clearTimeout(timer);
        this.#waiting.delete(gone);
        finish();
      };
      const gone = (error: ParlourError) => settle(() => reject(error));
      const timer = setTimeout(
        () => gone(unanswered('The server did not answer in time.')),
        limitMs,
      );
      this.#waiting.add(gone);
      this.#wire.emit(event, payload, (answer: unknown) => {
        if (isRecord(answer) && answer['ok'] === true) settle(() => resolve(answer));
        else gone(ParlourError.from(isRecord(answer) ? answer['error'] : undefined));
      });
    });
  }

  /** Tell the live connection of a fresh token of the same user, so that it outlives the old one. */
  async reauthenticate(token: string): Promise<void> {
    await this.request('user-join', { auth: { token } });
  }

  /** Try again now instead of waiting for the next attempt. */
  retryNow(): void {
    if (this.#state.get().phase !== 'offline') return;
    this.#dial();
  }

  /** End the connection for good. Idempotent. */
  close(): void {
    if (this.#state.get().phase === 'closed') return;
    this.#unlisten();
    this.#unlead();
    this.#stopTimers();
    this.#tell({ phase: 'closed', error: null, retryAt: null });
    for (const follower of [...this.#followers.values()]) follower.close();
    this.#wire.disconnect();
    this.#abandon('The connection was closed.');
    this.outbox.close();
  }

  /** A follower became current, failed or closed. */
  #settle(): void {
    if (!this.#wire.connected || isOver(this.#state.get().phase)) return;
    const current = [...this.#followers.values()].every((follower) => follower.settled);
    this.#tell({
      phase: current ? 'live' : this.#wasLive ? 'resyncing' : 'connecting',
      error: null,
      retryAt: null,
      attempts: 0,
      offline: false,
    });
    if (current) this.#wasLive = true;
  }

  /** Called by followers whenever they start or stop catching up. */
  settle(): void {
    this.#settle();
  }

  /** Give the connection up and dial again: the peer no longer answers. */
  restart(reason: string): void {
    this.#lost(unanswered(reason));
    this.#wire.disconnect();
  }

  #open(): Wire {
    const { url, path = '/ws/socket.io', transports = ['websocket', 'polling'] } = this.#options;
    const settings = {
      path,
      transports,
      tryAllTransports: true,
      // The back-off is this class's: the server may ask for a pause, and some refusals are final.
      reconnection: false,
      autoConnect: false,
      forceNew: true,
      withCredentials: true,
      timeout: 15_000,
      auth: (give: (auth: Record<string, unknown>) => void) => give(this.#auth()),
    };
    return (url ? io(url, settings) : io(settings)) as unknown as Wire;
  }

  #auth(): Record<string, unknown> {
    const { token, threadId, userEnv, chatProfile, clientType = 'webapp' } = this.#options;
    const auth: Record<string, unknown> = {
      session_id: this.sessionId,
      client_type: clientType,
      mixed_deltas: true,
      protocol: PROTOCOL,
    };
    const given = typeof token === 'function' ? token() : token;
    if (given) auth['token'] = given;
    if (threadId) auth['thread_id'] = threadId;
    if (userEnv) auth['user_env'] = userEnv;
    if (chatProfile) auth['chat_profile'] = chatProfile;
    return auth;
  }

  #listen(): void {
    const wire = this.#wire;
    wire.on('connect', () => this.#connected());
    wire.on('connect_error', (error: Error & { data?: unknown }) => this.#refused(error));
    wire.on('disconnect', () => this.#lost(unanswered('The connection was lost.')));
    wire.on('reconnect', (payload: unknown) => this.#askedToReconnect(payload));
    wire.on('events', (payload: unknown) => {
      this.#receive(payload);
      this.#signal('events', payload);
    });
    wire.on('oh_event', (payload: unknown) => this.#receive(payload));
    // Channels speak under a name of their own, and of some nobody follows the stream.
    wire.on('events:channel', (payload: unknown) => {
      this.#receive(payload);
      this.#signal('events:channel', payload);
    });
    wire.on('call', (payload: unknown, ack: unknown) => void this.#called(payload, ack));
    wire.on('access:updated', (payload: unknown) => this.#accessChanged(payload));
    for (const event of SIGNALS) {
      wire.on(event, (payload: unknown) => this.#signal(event, payload));
    }
    // The CONNECT answer carries more than the client library keeps (`sid` and `pid`).
    wire.io.on('packet', ({ type, data }) => {
      if (type === CONNECT_PACKET && isRecord(data)) this.#welcome.set(data as unknown as Welcome);
    });
  }

  #connected(): void {
    if (this.#isAnother()) {
      const message = 'Somebody else is signed in now.';
      this.#refuse(new ParlourError({ code: 'another_user', message }));
      return;
    }
    this.#attempts = 0;
    this.#pauseMs = null;
    clearInterval(this.#heartbeat);
    this.#heartbeat = setInterval(() => {
      if (this.#options.tabs?.leads.get() ?? true) this.#beat(HEARTBEAT_MS / 2);
    }, HEARTBEAT_MS);
    // All in one turn, so they leave together and the catching up costs one round trip.
    for (const follower of this.#followers.values()) follower.resume();
    for (const run of [...this.#arrivals]) run();
    this.outbox.resume();
    this.#settle();
  }

  #refused(error: Error & { data?: unknown }): void {
    if (isOver(this.#state.get().phase)) return;
    if (!isRecord(error.data)) {
      this.#lost(unanswered('The server cannot be reached.'));
      return;
    }
    const refusal = ParlourError.from(error.data);
    if (!FINAL.has(refusal.code)) {
      this.#lost(refusal);
      this.#wire.disconnect();
      return;
    }
    this.#refuse(refusal);
  }

  #refuse(refusal: ParlourError): void {
    this.#stopTimers();
    this.#tell({ phase: 'refused', error: refusal, retryAt: null });
    this.#wire.disconnect();
    this.#abandon(refusal.message);
    this.#options.onRefused?.(refusal);
  }

  /** The cookie may be another person's by now. */
  #isAnother(): boolean {
    const expected = this.#options.userId ?? this.#options.commands?.userId;
    const found = this.#welcome.get()?.user?.id;
    return expected !== undefined && found !== undefined && found !== expected;
  }

  #tell(changes: Partial<ConnectionState>): void {
    this.#state.set({ ...this.#state.get(), ...changes });
  }

  #lost(error: ParlourError): void {
    const { phase } = this.#state.get();
    // The library may report one loss twice, as a failed connect and as a disconnect.
    if (phase === 'offline' || isOver(phase)) return;
    this.#stopTimers();
    this.#abandon(error.message);
    for (const follower of this.#followers.values()) follower.pause();
    const delay = this.#pauseMs ?? backOff(this.#attempts);
    this.#pauseMs = null;
    const attempts = this.#attempts++;
    const offline = attempts >= (this.#options.offlineAfter ?? OFFLINE_AFTER);
    this.#tell({ phase: 'offline', error, retryAt: Date.now() + delay, attempts, offline });
    this.#retry = setTimeout(() => this.#dial(), delay);
  }

  #dial(): void {
    clearTimeout(this.#retry);
    if (isOver(this.#state.get().phase)) return;
    this.#tell({ phase: this.#wasLive ? 'resyncing' : 'connecting', retryAt: null });
    this.#call();
  }

  #call(): void {
    this.#wire.connect();
    this.#wire.io.engine?.on('handshake', (told) => {
      const limit = isRecord(told) ? told['maxPayload'] : undefined;
      if (typeof limit === 'number' && limit > 0) this.#maxPayload = limit;
    });
  }

  #askedToReconnect(payload: unknown): void {
    const fields = isRecord(payload) ? payload : {};
    const after = typeof fields['after_ms'] === 'number' ? fields['after_ms'] : RETRY_MS.first;
    // The server closes next; what it still has to send arrives before that.
    this.#pauseMs = Math.max(0, after);
  }

  #receive(payload: unknown): void {
    const event = readEvent(payload);
    if (event) this.#followers.get(event.stream)?.receive(event);
  }

  /** The server took this connection out of a room, lets it in (again), or lets it do more or less there. */
  #accessChanged(payload: unknown): void {
    const { room, reason } = isRecord(payload) ? payload : {};
    if (typeof room === 'string') this.#followers.get(room)?.accessChanged(reason);
    this.#signal('access:updated', payload);
  }

  /** The app calls a function of this client. A call is always answered: silence would hold up its run. */
  async #called(payload: unknown, ack: unknown): Promise<void> {
    if (typeof ack !== 'function' || !isRecord(payload)) return;
    const run = this.#offers.get(String(payload['name']));
    if (!run) {
      ack(declined('unknown_function', 'This client does not offer that function.'));
      return;
    }
    try {
      ack((await run(payload['args'])) ?? null);
    } catch (error) {
      ack(declined('call_failed', error instanceof Error ? error.message : String(error)));
    }
  }

  #signal(event: string, payload: unknown): void {
    for (const run of this.#signals.get(event) ?? []) run(payload);
  }

  #beat(limitMs: number): void {
    this.request('heartbeat', { active: isLookedAt() }, limitMs).catch((error: ParlourError) => {
      // A refusal is an answer: the link works. Silence means that it is only half open.
      if (error.code === 'unanswered' && this.#wire.connected) {
        this.restart('The server stopped answering.');
      }
    });
  }

  #networkBack(): void {
    if (this.#wire.connected) this.#beat(PROBE_MS);
    else this.retryNow();
  }

  #networkGone(): void {
    if (this.#wire.connected) this.#beat(PROBE_MS);
  }

  #stopTimers(): void {
    clearTimeout(this.#retry);
    clearInterval(this.#heartbeat);
  }

  #abandon(reason: string): void {
    for (const gone of [...this.#waiting]) gone(unanswered(reason));
  }
}

function isOver(phase: Phase): boolean {
  return phase === 'closed' || phase === 'refused';
}

/** Milliseconds before attempt number `attempts` + 1: doubling, capped, spread so that the clients of a
 * node that went away do not come back in one instant. */
export function backOff(attempts: number, random: () => number = Math.random): number {
  const base = Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** attempts);
  return Math.round(base * (1 + RETRY_MS.spread * (2 * random() - 1)));
}

/** A page in the background has nobody in front of it; outside a browser there is always somebody. */
function isLookedAt(): boolean {
  return typeof document === 'undefined' || document.visibilityState === 'visible';
}

/** Hear of the network's return, and of a tab that woke up. Does nothing outside a browser. */
function watchNetwork(back: () => void, gone: () => void): () => void {
  if (typeof window === 'undefined') return () => undefined;
  const woke = () => {
    if (document.visibilityState === 'visible') back();
  };
  const heard: [EventTarget, string, () => void][] = [
    [window, 'online', back],
    [window, 'offline', gone],
    [window, 'pageshow', woke],
    [document, 'visibilitychange', woke],
    // The browser had stopped the page: what it holds for a connection may be long gone.
    [document, 'resume', back],
  ];
  for (const [target, event, run] of heard) target.addEventListener(event, run);
  return () => {
    for (const [target, event, run] of heard) target.removeEventListener(event, run);
  };
}

function declined(code: string, message: string) {
  return { ok: false, error: { code, message, retryable: false } };
}
