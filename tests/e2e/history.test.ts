import { afterAll, beforeAll, expect, test } from 'vitest';

import { Visitors } from './browser';
import type { ChatPage } from './pages/chat';
import { AppServer, PASSWORD } from './server';

let server: AppServer;
let visitors: Visitors;
let chat: ChatPage;
const SPOKEN = Array.from({ length: 8 }, (_, index) => `count to ${index + 11}`);

beforeAll(async () => {
  server = await AppServer.demo({ MAX_MESSAGES_PER_SESSION: '4' });
  visitors = await Visitors.open(server);
  // Low enough to scroll with four messages.
  chat = await visitors.person('archivist', PASSWORD, { viewport: { width: 1280, height: 360 } });
  for (const text of SPOKEN) await chat.converse(text);
});
afterAll(async () => {
  await visitors?.close();
  await server?.stop();
});

const spoken = () =>
  chat.page.locator('[data-testid="message"][data-role="user"]').locator('p').allTextContents();

test('messages do not vanish above the reader while the conversation goes on', async () => {
  expect(await spoken()).toEqual(SPOKEN);
});

test('what has left the window comes back when the reader scrolls up, in order and in place', async () => {
  await chat.page.reload();
  await chat.lastAnswer.waitFor();
  const windowed = await spoken();
  const first = chat.spoken(windowed[0]!);
  const list = chat.page.getByTestId('messages');
  const scrolled = await list.evaluate((node) => node.scrollTop);
  const top = (await first.boundingBox())!.y + scrolled;

  await list.evaluate((node) => node.scrollTo(0, 0));
  await chat.spoken(SPOKEN[0]!).waitFor();

  expect(windowed).toEqual(SPOKEN.slice(-2));
  expect(await spoken()).toEqual(SPOKEN);
  expect(scrolled).toBeGreaterThan(0);
  expect(Math.abs((await first.boundingBox())!.y - top)).toBeLessThan(3);
});
