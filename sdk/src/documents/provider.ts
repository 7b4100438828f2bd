/**
 * A live document: a Yjs document on one side, its id on the server on the other.
 *
 * On every connect, the first and each later one, both sides say what they have (state vectors) and get what
 * they lack; so edits made offline arrive, and nothing is doubled. An edit counts as pending until the
 * server has stored it. Updates leave one at a time, those that were made meanwhile in one piece, so that a
 * slow line is not flooded. What the server refuses stays in the local document, is shown as refused, and is
 * never silently dropped; where the history itself was given up, the local text is put aside and offered.
 */

import {
  applyAwarenessUpdate,
  encodeAwarenessUpdate,
  removeAwarenessStates,
} from 'y-protocols/awareness';
import * as Y from 'yjs';

import type { Connection } from '../connection.js';
import { isRecord, ParlourError } from '../errors.js';
import { newId } from '../ids.js';
import { Store, type Readable } from '../store.js';
import { toBytes } from './bytes.js';
import type { DocumentCopies, DocumentCopy, Generation } from './copies.js';
import { countFitting, splitUpdate } from './pieces.js';
import { isAhead, newReplica, plainText, type Replica } from './replica.js';

/** Origins of changes that are not this person's. */
const REMOTE = Symbol('from the server');
const STORED = Symbol('from the stored copy');

const AWARENESS_MS = 80;
const RETRY_MS = { first: 500, most: 8_000 };
/** Refusals of one state, in a row, after which trying again is the person's decision. */
const MOST_REFUSALS = 4;
/** Bytes of one update, so that what others send meanwhile is not held up. */
const LARGEST = 250_000;
/** Records of a stored copy beyond which its state takes their place. */
const COMPACT_AT = 400;

/**
 * - `connecting`: not joined yet.
 * - `offline`: there is no connection; edits are kept.
 * - `readonly`: joined, without the right to write.
 * - `saving`: edits wait for the server (`pending`).
 * - `synced`: the server has stored every edit; the text that lists and REST show follows.
 * - `saved`: that text, too, has every edit.
 * - `refused`: the server does not take an edit, or the document as a whole; see `error`.
 */
export type DocumentPhase =
  'connecting' | 'offline' | 'readonly' | 'saving' | 'synced' | 'saved' | 'refused';

export interface DocumentStatus {
  phase: DocumentPhase;
  /** Edits of this person that the server has not acknowledged. */
  pending: number;
  /** Null before it is known. */
  permission: 'read' | 'write' | null;
  /** Why the document, or an edit, was refused. */
  error: ParlourError | null;
  /** Milliseconds since 1970 of the newest saved text. */
  savedAt: number | null;
  /** Something can be shown: the stored copy or the server's state is there. */
  ready: boolean;
  /** Edits survive the end of the page. */
  durable: boolean;
}

/** Somebody who has the document open. */
export interface DocumentUser {
  id: string;
  name: string;
  color: string | null;
}

/** Local text that could not be merged. */
export interface Aside {
  /** A Yjs state. */
  state: Uint8Array;
  text: string;
  at: number;
}

export interface DocumentOptions {
  connection: Connection;
  /** `note:{id}`. */
  documentId: string;
  /** Where copies are kept over the page's end; without it, edits live as long as the page. */
  copies?: DocumentCopies;
  user?: { name: string; color?: string };
}

