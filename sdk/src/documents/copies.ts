/**
 * Copies of documents that outlive the page, in IndexedDB: what was written offline is there after a reload.
 *
 * One database per person, server and place on it: nobody else's page opens it. A copy belongs to one
 * generation of its document; updates of another are never put beside it, also when two tabs notice at
 * different times that the history was given up. Nothing in here needs Yjs, so that a page can look for
 * what was left unsent, or forget everything, without loading it.
 */

import { openDB, type DBSchema, type IDBPDatabase, type IDBPTransaction } from 'idb';

const VERSION = 1;
const STORES = ['copies', 'updates'] as const;

/** Which history of a document a copy belongs to. */
export type Generation = string | number;

/** What could not be merged, as a whole state. */
export interface StoredAside {
  state: Uint8Array;
  /** Milliseconds since 1970 UTC. */
  at: number;
}

interface Meta {
  document_id: string;
  generation: Generation;
  /** Something in it was not acknowledged by the server. */
  unsaved: boolean;
  permission: 'read' | 'write';
  aside: StoredAside | null;
}

interface StoredUpdate {
  document_id: string;
  update: Uint8Array;
}

interface Schema extends DBSchema {
  copies: { key: string; value: Meta };
  updates: { key: number; value: StoredUpdate; indexes: { document: string } };
}

type Writing = IDBPTransaction<Schema, ['copies', 'updates'], 'readwrite'>;

/** A stored copy as it is read. */
export interface Loaded {
  generation: Generation;
  unsaved: boolean;
  permission: 'read' | 'write';
  aside: StoredAside | null;
  updates: Uint8Array[];
}

export interface DocumentCopiesOptions {
  /** Whose copies these are. */
  userId: string;
  /** Which server or place on it: an origin, or the path of a mounted application. */
  place?: string;
}

/** All copies of one person in this browser. */
export class DocumentCopies {
  readonly userId: string;
  readonly #name: string;
  #database: Promise<IDBPDatabase<Schema>> | undefined;

  constructor({ userId, place = '/' }: DocumentCopiesOptions) {
    this.userId = userId;
    this.#name = `parlour.documents@${place}:${userId}`;
  }

  /** The copy of one document; it need not exist yet. */
  copy(documentId: string): DocumentCopy {
    return new DocumentCopy(documentId, () => this.#open());
  }

  /** Documents with edits that the server has not acknowledged. */
  async unsaved(): Promise<string[]> {
    const all = await (await this.#open()).getAll('copies');
    return all.filter((meta) => meta.unsaved).map((meta) => meta.document_id);
  }

  /** Forget everything: the person leaves this browser. */
  async clear(): Promise<void> {
    const transaction = (await this.#open()).transaction(STORES, 'readwrite');
    const cleared = STORES.map((store) => transaction.objectStore(store).clear());
    transaction.commit();
    await Promise.all([...cleared, transaction.done]);
  }

  async close(): Promise<void> {
    const database = await this.#database?.catch(() => null);
    database?.close();
    this.#database = undefined;
  }

  #open(): Promise<IDBPDatabase<Schema>> {
    this.#database ??= openDB<Schema>(this.#name, VERSION, {
      upgrade: (database) => {
        database.createObjectStore('copies', { keyPath: 'document_id' });
        const updates = database.createObjectStore('updates', { autoIncrement: true });
        updates.createIndex('document', 'document_id');
      },
      // A newer page wants to change the database: it must not wait for this one.
      blocking: () => void this.close(),
    });
    return this.#database;
  }
}

/** The copy of one document: its updates in the order in which they came. */
export class DocumentCopy {
  readonly #id: string;
  readonly #open: () => Promise<IDBPDatabase<Schema>>;
  /** Records whose content this page's document has: those that it may replace by its state. */
  #keys: number[] = [];

  constructor(documentId: string, open: () => Promise<IDBPDatabase<Schema>>) {
    this.#id = documentId;
    this.#open = open;
  }

  /** How many records a state of this page's document could replace. */
  get length(): number {
    return this.#keys.length;
  }

  /** Null where there is no copy. */
  async load(): Promise<Loaded | null> {
    const transaction = (await this.#open()).transaction(STORES, 'readonly');
    const index = transaction.objectStore('updates').index('document');
    const [meta, records, keys] = await Promise.all([
      transaction.objectStore('copies').get(this.#id),
      index.getAll(this.#id),
      index.getAllKeys(this.#id),
    ]);
    if (!meta) return null;
    this.#keys = keys;
    const { generation, unsaved, permission, aside } = meta;
    return {
      ...{ generation, unsaved, permission, aside },
      updates: records.map(({ update }) => update),
    };
  }

  /** Begin the copy of a generation; one of another is dropped, and with `anew` also one of the same. What
   * of it is worth keeping is given as `aside`. */
  begin(generation: Generation, aside: StoredAside | null, anew = false): Promise<void> {
    this.#keys = [];
    return this.#write(async (transaction, meta) => {
      const copies = transaction.objectStore('copies');
      const kept = aside ?? meta?.aside ?? null;
      if (meta?.generation === generation && !anew) {
        await copies.put({ ...meta, aside: kept });
        return;
      }
      await this.#drop(transaction);
      const fresh = { generation, unsaved: false, permission: 'read' } as const;
      await copies.put({ document_id: this.#id, ...fresh, aside: kept });
    });
  }

  /** Add an update; `own` is one that the server does not have yet. */
  append(generation: Generation, update: Uint8Array, own: boolean): Promise<void> {
    return this.#write(async (transaction, meta) => {
      // Another tab has begun a newer generation; this one will hear of it from the server.
      if (meta?.generation !== generation) return;
      const record = { document_id: this.#id, update };
      this.#keys.push(await transaction.objectStore('updates').add(record));
      if (own && !meta.unsaved) {
        await transaction.objectStore('copies').put({ ...meta, unsaved: true });
      }
    });
  }

  /** Put the whole state in the place of the updates that this page has read or written. */
  compact(generation: Generation, state: Uint8Array): Promise<void> {
    const replaced = this.#keys;
    this.#keys = [];
    return this.#write(async (transaction, meta) => {
      if (meta?.generation !== generation) return;
      const updates = transaction.objectStore('updates');
      this.#keys.push(await updates.add({ document_id: this.#id, update: state }));
      for (const key of replaced) await updates.delete(key);
    });
  }

  /** Note what is known of it. */
  note(changes: Partial<Pick<Meta, 'unsaved' | 'permission' | 'aside'>>): Promise<void> {
    return this.#write(async (transaction, meta) => {
      if (meta) await transaction.objectStore('copies').put({ ...meta, ...changes });
    });
  }

  /** Forget it: the document is gone, or may not be read any more. */
  remove(): Promise<void> {
    this.#keys = [];
    return this.#write(async (transaction) => {
      await this.#drop(transaction);
      await transaction.objectStore('copies').delete(this.#id);
    });
  }

  async #write(
    change: (transaction: Writing, meta: Meta | undefined) => Promise<void>,
  ): Promise<void> {
    const transaction = (await this.#open()).transaction(STORES, 'readwrite');
    await change(transaction, await transaction.objectStore('copies').get(this.#id));
    await transaction.done;
  }

  async #drop(transaction: Writing): Promise<void> {
    const updates = transaction.objectStore('updates');
    for (const key of await updates.index('document').getAllKeys(this.#id)) {
      await updates.delete(key);
    }
  }
}
