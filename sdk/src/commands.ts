/**
 * Commands that have to arrive exactly once.
 *
 * Each command carries a `command_id`; the server answers a repeated id with the first answer, so sending
 * again after silence is safe. A command waits here from the moment it is given until the server has
 * answered. Messages of one conversation leave one after the other: one that has to be tried again is not
 * overtaken by the next.
 */

import { ParlourError, unanswered, type WireError } from './errors.js';
import { newId } from './ids.js';
import { Store, type Readable } from './store.js';

const RETRY_MS = { first: 1_000, most: 10_000 };

/** The server knows a command again for 24 hours. What may have arrived and is older is not repeated
 * without asking. */
const REPEATABLE_MS = 23 * 3_600_000;

/** Commands that wait at most, so that a page that is offline for long stays small. */
const PENDING_LIMIT = 1_000;

/** Opening the storage takes no longer than this; then the page works without what was left there. */
const RESTORE_MS = 3_000;

/** They mean the moment in which they are given: after a reload they would mean something else. */
const FLEETING: ReadonlySet<string> = new Set([
  'run:stop',
  'run:steer',
  'settings:update',
  'window:message',
  'session:end',
]);

export type Answer = Record<string, unknown>;

export interface Command {
  command_id: string;
  event: string;
  payload: Record<string, unknown>;
  created_at: number;
  /** Milliseconds since 1970 of the first time that it may have left. */
  sent_at?: number;
  /** Why the server refused it. */
  refusal?: WireError;
}

/** `waiting`: for a connection or a retry. `sent`: for the answer. `failed`: refused; stays until it is
 * dismissed or tried again. */
export interface PendingCommand extends Command {
  state: 'waiting' | 'sent' | 'failed';
  error: ParlourError | null;
  /** An earlier page left it behind: whoever gave it no longer waits for the answer. */
  restored: boolean;
}

/** Keeps commands beyond the page's life. Implementations may be asynchronous; the order of `load` is the
 * order in which the commands were put. */
export interface CommandStore {
  load(): Promise<Command[]>;
  put(command: Command): Promise<void>;
  remove(commandId: string): Promise<void>;
  /** Whose commands they are; no other user's connection sends them. */
  readonly userId?: string;
  /** Hear that there is more to `load`. */
  watch?(left: () => void): () => void;
}

/** What the outbox needs from a connection. */
export interface Requester {
  readonly connected: boolean;
  request(event: string, payload: Record<string, unknown>): Promise<Answer>;
}

interface Entry {
  view: PendingCommand;
  attempts: number;
  /** Not sent again before this time, in milliseconds since 1970. */
  due: number;
  resolve: (answer: Answer) => void;
  reject: (error: ParlourError) => void;
}

