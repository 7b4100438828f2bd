/** Documents behind a real socket, as docs/documents.md describes them; refusals are the test's to ask for. */

import type { Socket } from 'socket.io';
import * as Y from 'yjs';

import { toBytes } from '../src/documents/bytes.js';
import { StreamServer } from './server.js';

type Payload = Record<string, unknown>;

export const DOCUMENT = 'note:n1';

export class DocumentServer {
  readonly socket: StreamServer;
  doc = new Y.Doc();
  generation = 1;
  offset = 0;
  permission: 'read' | 'write' = 'write';
  /** What the next updates are answered with; null stores one. */
  readonly refusals: ({ code: string; retryable?: boolean } | null)[] = [];
  /** So many updates are stored without an answer: the connection ends first. */
  loseAnswers = 0;
  /** What every join is answered with, while it is set. */
  joinRefusal: { code: string; retryable?: boolean } | null = null;
  /** Newest awareness update of each connection. */
  readonly #awareness = new Map<string, Uint8Array>();

  static async start(): Promise<DocumentServer> {
    return new DocumentServer(await StreamServer.start());
  }

  private constructor(socket: StreamServer) {
    this.socket = socket;
    socket.answer('ydoc:document:join', (payload, from) => this.#join(payload, from));
    socket.answer('ydoc:document:update', (payload, from) => this.#update(payload, from));
    socket.answer('ydoc:document:leave', (_payload, from) => this.#leave(from));
    socket.answer('ydoc:awareness:update', (payload, from) => {
      this.#awareness.set(from.id, toBytes(payload['update'])!);
      from.to(DOCUMENT).emit('ydoc:awareness:update', { ...payload, socket_id: from.id });
    });
  }

  get text(): string {
    return this.doc.getText('title').toString();
  }

  /** The history is given up: everybody has to join again. */
  reset(text: string): void {
    this.doc = new Y.Doc();
    this.doc.getText('title').insert(0, text);
    this.generation += 1;
    this.socket.emit('access:updated', { room: `doc_${DOCUMENT}`, reason: 'reset' });
  }

  /** An update of somebody else. */
  write(text: string): void {
    const before = Y.encodeStateVector(this.doc);
    this.doc.getText('title').insert(0, text);
    this.offset += 1;
    const update = Y.encodeStateAsUpdate(this.doc, before);
    this.socket.emit('ydoc:document:update', this.#event({ update }));
  }

  saved(): void {
    this.socket.emit('note:saved', this.#event({ version: 1, title: this.text, at: 7 }));
  }

  #join({ state_vector, generation, user_name }: Payload, from: Socket): unknown {
    if (this.joinRefusal) return refused(this.joinRefusal);
    const stale = generation !== undefined && generation !== this.generation;
    const known = stale ? undefined : (toBytes(state_vector) ?? undefined);
    const user = { id: from.id, name: user_name, color: null };
    const state = Y.encodeStateAsUpdate(this.doc, known);
    from.emit('ydoc:document:state', this.#event({ state, users: [user] }));
    void from.join(DOCUMENT);
    for (const [id, update] of this.#awareness) {
      if (id !== from.id) from.emit('ydoc:awareness:update', this.#event({ update }));
    }
    return {
      ...{ status: stale ? 'reset' : 'ready', permission: this.permission },
      ...{ generation: this.generation, offset: this.offset },
      state_vector: Y.encodeStateVector(this.doc),
    };
  }

  #update({ update, generation }: Payload, from: Socket): unknown {
    const refusal = this.refusals.shift();
    if (refusal) return refused(refusal);
    if (generation !== this.generation) return refused({ code: 'stale_generation' });
    Y.applyUpdate(this.doc, toBytes(update)!);
    this.offset += 1;
    if (this.loseAnswers > 0) {
      this.loseAnswers -= 1;
      from.conn.close();
    }
    from.to(DOCUMENT).emit('ydoc:document:update', this.#event({ update }));
    return { generation: this.generation, offset: this.offset };
  }

  #leave(from: Socket): void {
    void from.leave(DOCUMENT);
    this.#awareness.delete(from.id);
  }

  #event(fields: Payload): Payload {
    const { generation, offset } = this;
    return { document_id: DOCUMENT, generation, offset, ...fields };
  }
}

function refused({ code, retryable = false }: { code: string; retryable?: boolean }) {
  return { ok: false, error: { code, message: code, retryable } };
}
