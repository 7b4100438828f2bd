/** A small server of streams over a real socket, for the client's tests: it plays what a test tells it. */

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { Server, type Socket } from 'socket.io';

export interface Recorded {
  event: string;
  payload: Record<string, unknown>;
}

type Answer = (payload: Record<string, unknown>, socket: Socket) => unknown;

/** An event of a stream as it travels. */
export function wireEvent(
  stream: string,
  offset: number,
  type: string,
  data: Record<string, unknown>,
  more: Record<string, unknown> = {},
) {
  return {
    chat_id: stream.split(':')[1],
    message_id: null,
    data: { type, data },
    stream,
    epoch: 'e1',
    offset,
    since: offset - 1,
    id: `e1:${offset}`,
    at: 1_700_000_000_000 + offset,
    ...more,
  };
}

export class StreamServer {
  readonly received: Recorded[] = [];
  refusal: { code: string; message: string } | null = null;
  connections = 0;
  /** Events that are never answered. */
  silent = new Set<string>();
  readonly #answers = new Map<string, Answer>();
  readonly #http = createServer();
  readonly #io = new Server(this.#http, { path: '/ws/socket.io' });
  readonly #waiting: { done: () => boolean; resolve: () => void }[] = [];

  static async start(): Promise<StreamServer> {
    const server = new StreamServer();
    await new Promise<void>((resolve) => server.#http.listen(0, '127.0.0.1', resolve));
    return server;
  }

  private constructor() {
    this.#io.use((_socket, next) => {
      this.connections += 1;
      const refused = this.refusal;
      next(refused ? Object.assign(new Error(refused.message), { data: refused }) : undefined);
      this.#check();
    });
    this.#io.on('connection', (socket) => {
      socket.onAny(
        (event: string, payload: Record<string, unknown>, ack?: (a: unknown) => void) => {
          this.received.push({ event, payload });
          if (!this.silent.has(event)) {
            const answer = this.#answers.get(event)?.(payload, socket) ?? {};
            ack?.({ ok: true, ...(answer as object) });
          }
          this.#check();
        },
      );
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  /** Answer an event; what is given back is merged over `{ok: true}`. */
  answer(event: string, answer: Answer): this {
    this.#answers.set(event, answer);
    return this;
  }

  emit(event: string, payload: unknown): void {
    this.#io.emit(event, payload);
  }

  /** Ask the one client that is connected and wait for its acknowledgement. */
  async call(event: string, payload: unknown): Promise<unknown> {
    const [socket] = this.#io.sockets.sockets.values();
    return await socket!.timeout(5000).emitWithAck(event, payload);
  }

  /** Cut every connection as a dying network would. */
  cut(): void {
    for (const socket of this.#io.sockets.sockets.values()) socket.conn.close();
  }

  of(event: string): Record<string, unknown>[] {
    return this.received.filter((item) => item.event === event).map((item) => item.payload);
  }

  /** Resolves once `done` holds; looked at whenever something arrives. */
  until(done: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ done, resolve });
      this.#check();
    });
  }

  async stop(): Promise<void> {
    await this.#io.close();
  }

  #check(): void {
    for (const waiter of [...this.#waiting]) {
      if (!waiter.done()) continue;
      this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
      waiter.resolve();
    }
  }
}
