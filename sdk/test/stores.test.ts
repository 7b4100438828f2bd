/** All of a person's stores over a real socket and real HTTP, against a server that plays two people. */

import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { afterAll, beforeAll, expect, test } from 'vitest';

import { Api, connect, createStores, type Connection, type Stores } from '../src/index.js';
import { StreamServer, wireEvent } from './server.js';
import { when } from './stores.js';

const people = {
  ada: { id: 'ada', name: 'Ada', role: 'user' },
  bob: { id: 'bob', name: 'Bob', role: 'user' },
};
type Name = keyof typeof people;

let sockets: StreamServer;
let http: HttpServer;
const opened: { close(): void }[] = [];

const answers: Record<string, (who: string) => unknown> = {
  '/api/threads': (who) => ({ items: [chat(`${who}-chat`, 1)], next_cursor: null }),
  '/api/agents': (who) => ({ items: [{ id: `${who}-agent` }], next_cursor: null }),
  '/api/channels': () => ({ items: [] }),
  '/api/notes': (who) => ({ items: [{ id: `${who}-note` }], next_cursor: null }),
  '/api/app': () => ({ profiles: [{ name: 'Fast' }] }),
  '/api/usage': () => ({ models: [{ id: 'Fast', sessions: 2 }] }),
  '/api/users/me/settings': (who) => ({ settings: { of: who }, version: 1 }),
};

function chat(id: string, updated_at: number) {
  return { id, title: id, preview: '', tags: [], created_at: 0, updated_at };
}

beforeAll(async () => {
  sockets = await StreamServer.start();
  sockets.answer('subscribe', () => ({
    ...{ status: 'live', events: [], position: { epoch: 'e1', offset: 0 } },
  }));
  http = createServer((request, response) => {
    const path = new URL(request.url!, 'http://x').pathname;
    const who = request.headers.authorization!.replace('Bearer ', '');
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(answers[path]?.(who) ?? {}));
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  opened.forEach((one) => one.close());
  http.close();
  await sockets.stop();
});

function storesOf(name: Name): { stores: Stores; connection: Connection } {
  const connection = connect({ url: sockets.url, transports: ['websocket'], token: name });
  const api = new Api({
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    token: name,
  });
  const stores = createStores(connection, api, people[name]);
  opened.push(stores, connection);
  return { stores, connection };
}

test('each store is fed by snapshots and by what is heard, and only by its own person’s', async () => {
  const { stores: ada } = storesOf('ada');
  const { stores: bob } = storesOf('bob');
  for (const { socket, chats, settings, notes, models, agents } of [ada, bob]) {
    await when(socket, ({ phase }) => phase === 'live');
    await when(chats, ({ phase }) => phase === 'ready');
    await when(settings, (values) => 'of' in values);
    await when(notes, ({ phase }) => phase === 'ready');
    await when(agents, ({ phase }) => phase === 'ready');
    await when(models, ({ phase }) => phase === 'ready');
  }

  // Everybody's socket carries both: what is another's does not count.
  const news = { thread: chat('new', 2) };
  sockets.emit('events', wireEvent('user:ada', 1, 'thread:updated', news));
  const changed = { settings: { of: 'ada', theme: 'dark' }, version: 2 };
  sockets.emit('events', wireEvent('user:ada', 2, 'settings:changed', changed));
  await when(ada.settings, (values) => values['theme'] === 'dark');
  // Behind this one Bob has heard the others.
  const his = { settings: { of: 'bob', theme: 'light' }, version: 2 };
  sockets.emit('events', wireEvent('user:bob', 1, 'settings:changed', his));
  await when(bob.settings, (values) => values['theme'] === 'light');

  const seen = [ada, bob].map((stores) => ({
    user: stores.user.get().name,
    chats: stores.chats.get().rows.map(({ id }) => id),
    settings: stores.settings.get(),
    notes: stores.notes.get().items.map(({ id }) => id),
    agents: stores.agents.get().items.map(({ id }) => id),
    models: stores.models.get().items.map(({ id, sessions }) => [id, sessions]),
  }));
  expect(seen).toEqual([
    {
      ...{ user: 'Ada', chats: ['new', 'ada-chat'], settings: { of: 'ada', theme: 'dark' } },
      ...{ notes: ['ada-note'], agents: ['ada-agent'], models: [['Fast', 2]] },
    },
    {
      ...{ user: 'Bob', chats: ['bob-chat'], settings: { of: 'bob', theme: 'light' } },
      ...{ notes: ['bob-note'], agents: ['bob-agent'], models: [['Fast', 2]] },
    },
  ]);
});

test('closed stores hear nothing any more', async () => {
  const { stores, connection } = storesOf('ada');
  await when(stores.chats, ({ phase }) => phase === 'ready');
  stores.close();
  const before = stores.chats.get();

  sockets.emit('events', wireEvent('user:ada', 1, 'thread:deleted', { id: 'ada-chat' }));
  await connection.request('heartbeat', {}).catch(() => undefined);

  expect(stores.chats.get()).toBe(before);
});
