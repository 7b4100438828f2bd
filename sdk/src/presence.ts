/**
 * Who is there, and who is writing: signals that no stream stores.
 *
 * A room's people come as a whole list when its stream is joined and as differences afterwards. Nothing is
 * known while there is no connection: what was heard before is forgotten rather than shown as true.
 */

import type { Connection } from './connection.js';
import { isRecord } from './errors.js';
import type { Person } from './protocol.js';
import { readEvent } from './streams.js';
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

const CHANNEL = 'channel:';

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
        if (phase === 'offline' || phase === 'refused') this.#forgetAll();
      }),
      connection.on('access:updated', (payload) => {
        const { room, reason } = isRecord(payload) ? payload : {};
        // Whoever may not look in learns nothing more, and keeps nothing.
        if (reason !== 'permission' && reason !== 'granted') this.forget(String(room));
      }),
    ];
  }

  /** Who is in a room that is followed, such as `channel:{id}` or `thread:{id}`. */
  room(name: string): Readable<People> {
    return this.#room(name);
  }

  /** The room was left: who comes and goes is not heard any more. */
  forget(name: string): void {
    const room = this.#rooms.get(name);
    if (room && room.get().size > 0) room.set(NOBODY);
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

  #forgetAll(): void {
    for (const name of this.#rooms.keys()) this.forget(name);
  }
}

/** Who is writing in a room (`channel:{id}`, `thread:{id}`), and telling the others that oneself is. */
export class Typing {
  /** Said again at most this often while somebody goes on writing. */
  static readonly EVERY_MS = 2_500;

  readonly #connection: Connection;
  readonly #room: string;
  readonly #userId: string;
  readonly #people = new Store<readonly Person[]>([]);
  readonly #timers = new Map<string, ReturnType<typeof setTimeout>>();
  readonly #stops: (() => void)[];
  #told = 0;

  constructor(connection: Connection, room: string, userId: string) {
    this.#connection = connection;
    this.#room = room;
    this.#userId = userId;
    this.#stops = [
      ...(this.#channelId === null
        ? [
            connection.on('typing', (payload) => this.#hear(payload)),
            connection.on('events', (payload) => this.#hearThread(payload)),
          ]
        : [connection.on('events:channel', (payload) => this.#hearChannel(payload))]),
      connection.on('access:updated', (payload) => {
        const { room: changed, reason } = isRecord(payload) ? payload : {};
        if (changed === room && reason !== 'permission') this.#forget();
      }),
    ];
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
    const [event, payload] = this.#word(typing);
    this.#connection.request(event, payload).catch(() => undefined);
  }

  close(): void {
    this.say(false);
    for (const stop of this.#stops) stop();
    this.#forget();
  }

  get #channelId(): string | null {
    return this.#room.startsWith(CHANNEL) ? this.#room.slice(CHANNEL.length) : null;
  }

  #word(typing: boolean): [string, Record<string, unknown>] {
    const channelId = this.#channelId;
    if (channelId === null) return ['typing', { room: this.#room, typing }];
    const data = { type: 'typing', data: { typing } };
    return ['events:channel', { channel_id: channelId, data }];
  }

  #hear(payload: unknown): void {
    if (!isRecord(payload) || payload['room'] !== this.#room) return;
    const person = personOf(payload['user']);
    if (person) this.#set(person, payload['typing'] === true);
  }

  /** What somebody was writing has been sent. */
  #hearThread(payload: unknown): void {
    const event = readEvent(payload);
    if (event?.stream !== this.#room || event.type !== 'message') return;
    const person = personOf(event.data['author']);
    if (person) this.#set(person, false);
  }

  #hearChannel(payload: unknown): void {
    if (!isRecord(payload) || payload['channel_id'] !== this.#channelId) return;
    const { user, data } = payload;
    const person = personOf(user);
    if (!person || !isRecord(data)) return;
    if (data['type'] === 'message') this.#set(person, false);
    if (data['type'] !== 'typing') return;
    this.#set(person, isRecord(data['data']) && data['data']['typing'] === true);
  }

  #set(person: Person, typing: boolean): void {
    // Another tab of the same person is not somebody else.
    if (person.id === this.#userId) return;
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

  #forget(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    if (this.#people.get().length > 0) this.#people.set([]);
  }
}

function personOf(value: unknown): Person | null {
  if (!isRecord(value) || typeof value['id'] !== 'string') return null;
  return { id: value['id'], name: String(value['name'] ?? '') };
}
