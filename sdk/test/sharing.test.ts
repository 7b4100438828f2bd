/** A conversation that somebody else owns: what may be done in it, who is there, and the moment it ends. */

import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import {
  Api,
  Chats,
  connect,
  Conversation,
  foldSharedChats,
  Presence,
  Typing,
  UserStream,
  type Connection,
  type Message,
  type Paged,
  type ThreadRow,
} from '../src/index.js';
import { StreamServer, wireEvent } from './server.js';
import { when } from './stores.js';

const STREAM = 'thread:thread-1';
const ANN = { id: 'ann', name: 'Ann' };
const BOB = { id: 'bob', name: 'Bob' };
const refusal = {
  ok: false,
  error: { code: 'forbidden', message: 'Not you.', retryable: false },
};

let server: StreamServer;
let connection: Connection;
const ends: (() => void)[] = [];

beforeEach(async () => {
  server = await StreamServer.start();
  connection = connect({ url: server.url, transports: ['websocket'] });
});
afterEach(async () => {
  for (const end of ends.splice(0)) end();
  connection.close();
  await server.stop();
});

const message = (id: string, offset: number, content: string): Message => ({
  ...{ id, role: 'assistant', author: null, content, created_at: offset, offset },
});
const snapshot = (text: string, permission: string) => ({
  status: 'snapshot',
  snapshot: { messages: [message('m1', 1, text)], truncated: true },
  position: { epoch: 'e1', offset: 3 },
  permission,
});
const access = (reason: string, more: object = {}) =>
  server.emit('access:updated', { room: STREAM, reason, ...more });

function open(history?: () => Promise<Paged<Message>>): Conversation {
  const conversation = new Conversation(connection, 'thread-1', history ? { history } : {});
  ends.push(() => conversation.close());
  return conversation;
}

describe('what a guest may do', () => {
  test('is said with the first answer, and changes without another join', async () => {
    server.answer('subscribe', () => snapshot('hello', 'read'));
    const { view } = open();
    const first = await when(view, ({ phase }) => phase === 'open');

    access('permission', { permission: 'write' });
    await when(view, ({ permission }) => permission === 'write');

    expect(first.permission).toBe('read');
    expect(view.get().thread.messages.size).toBe(1);
    expect(server.of('subscribe')).toHaveLength(1);
  });
});

