/**
 * Commands that have to arrive exactly once.
 *
 * Each command carries a `command_id`; the server answers a repeated id with the first answer, so sending
 * again after silence is safe. A command waits here from the moment it is given until the server has
 * answered. Messages of one conversation leave one after the other: one that has to be tried again is not
 * overtaken by the next.
 */

import { ParlourError, unanswered } from './errors.js';
import { newId } from './ids.js';
import { Store, type Readable } from './store.js';

const RETRY_MS = { first: 1_000, most: 10_000 };

export type Answer = Record<string, unknown>;

export interface Command {
  command_id: string;
  event: string;
  payload: Record<string, unknown>;
  created_at: number;
}

/** `waiting`: for a connection or a retry. `sent`: for the answer. `failed`: refused; stays until it is
 * dismissed or tried again. */
export interface PendingCommand extends Command {
  state: 'waiting' | 'sent' | 'failed';
  error: ParlourError | null;
}

/** Keeps commands beyond the page's life. Implementations may be asynchronous; the order of `load` is the
 * order in which the commands were put. */
export interface CommandStore {
  load(): Promise<Command[]>;
  put(command: Command): Promise<void>;
  remove(commandId: string): Promise<void>;
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
  readonly #entries = new Map<string, Entry>();
  readonly #pending = new Store<readonly PendingCommand[]>([]);
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(requester: Requester, store?: CommandStore) {
    this.#requester = requester;
    this.#store = store;
  }

  /** Commands without an answer yet, oldest first. */
  get pending(): Readable<readonly PendingCommand[]> {
    return this.#pending;
  }

  /** Take up what an earlier page left behind. */
  async restore(): Promise<void> {
    for (const command of (await this.#store?.load()) ?? []) {
      if (!this.#entries.has(command.command_id)) {
        this.#add(command).catch(() => undefined);
      }
    }
    this.flush();
  }

  /** Give a command. The promise follows the server's answer, across reconnects; it rejects with the
   * refusal, and then the command stays in `pending` as failed. */
  submit(
    event: string,
    payload: Record<string, unknown>,
    commandId: string = newId(),
  ): Promise<Answer> {
    if (this.#closed) return Promise.reject(unanswered('The connection was closed.'));
    const command = {
      command_id: commandId,
      event,
      payload: { ...payload, command_id: commandId },
      created_at: Date.now(),
    };
    const answered = this.#add(command);
    void this.#store?.put(command);
    this.flush();
    return answered;
  }

  /** Send a refused command again, under the same id. */
  retry(commandId: string): void {
    const entry = this.#entries.get(commandId);
    if (entry?.view.state !== 'failed') return;
    entry.attempts = 0;
    entry.due = 0;
    this.#show(entry, { state: 'waiting', error: null });
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
    if (this.#closed || !this.#requester.connected) return;
    const now = Date.now();
    const busy = new Set<string>();
    let next = Infinity;
    for (const entry of [...this.#entries.values()]) {
      if (entry.view.state === 'failed') continue;
      const lane = laneOf(entry.view);
      if (busy.has(lane)) continue;
      busy.add(lane);
      if (entry.view.state === 'sent') continue;
      if (entry.due <= now) this.#send(entry);
      else next = Math.min(next, entry.due);
    }
    if (next < Infinity) this.#timer = setTimeout(() => this.flush(), next - now);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const entry of this.#entries.values()) {
      entry.reject(unanswered('The connection was closed.'));
    }
    this.#entries.clear();
    this.#publish();
  }

  #add(command: Command): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const view: PendingCommand = { ...command, state: 'waiting', error: null };
      this.#entries.set(command.command_id, { view, attempts: 0, due: 0, resolve, reject });
      this.#publish();
    });
  }

  #send(entry: Entry): void {
    const { command_id, event, payload } = entry.view;
    entry.attempts += 1;
    this.#show(entry, { state: 'sent' });
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
      this.flush();
      return;
    }
    void this.#store?.remove(entry.view.command_id);
    this.#show(entry, { state: 'failed', error });
    entry.reject(error);
    this.flush();
  }

  #show(entry: Entry, changes: Partial<PendingCommand>): void {
    entry.view = { ...entry.view, ...changes };
    this.#publish();
  }

  #remove(commandId: string): void {
    this.#entries.delete(commandId);
    void this.#store?.remove(commandId);
    this.#publish();
  }

  #publish(): void {
    this.#pending.set([...this.#entries.values()].map((entry) => entry.view));
  }
}

/** Commands of one lane are sent one at a time. */
function laneOf({ event, payload, command_id }: Command): string {
  const place = payload['thread_id'] ?? payload['channel_id'];
  return event === 'message:send' ? `${event} ${String(place)}` : command_id;
}
