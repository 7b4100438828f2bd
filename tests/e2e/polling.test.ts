import { afterAll, beforeAll, expect, test } from 'vitest';

import { Visitors } from './browser';
import { AppServer, PASSWORD } from './server';

let server: AppServer;
let visitors: Visitors;

beforeAll(async () => {
  server = await AppServer.demo({ ENABLE_WEBSOCKET_SUPPORT: 'false' });
  visitors = await Visitors.open(server);
});
afterAll(async () => {
  await visitors?.close();
  await server?.stop();
});

test('where WebSockets do not pass, the page works over long-polling', async () => {
  const chat = await visitors.person('poller', PASSWORD);
  const ways = new Set<string | null>();
  chat.page.on('request', (request) => {
    const url = new URL(request.url());
    if (url.pathname.startsWith('/ws/')) ways.add(url.searchParams.get('transport'));
  });

  const answer = await chat.converse('count to 30');

  expect(answer).toBe(Array.from({ length: 30 }, (_, index) => index + 1).join(' '));
  expect([...ways]).toEqual(['polling']);
});
