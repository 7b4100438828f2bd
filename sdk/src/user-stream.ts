/**
 * A person's own stream, `user:{id}`: what concerns all of their devices. A connection follows a stream
 * once; everything that wants to hear this one shares it.
 */

import type { Connection } from './connection.js';
import type { StreamEvent } from './protocol.js';
import type { Follower } from './streams.js';

export interface UserStreamHandlers {
  event(event: StreamEvent): void;
  /** What happened meanwhile is not known: read again what is shown. */
  gap?(): void;
}

export class UserStream {
  readonly userId: string;
  readonly #handlers = new Set<UserStreamHandlers>();
  readonly #follower: Follower;
  #joined = false;

  constructor(connection: Connection, userId: string) {
    this.userId = userId;
    this.#follower = connection.follow(`user:${userId}`, {
      snapshot: () => this.#snapshot(),
      events: (events) => {
        for (const event of events) for (const one of [...this.#handlers]) one.event(event);
      },
      failed: () => undefined,
    });
  }

  /** The returned function ends it. */
  hear(handlers: UserStreamHandlers): () => void {
    this.#handlers.add(handlers);
    return () => this.#handlers.delete(handlers);
  }

  close(): void {
    this.#handlers.clear();
    this.#follower.close();
  }

  /** The first one says nothing new: everybody has read, or is about to. */
  #snapshot(): void {
    if (this.#joined) for (const one of [...this.#handlers]) one.gap?.();
    this.#joined = true;
  }
}
