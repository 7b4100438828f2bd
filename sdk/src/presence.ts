/**
 * Who is there, and who is writing: signals that no stream stores.
 *
 * A room's people come as a whole list when its stream is joined and as differences afterwards. Nothing is
 * known while there is no connection: what was heard before is forgotten rather than shown as true.
 */

import type { Connection } from './connection.js';
import { isRecord } from './errors.js';
import type { Person } from './protocol.js';
import { Store, type Readable } from './store.js';

export type PresenceStatus = 'online' | 'away' | 'offline';

export interface Present extends Person {
  status: PresenceStatus;
}

/** People by id; whoever is not in it is offline. */
export type People = ReadonlyMap<string, Present>;

/** The server says that somebody stopped after six seconds of silence; a lost word must not leave a person
 * writing for ever. */
const TYPING_MS = 9_000;

const NOBODY: People = new Map();

/** Apply one `presence` payload. */
export function foldPresence(people: People, payload: Record<string, unknown>): People {
  const after = new Map(payload['full'] === true ? [] : people);
  for (const one of [...listOf(payload['joined']), ...listOf(payload['changed'])]) {
    after.set(one.id, one);
  }
  for (const one of listOf(payload['left'])) after.delete(one.id);
  return after;
}

function listOf(value: unknown): Present[] {
  if (!Array.isArray(value)) return [];
  return value.filter(
    (one): one is Present => isRecord(one) && typeof one['id'] === 'string' && 'status' in one,
  );
}

/** The people of every room that this connection hears of. */
export class Presence {
  readonly #rooms = new Map<string, Store<People>>();
  readonly #stops: (() => void)[];

  constructor(connection: Connection) {
    this.#stops = [
      connection.on('presence', (payload) => this.#hear(payload)),
      connection.state.subscribe(({ phase }) => {
        if (phase === 'offline' || phase === 'refused') this.#forget();
      }),
    ];
  }

  /** Who is in a room, such as `channel:{id}`. */
  room(name: string): Readable<People> {
    return this.#room(name);
  }

  close(): void {
    for (const stop of this.#stops) stop();
  }

  #room(name: string): Store<People> {
    let room = this.#rooms.get(name);
    if (!room) this.#rooms.set(name, (room = new Store(NOBODY)));
    return room;
  }

  #hear(payload: unknown): void {
    if (!isRecord(payload) || typeof payload['room'] !== 'string') return;
    this.#room(payload['room']).update((people) => foldPresence(people, payload));
  }

  #forget(): void {
    for (const room of this.#rooms.values()) room.set(NOBODY);
  }
}

/** Who is writing in one channel, and telling the others that oneself is. */
export class Typing {
  /** Said again at most this often while somebody goes on writing. */
  static readonly EVERY_MS = 2_500;

  readonly #connection: Connection;
  readonly #channelId: string;
  readonly #userId: string;
  readonly #people = new Store<readonly Person[]>([]);
  readonly #timers = new Map<string, ReturnType<typeof setTimeout>>();
  readonly #stop: () => void;
  #told = 0;

  constructor(connection: Connection, channelId: string, userId: string) {
    this.#connection = connection;
    this.#channelId = channelId;
    this.#userId = userId;
    this.#stop = connection.on('events:channel', (payload) => this.#hear(payload));
  }

  /** The others who are writing, in the order in which they began. */
  get people(): Readable<readonly Person[]> {
    return this.#people;
  }

  /** This person is writing, or (false) has stopped. Loss does not matter: it is said again. */
  say(typing: boolean): void {
    const now = Date.now();
    if (typing ? now - this.#told < Typing.EVERY_MS : this.#told === 0) return;
    this.#told = typing ? now : 0;
    if (!this.#connection.connected) return;
    const data = { type: 'typing', data: { typing } };
    this.#connection
      .request('events:channel', { channel_id: this.#channelId, data })
      .catch(() => undefined);
  }

  close(): void {
    this.say(false);
    this.#stop();
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  #hear(payload: unknown): void {
    if (!isRecord(payload) || payload['channel_id'] !== this.#channelId) return;
    const { user, data } = payload;
    if (!isRecord(user) || !isRecord(data) || typeof user['id'] !== 'string') return;
    const person = { id: user['id'], name: String(user['name'] ?? '') };
    // What somebody was writing has been sent.
    if (data['type'] === 'message') this.#set(person, false);
    if (data['type'] !== 'typing' || person.id === this.#userId) return;
    this.#set(person, isRecord(data['data']) && data['data']['typing'] === true);
  }

  #set(person: Person, typing: boolean): void {
    clearTimeout(this.#timers.get(person.id));
    this.#timers.delete(person.id);
    const known = this.#people.get();
    const present = known.some((one) => one.id === person.id);
    if (typing) {
      const end = setTimeout(() => this.#set(person, false), TYPING_MS);
      this.#timers.set(person.id, end);
    }
    if (typing && !present) this.#people.set([...known, person]);
    if (!typing && present) this.#people.set(known.filter((one) => one.id !== person.id));
  }
}