export class DocumentProvider {
  readonly documentId: string;
  readonly #connection: Connection;
  readonly #user: DocumentOptions['user'];
  readonly #copy: DocumentCopy | null;
  readonly #replica: Store<Replica>;
  readonly #status = new Store<DocumentStatus>({
    ...{ phase: 'connecting', pending: 0, permission: null, error: null, savedAt: null },
    ...{ ready: false, durable: false },
  });
  readonly #people = new Store<readonly DocumentUser[]>([]);
  readonly #aside = new Store<Aside | null>(null);
  readonly #stops: (() => void)[] = [];
  readonly #loaded: Promise<void>;
  #detach: () => void = () => undefined;
  #generation: Generation | null = null;
  /** Each attempt to join has a number; answers to earlier ones mean nothing any more. */
  #attempt = 0;
  #joined = false;
  #connectedNow = false;
  #away = false;
  /** Edits that wait for the answer to those that are on their way. */
  #queue: Uint8Array[] = [];
  #sending = 0;
  /** Edits that are in the document only; the next join sends them. */
  #unsent = 0;
  /** Requests without an answer. */
  #open = 0;
  /** The server refused an edit: what follows cannot be merged without it, so it waits. */
  #held = false;
  #failures = 0;
  #refusals = 0;
  #acknowledged = 0;
  #saved = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #told: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor({ connection, documentId, copies, user }: DocumentOptions) {
    this.documentId = documentId;
    this.#connection = connection;
    this.#user = user;
    this.#copy = copies?.copy(documentId) ?? null;
    this.#replica = new Store(newReplica());
    this.#attach(this.#replica.get());
    this.#listen();
    this.#loaded = this.#load();
    void this.#loaded.then(() => {
      if (this.#closed) return;
      this.#stops.push(connection.onConnected(() => this.#connected()));
      this.#tell({});
    });
  }

  /** The document to edit; another one where the history was given up. */
  get replica(): Readable<Replica> {
    return this.#replica;
  }

  get status(): Readable<DocumentStatus> {
    return this.#status;
  }

  /** Everybody who has the document open, this person included. */
  get people(): Readable<readonly DocumentUser[]> {
    return this.#people;
  }

  /** Local text that is in no history any more, until it is dismissed. */
  get aside(): Readable<Aside | null> {
    return this.#aside;
  }

  /** Resolves when the stored copy was read, or found missing. */
  get loaded(): Promise<void> {
    return this.#loaded;
  }

  /** Offer again what was refused, or join again. */
  retry(): void {
    this.#failures = this.#refusals = 0;
    this.#held = false;
    this.#tell({ error: null });
    this.#join();
  }

  /** Give the refused edits up and begin from the server's state. The local text is put aside. */
  startOver(): void {
    this.#putAside(this.#generation, true);
    this.#generation = null;
    this.retry();
  }

  /** The person has taken what was put aside, or does not want it. */
  dismissAside(): void {
    this.#aside.set(null);
    this.#keep((copy) => copy.note({ aside: null }));
  }

  /** Forget this browser's copy: the document is gone. */
  async forget(): Promise<void> {
    await this.#copy?.remove().catch(() => undefined);
  }

  /** Leave. What was not sent yet is sent first; what is not acknowledged stays in the stored copy. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#retry);
    clearTimeout(this.#told);
    // All in one turn: another provider may join the same document in the next one.
    if (this.#joined) {
      if (!this.#held && this.#status.get().permission === 'write') this.#send(this.#take());
      this.#request('ydoc:document:leave', {}).catch(() => undefined);
    }
    this.#attempt += 1;
    this.#joined = false;
    for (const stop of this.#stops.splice(0)) stop();
    this.#detach();
    const { doc, awareness } = this.#replica.get();
    awareness.destroy();
    doc.destroy();
  }

  // Local changes

  #attach({ doc, awareness }: Replica): void {
    const updated = (update: Uint8Array, origin: unknown) => this.#updated(update, origin);
    const moved = (_changes: unknown, origin: unknown) => {
      if (origin === 'local') this.#tellAwareness();
    };
    doc.on('update', updated);
    awareness.on('update', moved);
    this.#detach = () => {
      doc.off('update', updated);
      awareness.off('update', moved);
    };
  }

  #updated(update: Uint8Array, origin: unknown): void {
    if (origin === STORED) return;
    const own = origin !== REMOTE && this.#status.get().permission !== 'read';
    const generation = this.#generation;
    if (generation !== null) this.#keep((copy) => copy.append(generation, update, own));
    this.#compact();
    if (!own) return;
    if (this.#joined) this.#queue.push(...splitUpdate(update, this.#largest));
    else this.#unsent += 1;
    this.#tell({});
    this.#flush();
  }

  #compact(): void {
    const generation = this.#generation;
    if (generation === null || (this.#copy?.length ?? 0) < COMPACT_AT) return;
    const state = Y.encodeStateAsUpdate(this.#replica.get().doc);
    this.#keep((copy) => copy.compact(generation, state));
  }

  /** Send what waits, unless something is on its way already. */
  #flush(): void {
    const { permission } = this.#status.get();
    if (!this.#joined || this.#held || this.#sending > 0 || permission !== 'write') return;
    this.#send(this.#take());
  }

  #take(): { update: Uint8Array; count: number } | null {
    const count = countFitting(this.#queue, this.#largest);
    if (count === 0) return null;
    const taken = this.#queue.splice(0, count);
    return { update: count === 1 ? taken[0]! : Y.mergeUpdates(taken), count };
  }

  /** Bytes of an update beside which a packet has room for everything else. */
  get #largest(): number {
    return Math.min(LARGEST, Math.floor(this.#connection.maxPayload * 0.8) - 1000);
  }

  #send(piece: { update: Uint8Array; count: number } | null): void {
    if (!piece) return;
    const attempt = this.#attempt;
    this.#sending = piece.count;
    this.#open += 1;
    this.#tell({});
    const payload = { update: piece.update, generation: this.#generation, command_id: newId() };
    this.#request('ydoc:document:update', payload)
      .finally(() => (this.#open -= 1))
      .then(
        (answer) => {
          if (attempt === this.#attempt) this.#stored(answer);
          else if (this.#closed) this.#noteSaved();
        },
        (error: unknown) => {
          if (attempt === this.#attempt) this.#notStored(ParlourError.from(error));
          else this.#unsent += 1;
        },
      );
  }

  #stored(answer: Record<string, unknown>): void {
    this.#sending = 0;
    this.#failures = this.#refusals = 0;
    this.#acknowledged = Math.max(this.#acknowledged, Number(answer['offset'] ?? 0));
    this.#noteSaved();
    this.#tell({ error: null });
    this.#flush();
  }

  /** Note in the stored copy that the server has everything, where that is so. */
  #noteSaved(): void {
    if (this.#queue.length > 0 || this.#unsent > 0 || this.#open > 0) return;
    this.#keep((copy) => copy.note({ unsaved: false }));
  }

  /** The document has it, so it goes with the next join. */
  #notStored(error: ParlourError): void {
    this.#settleSending();
    const again = error.code === 'stale_generation' || error.code === 'forbidden';
    if (error.retryable || error.code === 'conflict') this.#joinLater();
    else if (again && this.#refusals++ < MOST_REFUSALS) this.#join();
    else {
      this.#held = true;
      this.#tell({ error });
    }
  }

  #settleSending(): void {
    this.#unsent += this.#sending + this.#queue.length;
    this.#sending = 0;
    this.#queue = [];
  }

  // Joining

  #listen(): void {
    const { state } = this.#connection;
    const heard: [string, (payload: Record<string, unknown>) => void][] = [
      ['ydoc:document:state', (payload) => this.#heardState(payload)],
      ['ydoc:document:update', (payload) => this.#heardUpdate(payload)],
      ['ydoc:awareness:update', (payload) => this.#heardAwareness(payload)],
      ['ydoc:user:joined', (payload) => this.#came(payload)],
      ['ydoc:user:left', (payload) => this.#went(payload)],
      ['note:saved', (payload) => this.#heardSaved(payload)],
    ];
    for (const [event, run] of heard) {
      const stop = this.#connection.on(event, (payload) => {
        if (isRecord(payload) && payload['document_id'] === this.documentId) run(payload);
      });
      this.#stops.push(stop);
    }
    this.#stops.push(
      this.#connection.on('access:updated', (payload) => {
        if (isRecord(payload) && payload['room'] === `doc_${this.documentId}`) {
          this.#accessChanged(payload);
        }
      }),
      state.subscribe(({ phase }) => {
        if (phase === 'offline' || phase === 'closed' || phase === 'refused') this.#disconnected();
      }),
    );
  }

  async #load(): Promise<void> {
    if (!this.#copy) return;
    try {
      const stored = await this.#copy.load();
      if (this.#closed) return;
      this.#tell({ durable: true });
      if (!stored) return;
      const { doc } = this.#replica.get();
      doc.transact(() => {
        for (const update of stored.updates) Y.applyUpdate(doc, update, STORED);
      }, STORED);
      this.#generation = stored.generation;
      this.#unsent = stored.unsaved ? 1 : 0;
      if (stored.aside) this.#aside.set(readAside(stored.aside));
      this.#compact();
      this.#tell({ ready: true, permission: stored.permission });
    } catch {
      // Without storage (a private window, a full disk) edits live as long as the page.
      this.#tell({ durable: false });
    }
  }

  #connected(): void {
    this.#connectedNow = true;
    this.#away = false;
    this.#failures = this.#refusals = 0;
    this.#join();
  }

  #disconnected(): void {
    this.#connectedNow = false;
    this.#away = true;
    this.#part();
    this.#tell({});
  }

  /** Not in the document, for now or for good. What was on its way may or may not have arrived: the next
   * join finds out. */
  #part(): void {
    clearTimeout(this.#retry);
    this.#attempt += 1;
    this.#joined = false;
    this.#settleSending();
    this.#people.set([]);
    this.#forgetOthers();
  }

  #join(): void {
    if (this.#closed || !this.#connectedNow) return;
    clearTimeout(this.#retry);
    const attempt = ++this.#attempt;
    this.#joined = false;
    this.#settleSending();
    const { doc } = this.#replica.get();
    const payload = {
      state_vector: Y.encodeStateVector(doc),
      ...(this.#generation === null ? {} : { generation: this.#generation }),
      ...(this.#user ? { user_name: this.#user.name } : {}),
      ...(this.#user?.color ? { user_color: this.#user.color } : {}),
    };
    this.#request('ydoc:document:join', payload).then(
      (answer) => {
        if (attempt === this.#attempt) this.#entered(answer);
      },
      (error: unknown) => {
        if (attempt === this.#attempt) this.#notEntered(ParlourError.from(error));
      },
    );
  }

  /** In. The server's state has arrived before this answer; what it lacks goes now. */
  #entered(answer: Record<string, unknown>): void {
    const permission = answer['permission'] === 'write' ? 'write' : 'read';
    const theirs = toBytes(answer['state_vector']) ?? new Uint8Array([0]);
    this.#joined = true;
    this.#held = false;
    // Saved texts of before may never be told again; only what is sent from here on is waited for.
    this.#acknowledged = 0;
    const ahead = this.#ahead(theirs);
    this.#tell({ ready: true, permission, error: null });
    this.#keep((copy) => copy.note({ permission }));
    if (ahead && permission === 'read') this.#dropUnsendable();
    else if (ahead) this.#sendMissing(theirs);
    this.#announce();
  }

  #ahead(theirs: Uint8Array): boolean {
    const { doc } = this.#replica.get();
    return this.#unsent > 0 || isAhead(doc, theirs);
  }

  #sendMissing(theirs: Uint8Array): void {
    const { doc } = this.#replica.get();
    const missing = Y.encodeStateAsUpdate(doc, theirs);
    this.#unsent = 0;
    this.#queue = splitUpdate(missing, this.#largest);
    this.#flush();
  }

  /** Edits of somebody who may no longer write: they are shown to nobody, so the person gets them back. */
  #dropUnsendable(): void {
    this.#putAside(this.#generation, true);
    this.#generation = null;
    this.#join();
  }

  #notEntered(error: ParlourError): void {
    if (error.retryable || error.code === 'unanswered') {
      this.#joinLater();
      return;
    }
    this.#shut(error);
  }

  /** The document is not there for this person. A copy without anything of their own goes, too. */
  #shut(error: ParlourError): void {
    this.#part();
    this.#held = true;
    if (this.#unsent === 0) this.#keep((copy) => copy.remove());
    this.#tell({ error });
  }

  #joinLater(): void {
    clearTimeout(this.#retry);
    this.#attempt += 1;
    this.#joined = false;
    this.#tell({});
    const delay = Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** this.#failures++);
    this.#retry = setTimeout(() => this.#join(), delay);
  }

  #accessChanged({ reason, permission }: Record<string, unknown>): void {
    if (reason === 'removed' || reason === 'deleted') {
      const code = reason === 'deleted' ? 'not_found' : 'forbidden';
      this.#shut(new ParlourError({ code, message: 'The document is not open to you any more.' }));
      return;
    }
    if (permission === 'read' || permission === 'write') this.#tell({ permission });
    // Unsent edits of somebody who may no longer write are put aside with the answer.
    this.#join();
  }

  // What comes from the server

  #heardState({ state, generation, users }: Record<string, unknown>): void {
    const bytes = toBytes(state);
    if (!bytes || !isGeneration(generation)) return;
    if (this.#generation !== generation) this.#adopt(generation);
    this.#apply(bytes);
    // Shown as soon as it is there; what may be done with it follows in the answer.
    this.#tell({ ready: true });
    this.#people.set(readUsers(users));
  }

  /** The history that this page's document belongs to from here on. */
  #adopt(generation: Generation): void {
    if (this.#generation === null) {
      this.#keep((copy) => copy.begin(generation, null));
    } else {
      this.#putAside(generation, false);
    }
    this.#generation = generation;
  }

  #heardUpdate({ update, generation }: Record<string, unknown>): void {
    const bytes = toBytes(update);
    if (!bytes) return;
    if (isGeneration(generation) && generation !== this.#generation) this.#join();
    else this.#apply(bytes);
  }

  #apply(update: Uint8Array): void {
    Y.applyUpdate(this.#replica.get().doc, update, REMOTE);
  }

  #heardSaved({ offset, at }: Record<string, unknown>): void {
    this.#saved = Math.max(this.#saved, Number(offset ?? 0));
    this.#tell({ savedAt: typeof at === 'number' ? at : Date.now() });
  }

  #came({ user_id, user_name, user_color }: Record<string, unknown>): void {
    const user = {
      id: String(user_id),
      name: String(user_name ?? ''),
      color: typeof user_color === 'string' ? user_color : null,
    };
    this.#people.update((people) => [...people.filter(({ id }) => id !== user.id), user]);
  }

  #went({ user_id }: Record<string, unknown>): void {
    this.#people.update((people) => people.filter(({ id }) => id !== user_id));
  }

  // Awareness

  #heardAwareness({ update }: Record<string, unknown>): void {
    const bytes = toBytes(update);
    if (bytes) applyAwarenessUpdate(this.#replica.get().awareness, bytes, REMOTE);
  }

  #tellAwareness(): void {
    this.#told ??= setTimeout(() => {
      this.#told = undefined;
      this.#sendAwareness();
    }, AWARENESS_MS);
  }

  #sendAwareness(): void {
    if (!this.#joined) return;
    const { awareness } = this.#replica.get();
    const update = encodeAwarenessUpdate(awareness, [awareness.clientID]);
    // A cursor that is not told is told with the next movement.
    this.#request('ydoc:awareness:update', { update }).catch(() => undefined);
  }

  /** Others may have been told that this cursor is gone, under the next number: this one comes after it. */
  #announce(): void {
    const { awareness } = this.#replica.get();
    const state = awareness.getLocalState();
    if (!state) return;
    awareness.setLocalState(state);
    awareness.setLocalState(state);
    clearTimeout(this.#told);
    this.#told = undefined;
    this.#sendAwareness();
  }

  #forgetOthers(): void {
    const { awareness } = this.#replica.get();
    const others = [...awareness.getStates().keys()].filter((id) => id !== awareness.clientID);
    removeAwarenessStates(awareness, others, REMOTE);
  }

  // The local copy

  /** Take a fresh replica; what the present one has that the server does not is kept beside. */
  #putAside(generation: Generation | null, anew: boolean): void {
    const { doc, awareness } = this.#replica.get();
    const text = plainText(doc);
    this.#settleSending();
    const own = this.#unsent > 0 && text !== '';
    const aside = own ? { state: Y.encodeStateAsUpdate(doc), at: Date.now() } : null;
    if (aside) this.#aside.set({ ...aside, text });
    this.#unsent = 0;
    const user: unknown = awareness.getLocalState()?.['user'];
    awareness.setLocalState(null);
    this.#sendAwareness();
    this.#detach();
    const fresh = newReplica();
    if (user) fresh.awareness.setLocalStateField('user', user);
    this.#attach(fresh);
    this.#tell({ ready: false });
    this.#replica.set(fresh);
    // Whoever was bound to the old one has let go of it by now.
    awareness.destroy();
    doc.destroy();
    if (generation !== null) this.#keep((copy) => copy.begin(generation, aside, anew));
  }

  /** Write to the stored copy; a page whose storage fails works on without. */
  #keep(write: (copy: DocumentCopy) => Promise<void>): void {
    if (!this.#copy) return;
    write(this.#copy).catch(() => {
      if (!this.#closed) this.#tell({ durable: false });
    });
  }

  // Telling

  #request(event: string, payload: Record<string, unknown>): Promise<Record<string, unknown>> {
    return this.#connection.request(event, { document_id: this.documentId, ...payload });
  }

  #tell(changes: Partial<DocumentStatus>): void {
    const known = { ...this.#status.get(), ...changes };
    const pending = this.#queue.length + this.#sending + this.#unsent;
    const next = { ...known, pending: known.permission === 'read' ? 0 : pending };
    const status = { ...next, phase: this.#phase(next) };
    const before = this.#status.get();
    const same = (Object.keys(status) as (keyof DocumentStatus)[]).every(
      (key) => status[key] === before[key],
    );
    if (!same) this.#status.set(status);
  }

  #phase({ error, permission, pending }: DocumentStatus): DocumentPhase {
    if (error) return 'refused';
    if (this.#away) return 'offline';
    if (!this.#joined) return 'connecting';
    if (permission === 'read') return 'readonly';
    if (pending > 0) return 'saving';
    return this.#saved < this.#acknowledged ? 'synced' : 'saved';
  }
}

function isGeneration(value: unknown): value is Generation {
  return typeof value === 'string' || typeof value === 'number';
}

function readUsers(value: unknown): DocumentUser[] {
  if (!Array.isArray(value)) return [];
  return value.filter(isRecord).map(({ id, name, color }) => ({
    id: String(id),
    name: String(name ?? ''),
    color: typeof color === 'string' ? color : null,
  }));
}

function readAside({ state, at }: { state: Uint8Array; at: number }): Aside {
  const doc = new Y.Doc();
  Y.applyUpdate(doc, state);
  const text = plainText(doc);
  doc.destroy();
  return { state, text, at };
}
