/** A fault proxy between page and server, a browser that freezes pages, and deployments: afterwards the
 * screen says what a fresh load says. One server, one browser, one proxy. */

import type { BrowserContext } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';

import { freeze, plainBrowser, wake } from './browser';
import { ChatPage } from './pages/chat';
import { FaultProxy } from './proxy';
import { AppServer, PASSWORD } from './server';

let server: AppServer;
let proxy: FaultProxy;
let context: BrowserContext;
let close: () => Promise<void>;
let chat: ChatPage;

beforeAll(async () => {
  server = await AppServer.demo({
    PARLOUR_DEMO_TOKENS_PER_SECOND: '150',
    PARLOUR_DEPLOYMENT_ID: 'first',
  });
  proxy = await FaultProxy.before(server.port);
  ({ context, close } = await plainBrowser());
  const person = { name: 'unlucky', password: PASSWORD };
  await context.request.post(`${proxy.url}api/auth/sign-up`, { data: person });
  // Pages of a new deployment reload within ten seconds: here, at once.
  await context.addInitScript(() => (Math.random = () => 0.001));
  chat = await open('');
});
afterAll(async () => {
  await close?.();
  await proxy?.stop();
  await server?.stop();
});
beforeEach(async () => {
  await chat.newChat();
});

async function open(path: string): Promise<ChatPage> {
  const page = await context.newPage();
  await page.goto(proxy.url + path);
  await page.getByTestId('composer').waitFor();
  return new ChatPage(page);
}

const numbers = (count: number): string =>
  Array.from({ length: count }, (_, index) => index + 1).join(' ');

/** Who says what on the screen, without what time adds to it. */
function screen({ messages }: ChatPage): Promise<[string | null, string][]> {
  return messages.evaluateAll((found) =>
    found.map((one): [string | null, string] => {
      const text =
        one.querySelector('.prose')?.textContent ?? one.querySelector('p, div')?.textContent;
      return [one.getAttribute('data-role'), (text ?? '').replace(/\s+/g, ' ').trim()];
    }),
  );
}

/** What a page shows that knows nothing yet. */
async function fresh(): Promise<[string | null, string][]> {
  const other = await open(new URL(chat.page.url()).pathname.slice(1));
  await other.lastAnswer.waitFor();
  await other.settled();
  const shown = await screen(other);
  await other.page.close();
  await chat.page.bringToFront();
  return shown;
}

/** The page is connected, and the whole answer is there. */
async function answered(count: number): Promise<void> {
  await chat.banner.waitFor({ state: 'detached' });
  await expect.poll(() => chat.answerText(), { timeout: 60_000 }).toBe(numbers(count));
  await chat.settled();
}

test('cut connections', async () => {
  await chat.say('count to 400');
  await chat.lastAnswer.waitFor();

  for (let round = 0; round < 3; round += 1) {
    await proxy.away();
    await chat.banner.waitFor();
    await proxy.back();
    await chat.banner.waitFor({ state: 'detached' });
  }
  await answered(400);

  expect(await screen(chat)).toEqual(await fresh());
});

test('a connection that is only half open, noticed when the person comes back', async () => {
  const other = await open('');
  await chat.page.bringToFront();
  await chat.say('count to 300');
  await chat.lastAnswer.waitFor();

  await other.page.bringToFront();
  await proxy.freeze();
  await chat.page.bringToFront();
  await answered(300);
  await other.page.close();
  const shown = await screen(chat);
  // The browser would ask for the fresh page on a kept connection that is half open as well.
  await proxy.cut();

  expect(shown).toEqual(await fresh());
});

test('a network that loses one packet in twenty', async () => {
  await proxy.lose(0.05);
  await chat.say('count to 300');
  await answered(300);
  await proxy.lose(0);

  expect(await screen(chat)).toEqual(await fresh());
});

test('a server that restarts', async () => {
  await chat.say('count to 100');
  await chat.lastAnswer.waitFor();

  await server.restart();
  await answered(100);

  expect(await screen(chat)).toEqual(await fresh());
});

test('a laptop that sleeps while the answer goes on and the network changes', async () => {
  await chat.say('count to 300');
  await chat.lastAnswer.waitFor();

  await freeze(chat.page);
  await proxy.cut();
  const other = await open(new URL(chat.page.url()).pathname.slice(1));
  await other.settled();
  await other.page.close();
  await wake(chat.page);
  await answered(300);

  expect(await screen(chat)).toEqual(await fresh());
});

test('a deployment while somebody types: the page reloads once, and keeps what was typed', async () => {
  await chat.converse('count to 3');
  let loads = 0;
  chat.page.on('domcontentloaded', () => (loads += 1));
  await chat.composer.pressSequentially('before ');

  let deploying = true;
  const deployed = server.restart({ PARLOUR_DEPLOYMENT_ID: 'second' });
  const back = deployed.then(() => chat.banner.waitFor({ state: 'detached' }));
  void back.finally(() => (deploying = false));
  while (deploying) await chat.composer.press('m', { delay: 100 });
  await back;
  await chat.page.getByTestId('outdated').waitFor();
  await chat.composer.pressSequentially(' afterwards', { delay: 100 });
  const typed = await chat.composer.inputValue();
  const meanwhile = loads;
  await expect.poll(() => loads, { timeout: 60_000 }).toBe(1);
  await chat.composer.waitFor();
  const kept = await chat.composer.inputValue();
  // Another connection to the same deployment is no reason to load again.
  await proxy.away();
  await chat.banner.waitFor();
  await proxy.back();
  await chat.banner.waitFor({ state: 'detached' });

  expect(meanwhile).toBe(0);
  expect(typed).toMatch(/^before m+ afterwards$/);
  expect(kept).toBe(typed);
  expect(loads).toBe(1);
  expect(await screen(chat)).toEqual(await fresh());
});
