import { afterAll, beforeAll, expect, test } from 'vitest';

import { Visitors } from './browser';
import type { ChatPage } from './pages/chat';
import { AppServer, PASSWORD } from './server';

let server: AppServer;
let visitors: Visitors;
let chat: ChatPage;

beforeAll(async () => {
  server = await AppServer.demo();
  visitors = await Visitors.open(server);
  chat = await visitors.person('traveller', PASSWORD);
});
afterAll(async () => {
  await visitors?.close();
  await server?.stop();
});

test('a server that dies in mid-answer is told, and what was written stays', async () => {
  await chat.say('count to 1000');
  await chat.lastAnswer.waitFor();

  await server.kill();
  await chat.banner.waitFor();
  const shown = await chat.answerText();
  await server.begin();
  await chat.banner.waitFor({ state: 'detached' });
  await chat.settled();
  const kept = await chat.answerText();
  const outcome = await chat.outcome.getAttribute('data-outcome');
  const next = await chat.converse('count to 3');

  const numbers = Array.from({ length: 1000 }, (_, index) => index + 1).join(' ');
  expect(shown.length).toBeGreaterThan(0);
  expect(kept.startsWith(shown)).toBe(true);
  // Nothing is missing in between, and nothing is there twice.
  expect(numbers.startsWith(kept)).toBe(true);
  expect(outcome).toBe('interrupted');
  expect(next).toBe('1 2 3');
  expect(await chat.messages.count()).toBe(4);
});

test('what is written while the server is away is sent once when it is back', async () => {
  await server.kill();
  await chat.banner.waitFor();

  await chat.composer.fill('count to 12');
  await chat.composer.press('Enter');
  await chat.pending.waitFor();
  await server.begin();
  await chat.spoken('count to 12').waitFor();
  await chat.settled();

  expect(await chat.page.getByText('count to 12', { exact: true }).count()).toBe(1);
  expect(await chat.answerText()).toBe('1 2 3 4 5 6 7 8 9 10 11 12');
});

test('a network that comes and goes loses no token and doubles none', async () => {
  await chat.newChat();
  const numbers = Array.from({ length: 600 }, (_, index) => index + 1).join(' ');
  await chat.say('count to 600');
  await chat.lastAnswer.waitFor();

  for (let round = 0; round < 2; round += 1) {
    await chat.page.context().setOffline(true);
    await chat.banner.waitFor();
    await chat.page.context().setOffline(false);
    await chat.banner.waitFor({ state: 'detached' });
  }
  await chat.settled();

  expect(await chat.answerText()).toBe(numbers);
});

test('a deploy in mid-answer costs nothing', async () => {
  await chat.newChat();
  await chat.say('count to 90');
  await chat.lastAnswer.waitFor();

  await server.restart();
  await chat.banner.waitFor({ state: 'detached' });
  await chat.settled();
  const before = await chat.answerText();
  const after = await chat.converse('count to 12');

  expect(before).toBe(Array.from({ length: 90 }, (_, index) => index + 1).join(' '));
  expect(after).toBe('1 2 3 4 5 6 7 8 9 10 11 12');
});

test('a new deployment is told to whoever would lose by a reload, and loaded on request', async () => {
  const line = chat.page.getByTestId('outdated');
  await chat.search.fill('half a word');

  await server.restart({ PARLOUR_DEPLOYMENT_ID: 'second' });
  await line.waitFor();
  await chat.page.getByTestId('reload').click();
  await line.waitFor({ state: 'detached' });
  await chat.composer.waitFor();

  const told = chat.page.locator('meta[name="parlour-version"]');
  expect(await told.getAttribute('data-deployment')).toBe('second');
});

test('what was typed and not sent is still there after a reload', async () => {
  await chat.composer.fill('half a thought');
  await chat.page.reload();
  await chat.composer.waitFor();

  expect(await chat.composer.inputValue()).toBe('half a thought');
});