export class Outbox {
  readonly #requester: Requester;
  readonly #store: CommandStore | undefined;
  readonly #pending = new Store<readonly PendingCommand[]>([]);
  readonly #durable: Store<boolean>;
  readonly #unwatch: () => void;
  #entries = new Map<string, Entry>();
  #restoring: boolean;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(requester: Requester, store?: CommandStore) {
    this.#requester = requester;
    this.#store = store;
    this.#durable = new Store(store !== undefined);
    // What an earlier page left goes first.
    this.#restoring = store !== undefined;
    this.#unwatch = store?.watch?.(() => void this.restore()) ?? (() => undefined);
  }

  /** Commands without an answer yet, oldest first. */
  get pending(): Readable<readonly PendingCommand[]> {
    return this.#pending;
  }

  /** Whether what waits outlives the page. */
  get durable(): Readable<boolean> {
    return this.#durable;
  }

  /** Take up what earlier pages left behind. Nothing is sent before the first time. */
  async restore(): Promise<void> {
    const late = setTimeout(() => this.#begin(), RESTORE_MS);
    await this.#load();
    clearTimeout(late);
    this.#begin();
  }

  /** Give a command. The promise follows the server's answer, across reconnects; it rejects with the
   * refusal, and then the command stays in `pending` as failed. */
  submit(
    event: string,
    payload: Record<string, unknown>,
    commandId: string = newId(),
  ): Promise<Answer> {
    if (this.#closed) return Promise.reject(unanswered('The connection was closed.'));
    if (this.#entries.size >= PENDING_LIMIT) return Promise.reject(full());
    const command = {
      command_id: commandId,
      event,
      payload: { ...payload, command_id: commandId },
      created_at: Date.now(),
    };
    const answered = new Promise<Answer>((resolve, reject) => {
      this.#entries.set(commandId, { ...entryOf(command), resolve, reject });
      this.#publish();
    });
    this.flush();
    const { view } = this.#entries.get(commandId)!;
    // One that has left was stored as it left.
    if (view.sent_at === undefined) this.#keep(view);
    return answered;
  }

  /** Send a refused command again, under the same id. */
  retry(commandId: string): void {
    const entry = this.#entries.get(commandId);
    if (entry?.view.state !== 'failed') return;
    entry.attempts = 0;
    entry.due = 0;
    const { command_id, event, payload, created_at } = entry.view;
    entry.view = entryOf({ command_id, event, payload, created_at }).view;
    this.#publish();
    this.#keep(entry.view);
    this.flush();
  }

  /** Give a command up that failed or has not been sent yet. */
  dismiss(commandId: string): void {
    const entry = this.#entries.get(commandId);
    if (!entry || entry.view.state === 'sent') return;
    this.#remove(commandId);
    entry.reject(unanswered('The command was given up.'));
  }

  /** A connection is there: send everything that waits, also what was to be tried later. */
  resume(): void {
    for (const entry of this.#entries.values()) entry.due = 0;
    this.flush();
  }

  /** Send what waits and is due. */
  flush(): void {
    clearTimeout(this.#timer);
    if (this.#closed || this.#restoring || !this.#requester.connected) return;
    const now = Date.now();
    const busy = new Set<string>();
    let next = Infinity;
    for (const entry of [...this.#entries.values()]) {
      if (entry.view.state === 'failed' || this.#isUncertain(entry, now)) continue;
      const lane = laneOf(entry.view);
      if (busy.has(lane)) continue;
      busy.add(lane);
      if (entry.view.state === 'sent') continue;
      if (entry.due <= now) this.#send(entry, now);
      else next = Math.min(next, entry.due);
    }
    if (next < Infinity) this.#timer = setTimeout(() => this.flush(), next - now);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#unwatch();
    for (const entry of this.#entries.values()) {
      entry.reject(unanswered('The connection was closed.'));
    }
    this.#entries.clear();
    this.#publish();
  }

  #begin(): void {
    this.#restoring = false;
    this.flush();
  }

  async #load(): Promise<void> {
    let commands: Command[] = [];
    try {
      commands = (await this.#store?.load()) ?? [];
    } catch (error) {
      this.#lost(error);
    }
    const fresh = commands.filter(({ command_id }) => !this.#entries.has(command_id));
    if (this.#closed || fresh.length === 0) return;
    const restored = fresh.map((command): [string, Entry] => [
      command.command_id,
      entryOf(command, true),
    ]);
    const present = [...this.#entries];
    this.#entries = new Map(
      this.#restoring ? [...restored, ...present] : [...present, ...restored],
    );
    this.#publish();
  }

  #send(entry: Entry, now: number): void {
    const { command_id, event, payload, sent_at } = entry.view;
    entry.attempts += 1;
    this.#show(entry, { state: 'sent', sent_at: sent_at ?? now });
    if (sent_at === undefined) this.#keep(entry.view);
    this.#requester.request(event, payload).then(
      (answer) => {
        if (!this.#entries.has(command_id)) return;
        this.#remove(command_id);
        entry.resolve(answer);
        this.flush();
      },
      (error: unknown) => this.#failed(entry, ParlourError.from(error)),
    );
  }

  #failed(entry: Entry, error: ParlourError): void {
    if (!this.#entries.has(entry.view.command_id)) return;
    if (error.retryable) {
      entry.due = Date.now() + Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** (entry.attempts - 1));
      // A server that refuses for now has something to say; a lost connection shows by itself.
      this.#show(entry, { state: 'waiting', error: error.code === 'unanswered' ? null : error });
    } else {
      this.#refuse(entry, error);
    }
    this.flush();
  }

  #refuse(entry: Entry, error: ParlourError): void {
    const { code, message } = error;
    this.#show(entry, { state: 'failed', error, refusal: { code, message } });
    this.#keep(entry.view);
    entry.reject(error);
  }

  /** It may have been done, and the server no longer knows: the person decides. */
  #isUncertain(entry: Entry, now: number): boolean {
    const { sent_at, state } = entry.view;
    if (state === 'sent' || sent_at === undefined || now - sent_at < REPEATABLE_MS) return false;
    const message = 'It is not known whether this arrived.';
    this.#refuse(entry, new ParlourError({ code: 'uncertain', message }));
    return true;
  }

  #show(entry: Entry, changes: Partial<PendingCommand>): void {
    entry.view = { ...entry.view, ...changes };
    this.#publish();
  }

  #remove(commandId: string): void {
    const entry = this.#entries.get(commandId);
    this.#entries.delete(commandId);
    if (entry && !isFleeting(entry.view)) {
      this.#store?.remove(commandId).catch((error: unknown) => this.#lost(error));
    }
    this.#publish();
  }

  #keep(view: PendingCommand): void {
    if (!this.#store || isFleeting(view)) return;
    const { command_id, event, payload, created_at, sent_at, refusal } = view;
    const command: Command = {
      ...{ command_id, event, payload, created_at },
      ...(sent_at === undefined ? {} : { sent_at }),
      ...(refusal ? { refusal } : {}),
    };
    this.#store.put(command).catch((error: unknown) => this.#lost(error));
  }

  /** Without a storage everything works, until the page ends. */
  #lost(error: unknown): void {
    if (this.#closed || !this.#durable.get()) return;
    console.warn('Commands are kept for this page only:', error);
    this.#durable.set(false);
  }

  #publish(): void {
    this.#pending.set([...this.#entries.values()].map((entry) => entry.view));
  }
}

function entryOf(command: Command, restored = false): Entry {
  const error = command.refusal ? new ParlourError(command.refusal) : null;
  const view: PendingCommand = {
    ...command,
    state: error ? 'failed' : 'waiting',
    error,
    restored,
  };
  return { view, attempts: 0, due: 0, resolve: () => undefined, reject: () => undefined };
}

function full(): ParlourError {
  const message = 'Too much is waiting to be sent.';
  return new ParlourError({ code: 'outbox_full', message });
}

/** To ask an agent to pause or to go on means the moment, as well. */
function isFleeting({ event, payload }: Pick<Command, 'event' | 'payload'>): boolean {
  return FLEETING.has(event) || payload['action'] === 'change_agent_state';
}

/** Commands of one lane are sent one at a time. */
function laneOf({ event, payload, command_id }: Command): string {
  const place = payload['thread_id'] ?? payload['channel_id'] ?? payload['conversation_id'];
  const said =
    event === 'message:send' || (event === 'oh_user_action' && !isFleeting({ event, payload }));
  return said ? `${event} ${String(place)}` : command_id;
}
