/** What a person gave and the server has not answered yet, over all conversations and channels. */

import type { Outbox, PendingCommand } from './commands.js';
import { isRecord, type ParlourError } from './errors.js';
import type { FileRef } from './protocol.js';
import { Store, type Readable } from './store.js';

/** Where a command belongs. */
export interface Place {
  kind: 'thread' | 'channel' | 'agent';
  id: string;
}

export interface Unsent {
  command_id: string;
  /** The command's name, such as `message:send`. */
  event: string;
  place: Place | null;
  /** What was written; empty for commands without a text. */
  text: string;
  files: FileRef[];
  /** `failed`: the server refused it. It stays until it is tried again or given up. */
  state: 'waiting' | 'failed';
  /** Why it has to wait, where the server said so, or why it was refused. */
  error: ParlourError | null;
  /** Milliseconds since 1970 UTC. */
  created_at: number;
}

/** The commands of a connection that wait or were refused, oldest first. What is on its way is not among
 * them. */
export class UnsentCommands implements Readable<readonly Unsent[]> {
  readonly #outbox: Outbox;
  readonly #list = new Store<readonly Unsent[]>([]);
  readonly #stop: () => void;

  constructor(outbox: Outbox) {
    this.#outbox = outbox;
    this.#stop = outbox.pending.subscribe((pending) => this.#take(pending));
  }

  get(): readonly Unsent[] {
    return this.#list.get();
  }

  subscribe(run: (list: readonly Unsent[]) => void): () => void {
    return this.#list.subscribe(run);
  }

  /** Send a refused one again. */
  retry(commandId: string): void {
    this.#outbox.retry(commandId);
  }

  /** Give one up. */
  dismiss(commandId: string): void {
    this.#outbox.dismiss(commandId);
  }

  /** Send all refused ones again, oldest first. */
  retryAll(): void {
    for (const { command_id, state } of this.get()) if (state === 'failed') this.retry(command_id);
  }

  /** Give all of them up. */
  dismissAll(): void {
    for (const { command_id } of this.get()) this.dismiss(command_id);
  }

  close(): void {
    this.#stop();
  }

  #take(pending: readonly PendingCommand[]): void {
    const list = listUnsent(pending);
    // Most changes of the outbox are of what is on its way.
    if (list.length > 0 || this.get().length > 0) this.#list.set(list);
  }
}

export function listUnsent(pending: readonly PendingCommand[]): Unsent[] {
  return pending.flatMap(({ command_id, event, payload, state, error, created_at }) => {
    if (state === 'sent') return [];
    const { files } = payload;
    return {
      ...{ command_id, event, state, error, created_at },
      place: placeOf(payload),
      text: textOf(payload),
      files: Array.isArray(files) ? (files as FileRef[]) : [],
    };
  });
}

/** Words to an agent are among what its action takes. */
function textOf({ content, args }: Record<string, unknown>): string {
  const text = isRecord(args) ? args['content'] : content;
  return typeof text === 'string' ? text : '';
}

function placeOf(payload: Record<string, unknown>): Place | null {
  const { thread_id, channel_id, conversation_id } = payload;
  if (typeof thread_id === 'string' && thread_id) return { kind: 'thread', id: thread_id };
  if (typeof channel_id === 'string') return { kind: 'channel', id: channel_id };
  if (typeof conversation_id === 'string') return { kind: 'agent', id: conversation_id };
  return null;
}
