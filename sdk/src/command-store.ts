/**
 * Commands that outlive the page, in IndexedDB.
 *
 * One database per person, server and place on it: nobody else's page opens it. Each page owns what was
 * typed into it, by a lock that the browser gives back when the page ends, however it ends; another page of
 * the same person then takes over what was left. Without locks (an insecure origin) every page takes all:
 * a command that two pages send carries one id and happens once.
 */

import { openDB, type DBSchema, type IDBPDatabase, type IDBPObjectStore } from 'idb';

import type { Command, CommandStore } from './commands.js';
import { newId } from './ids.js';

const VERSION = 1;
const RECORDS = 'commands';

interface Stored {
  command_id: string;
  owner: string;
  /** When it was first put: milliseconds since 1970, and how manieth of its page. */
  order: readonly [number, number];
  command: Command;
}

interface Schema extends DBSchema {
  commands: { key: string; value: Stored };
}

type Writable = IDBPObjectStore<Schema, ['commands'], 'commands', 'readwrite'>;

export interface DurableCommandsOptions {
  /** Whose commands these are. */
  userId: string;
  /** Which server or place on it: an origin, or the path of a mounted application. */
  place?: string;
}

export class DurableCommands implements CommandStore {
  readonly userId: string;
  readonly #name: string;
  readonly #owner = newId();
  readonly #locks = locks();
  readonly #channel: BroadcastChannel | null;
  readonly #closing = new AbortController();
  readonly #watched = new Set<string>();
  readonly #orders = new Map<string, Stored['order']>();
  #left: () => void = () => undefined;
  #database: Promise<IDBPDatabase<Schema>> | undefined;
  #owning: Promise<void> | undefined;

  constructor({ userId, place = '/' }: DurableCommandsOptions) {
    this.userId = userId;
    this.#name = `parlour.commands@${place}:${userId}`;
    this.#channel = this.#locks && typeof BroadcastChannel === 'function' ? this.#listen() : null;
  }

  /** This page's commands and those that pages left behind which are no more, in the order of `put`. */
  async load(): Promise<Command[]> {
    await this.#own();
    // One page at a time: two must not both find the same owner gone.
    const records = this.#locks
      ? await this.#locks.request(`${this.#name}:adopt`, () => this.#adopt())
      : await (await this.#open()).getAll(RECORDS);
    records.sort((a, b) => a.order[0] - b.order[0] || a.order[1] - b.order[1]);
    for (const { command_id, order } of records) this.#orders.set(command_id, order);
    return records.map(({ command }) => command);
  }

  async put(command: Command): Promise<void> {
    const { command_id } = command;
    const order = this.#orders.get(command_id) ?? [Date.now(), this.#orders.size];
    this.#orders.set(command_id, order);
    await this.#own();
    await this.#write((store) => store.put({ command_id, owner: this.#owner, order, command }));
    this.#channel?.postMessage(this.#owner);
  }

  async remove(commandId: string): Promise<void> {
    await this.#write((store) => store.delete(commandId));
  }

  /** Forget everything, of all pages: the person leaves this browser. */
  async clear(): Promise<void> {
    await this.#write((store) => store.clear());
  }

  /** Hear that a page ended and left commands behind; `load` gives them. */
  watch(left: () => void): () => void {
    this.#left = left;
    return () => {
      if (this.#left === left) this.#left = () => undefined;
    };
  }

  /** Let go: other pages may take over. What is stored stays. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#channel?.close();
    const database = await this.#database?.catch(() => null);
    database?.close();
    this.#database = undefined;
  }

  #open(): Promise<IDBPDatabase<Schema>> {
    this.#database ??= openDB<Schema>(this.#name, VERSION, {
      upgrade: (database) => {
        database.createObjectStore(RECORDS, { keyPath: 'command_id' });
      },
      // A newer page wants to change the database: it must not wait for this one.
      blocking: () => void this.#database?.then((database) => database.close()),
    });
    return this.#database;
  }

  /** One request, committed in the same breath: a page that ends right afterwards has written it. */
  async #write(request: (store: Writable) => Promise<unknown>): Promise<void> {
    const transaction = (await this.#open()).transaction(RECORDS, 'readwrite');
    const asked = request(transaction.store);
    transaction.commit();
    await Promise.all([asked, transaction.done]);
  }

  /** Hold this page's own lock until it ends. */
  #own(): Promise<void> {
    const manager = this.#locks;
    if (!manager) return Promise.resolve();
    this.#owning ??= new Promise((owned, failed) => {
      manager
        .request(this.#lockOf(this.#owner), () => {
          owned();
          return new Promise<void>((release) => {
            this.#closing.signal.addEventListener('abort', () => release(), { once: true });
          });
        })
        .catch(failed);
    });
    return this.#owning;
  }

  async #adopt(): Promise<Stored[]> {
    const alive = await this.#alive();
    const transaction = (await this.#open()).transaction(RECORDS, 'readwrite');
    const mine: Stored[] = [];
    const others = new Set<string>();
    for await (const cursor of transaction.store) {
      const record = cursor.value;
      if (record.owner !== this.#owner && alive.has(record.owner)) {
        others.add(record.owner);
        continue;
      }
      mine.push(record);
      if (record.owner !== this.#owner) await cursor.update({ ...record, owner: this.#owner });
    }
    await transaction.done;
    others.forEach((owner) => this.#watch(owner));
    return mine;
  }

  async #alive(): Promise<Set<string>> {
    const { held = [] } = await this.#locks!.query();
    const prefix = this.#lockOf('');
    // Whoever waits for an owner's end holds its lock for a moment, shared.
    const own = held.filter(({ name, mode }) => mode === 'exclusive' && name?.startsWith(prefix));
    return new Set(own.map(({ name }) => name!.slice(prefix.length)));
  }

  #listen(): BroadcastChannel {
    const channel = new BroadcastChannel(this.#name);
    channel.onmessage = ({ data }) => this.#watch(String(data));
    return channel;
  }

  /** Hear of the end of another page: its lock is free then. */
  #watch(owner: string): void {
    if (owner === this.#owner || this.#watched.has(owner)) return;
    this.#watched.add(owner);
    const options = { mode: 'shared', signal: this.#closing.signal } as const;
    this.#locks
      ?.request(this.#lockOf(owner), options, () => undefined)
      .then(
        () => this.#left(),
        // This page ended first.
        () => undefined,
      )
      .finally(() => this.#watched.delete(owner));
  }

  #lockOf(owner: string): string {
    return `${this.#name}:owner:${owner}`;
  }
}

function locks(): LockManager | null {
  return typeof navigator !== 'undefined' && 'locks' in navigator ? navigator.locks : null;
}