describe('access that ends', () => {
  test('takes everything with it before the server is asked again', async () => {
    server.answer('subscribe', () => snapshot('a secret', 'read'));
    const { view } = open();
    await when(view, ({ phase }) => phase === 'open');
    server.silent.add('subscribe');

    access('removed');
    const after = await when(view, ({ phase }) => phase === 'failed');

    expect(after.error?.code).toBe('forbidden');
    expect(after.permission).toBeNull();
    expect(JSON.stringify([...after.thread.messages, ...after.older])).toBe('[]');
  });

  test('is not undone by a page of history that was on its way', async () => {
    server.answer('subscribe', () => snapshot('new', 'read'));
    let give: (page: Paged<Message>) => void = () => undefined;
    const page = new Promise<Paged<Message>>((resolve) => (give = resolve));
    const conversation = open(() => page);
    await when(conversation.view, ({ phase }) => phase === 'open');
    const loading = conversation.loadOlder();
    server.answer('subscribe', () => refusal);

    access('removed');
    await when(conversation.view, ({ phase }) => phase === 'failed');
    give({ items: [message('m0', 0, 'an old secret')], next_cursor: null });
    await loading;

    expect(conversation.view.get().older).toEqual([]);
  });

  test('comes back by itself, with a snapshot', async () => {
    server.answer('subscribe', () => snapshot('before', 'write'));
    const { view } = open();
    await when(view, ({ phase }) => phase === 'open');
    server.answer('subscribe', () => refusal);
    access('removed');
    await server.until(() => server.of('subscribe').length === 2);
    await when(connection.state, ({ phase }) => phase === 'live');
    server.answer('subscribe', () => snapshot('after', 'read'));

    access('granted');
    const after = await when(view, ({ phase }) => phase === 'open');

    expect(after.thread.messages.get('m1')?.content).toBe('after');
    expect(after).toMatchObject({ permission: 'read', error: null });
    expect(server.of('subscribe').map(({ position }) => position)).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  test('is asked for again on the next connection', async () => {
    server.answer('subscribe', () => refusal);
    const { view } = open();
    await when(view, ({ phase }) => phase === 'failed');
    server.answer('subscribe', () => snapshot('now', 'read'));

    server.cut();
    await when(view, ({ phase }) => phase === 'open');

    expect(view.get().thread.messages.get('m1')?.content).toBe('now');
  });

  test('by deletion is not asked for again', async () => {
    server.answer('subscribe', () => snapshot('gone', 'read'));
    const { view } = open();
    await when(view, ({ phase }) => phase === 'open');

    access('deleted');
    const after = await when(view, ({ phase }) => phase === 'failed');
    await connection.request('heartbeat', {});

    expect(after.error?.code).toBe('not_found');
    expect(server.of('subscribe')).toHaveLength(1);
  });
});

describe('who is in a conversation', () => {
  function room(): Presence {
    const presence = new Presence(connection);
    ends.push(() => presence.close());
    return presence;
  }
  const present = (person: object) => ({ ...person, status: 'online' });

  test('is heard as differences, and forgotten when access ends', async () => {
    const people = room().room(STREAM);
    await when(connection.state, ({ phase }) => phase === 'live');
    server.emit('presence', { room: STREAM, full: true, joined: [present(ANN)] });
    server.emit('presence', { room: STREAM, joined: [present(BOB)], left: [present(ANN)] });
    const heard = await when(people, (now) => now.has('bob'));

    access('removed');
    await when(people, (now) => now.size === 0);

    expect([...heard.keys()]).toEqual(['bob']);
  });

  test('writes until what they wrote is there; another tab of oneself does not count', async () => {
    const typing = new Typing(connection, STREAM, 'ann');
    ends.push(() => typing.close());
    await when(connection.state, ({ phase }) => phase === 'live');
    server.emit('typing', { room: STREAM, user: ANN, typing: true });
    server.emit('typing', { room: 'thread:thread-2', user: BOB, typing: true });
    server.emit('typing', { room: STREAM, user: BOB, typing: true });
    const writing = await when(typing.people, (now) => now.length > 0);

    const said = { ...message('m2', 4, 'done'), author: BOB };
    server.emit('events', wireEvent(STREAM, 4, 'message', { ...said }));
    await when(typing.people, (now) => now.length === 0);

    expect(writing).toEqual([BOB]);
  });

  test('is told that oneself is writing, not at each key', async () => {
    const typing = new Typing(connection, STREAM, 'ann');
    ends.push(() => typing.close());
    await when(connection.state, ({ phase }) => phase === 'live');

    for (const on of [true, true, true, false, false]) typing.say(on);
    await server.until(() => server.of('typing').length === 2);

    expect(server.of('typing')).toEqual([
      { room: STREAM, typing: true },
      { room: STREAM, typing: false },
    ]);
  });
});

describe('the list of what others share', () => {
  const row = (id: string, updated_at: number, more: Partial<ThreadRow> = {}): ThreadRow => ({
    ...{ id, title: id, preview: '', tags: [], created_at: 0, updated_at },
    ...{ owner: ANN, permission: 'read', shared: true, ...more },
  });
  const ids = (rows: readonly ThreadRow[]): string[] => rows.map(({ id }) => id);
  const rows = [row('b', 2), row('a', 1)];

  test.each([
    ['thread:shared', { thread: row('c', 3), by: ANN, new: true }, ['c', 'b', 'a']],
    ['thread:shared:updated', { thread: row('a', 3) }, ['a', 'b']],
    ['thread:unshared', { id: 'b', by: ANN }, ['a']],
    ['thread:deleted', { id: 'a' }, ['b']],
    ['thread:updated', { thread: row('mine', 9) }, ['b', 'a']],
  ])('after %s', (type, data, expected) => {
    expect(ids(foldSharedChats(rows, { type, data }))).toEqual(expected);
  });

  test('leaves alone what a search may not have found', () => {
    const news = { type: 'thread:shared', data: { thread: row('c', 3) } };

    expect(foldSharedChats(rows, news, true)).toBe(rows);
  });

  test('follows the connection: a right that changes, access that ends and comes by a role', async () => {
    const pages = [[row('thread-1', 1), row('other', 0)], [row('by-role', 2)]];
    const asked: string[] = [];
    const http = await serve((url) => {
      asked.push(url);
      return { items: pages.shift() ?? [], next_cursor: null };
    });
    server.answer('subscribe', () => ({ status: 'live', events: [], position: null }));
    const stream = new UserStream(connection, 'bob');
    const chats = new Chats(new Api({ url: http.url }), stream, { shared: connection });
    ends.push(
      () => stream.close(),
      () => chats.close(),
      http.close,
    );
    await when(chats, ({ phase }) => phase === 'ready');

    access('permission', { permission: 'write' });
    const changed = await when(chats, (view) => view.rows[0]?.permission === 'write');
    access('removed');
    const ended = await when(chats, (view) => view.rows.length === 1);
    server.emit('access:updated', { room: 'thread:by-role', reason: 'granted' });
    const granted = await when(chats, (view) => view.rows[0]?.id === 'by-role');

    expect([changed, ended, granted].map((view) => ids(view.rows))).toEqual([
      ['thread-1', 'other'],
      ['other'],
      ['by-role'],
    ]);
    expect(asked.every((url) => url.includes('shared=true'))).toBe(true);
  });
});

describe('what is open to a role or to everybody', () => {
  const row = (id: string, permission: 'read' | 'write'): ThreadRow => ({
    ...{ id, title: id, preview: '', tags: [], created_at: 0, updated_at: 1 },
    ...{ owner: ANN, permission, shared: true },
  });

  async function list(pages: ThreadRow[][]) {
    let asked = 0;
    const http = await serve(() => ({ items: pages[asked++] ?? [], next_cursor: null }));
    server.answer('subscribe', () => ({ status: 'live', events: [], position: null }));
    const stream = new UserStream(connection, 'bob');
    const chats = new Chats(new Api({ url: http.url }), stream, { shared: connection });
    ends.push(
      () => stream.close(),
      () => chats.close(),
      http.close,
    );
    await when(chats, ({ phase }) => phase === 'ready');
    await when(connection.state, ({ phase }) => phase === 'live');
    return chats;
  }

  test('comes into the list, changes there and goes', async () => {
    const chats = await list([[]]);

    server.emit('thread:listed', { thread: row('open', 'read') });
    const came = await when(chats, ({ rows }) => rows.length === 1);
    server.emit('thread:listed', { thread: row('open', 'write') });
    const changed = await when(chats, ({ rows }) => rows[0]?.permission === 'write');
    server.emit('thread:unlisted', { id: 'open' });
    const gone = await when(chats, ({ rows }) => rows.length === 0);

    expect(came.rows[0]?.permission).toBe('read');
    expect(changed.rows).toHaveLength(1);
    expect(gone.phase).toBe('ready');
  });

  test('is read again after a connection was lost', async () => {
    const chats = await list([[], [row('missed', 'read')]]);

    server.cut();
    const view = await when(chats, ({ rows }) => rows.length === 1);

    expect(view.rows[0]?.id).toBe('missed');
  });
});

async function serve(answer: (url: string) => unknown) {
  const http: HttpServer = createServer((request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(answer(request.url!)));
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  return { url, close: () => void http.close() };
}
