/** What is typed while there is no connection: kept over the page's end, sent once, seen by nobody else. */

import type { BrowserContext } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { accessFaults } from './accessibility';
import { Visitors } from './browser';
import { ChatPage } from './pages/chat';
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

/** Pages of the context can be loaded, but get no socket, until the returned function is called. */
async function withoutSockets(context: BrowserContext): Promise<() => Promise<void>> {
  let away = true;
  await context.routeWebSocket(/\/ws\//, (socket) => {
    if (away) void socket.close();
    else socket.connectToServer();
  });
  await context.route(/\/ws\//, (route) => (away ? route.abort() : route.continue()));
  return async () => {
    away = false;
    await context.unroute(/\/ws\//);
  };
}

async function write(page: ChatPage, text: string): Promise<void> {
  await page.composer.fill(text);
  await page.composer.press('Enter');
  await page.pending.filter({ hasText: text }).waitFor();
}

/** What the person has said, without the times. */
async function spoken(page: ChatPage): Promise<string[]> {
  const said = page.page.locator('[data-testid="message"][data-role="user"]');
  return (await said.allInnerTexts()).map((text) => text.split('\n')[0]!);
}

test('what is typed offline is pending over a reload, and sent once, in order', async () => {
  await chat.converse('count to 2');
  const back = await withoutSockets(chat.page.context());
  await chat.page.reload();
  for (const text of ['count to 3', 'count to 4', 'count to 5']) await write(chat, text);

  await chat.page.reload();
  await chat.pending.nth(2).waitFor();
  const pending = await chat.pending.allInnerTexts();
  await back();
  await chat.page.evaluate(() => dispatchEvent(new Event('online')));
  await chat.answers.nth(3).waitFor();
  await chat.settled();
  const shown = await spoken(chat);
  await chat.page.reload();
  await chat.answers.nth(3).waitFor();

  const said = ['count to 3', 'count to 4', 'count to 5'];
  expect(pending.map((text) => text.split('\n')[0])).toEqual(said);
  expect(shown).toEqual(['count to 2', ...said]);
  expect(await spoken(chat)).toEqual(shown);
  expect(await chat.pending.count()).toBe(0);
});

test('what waits in two conversations is listed in one place: one is given up, the other sent', async () => {
  await chat.newChat();
  await chat.converse('count to 2');
  const path = new URL(chat.page.url()).pathname;
  const back = await withoutSockets(chat.page.context());
  await chat.page.reload();
  await write(chat, 'not meant like this');
  await chat.page.getByTestId('new-chat').click();
  await chat.pending.waitFor({ state: 'detached' });
  await write(chat, 'count to 6');

  await chat.page.getByTestId('open-unsent').click();
  const list = chat.page.getByTestId('unsent-command');
  await list.nth(1).waitFor();
  const waiting = await list.allInnerTexts();
  const faults = await accessFaults(chat.page);
  await list.first().getByTestId('discard').click();
  await list.nth(1).waitFor({ state: 'detached' });
  await chat.page.keyboard.press('Escape');
  await back();
  await chat.page.evaluate(() => dispatchEvent(new Event('online')));
  await chat.lastAnswer.waitFor();
  await chat.settled();
  const sent = await spoken(chat);
  await chat.page.goto(`.${path}`);
  await chat.lastAnswer.waitFor();

  expect(waiting.map((text) => text.split('\n')[0])).toEqual(['not meant like this', 'count to 6']);
  expect(faults).toEqual([]);
  expect(sent).toEqual(['count to 6']);
  expect(await spoken(chat)).toEqual(['count to 2']);
});

test('a tab that was closed offline leaves its messages to the next one', async () => {
  await chat.newChat();
  await chat.converse('count to 2');
  const path = new URL(chat.page.url()).pathname;
  const keeper = await visitors.tab(chat);
  await server.kill();
  await write(chat, 'count to 7');
  await chat.page.close();

  await server.begin();
  chat = await visitors.tab(keeper, `.${path}`);
  await chat.spoken('count to 7').waitFor();
  await chat.settled();

  expect(await spoken(chat)).toEqual(['count to 2', 'count to 7']);
});

test('another person on the same browser neither sees nor sends it', async () => {
  await chat.newChat();
  await chat.converse('count to 2');
  const path = new URL(chat.page.url()).pathname;
  const context = chat.page.context();
  await server.kill();
  await write(chat, 'a secret of the traveller');
  await chat.page.close();
  await server.begin();
  // What ends without a sign-out: the token expired, or the browser forgot its cookies.
  await context.clearCookies();

  const stranger = { name: 'stranger', password: PASSWORD };
  const signUp = await context.request.post('api/auth/sign-up', { data: stranger });
  const page = await context.newPage();
  await page.goto('./');
  const theirs = new ChatPage(page);
  await theirs.converse('count to 3');
  const seen = await page.locator('body').innerText();
  await context.request.post('api/auth/sign-in', {
    data: { login: 'traveller', password: PASSWORD },
  });
  await page.goto(`.${path}`);
  await new ChatPage(page).spoken('a secret of the traveller').waitFor();

  expect(signUp.ok()).toBe(true);
  expect(seen).not.toContain('secret');
  // It waited for its own person.
  expect(await spoken(new ChatPage(page))).toEqual(['count to 2', 'a secret of the traveller']);
});

test('a tab whose browser is somebody else’s by now sends nothing in their name', async () => {
  const context = chat.page.context();
  const traveller = { login: 'traveller', password: PASSWORD };
  await context.request.post('api/auth/sign-in', { data: traveller });
  const tab = new ChatPage(await context.newPage());
  await tab.page.goto('./');
  await tab.newChat();
  const back = await withoutSockets(context);
  await tab.page.reload();
  await write(tab, 'not for the guest');

  const guest = { name: 'guest', password: PASSWORD };
  await context.request.post('api/auth/sign-up', { data: guest });
  await back();
  await tab.page.evaluate(() => dispatchEvent(new Event('online')));
  await tab.page.getByTestId('user-menu').filter({ hasText: 'guest' }).waitFor();
  // The address is of a conversation that is not theirs.
  await tab.newChat();
  await tab.converse('count to 4');
  const page = await tab.page.locator('body').innerText();
  const threads = await (await context.request.get('api/threads')).text();

  expect(page).not.toContain('not for the guest');
  expect(threads).not.toContain('not for the guest');
});
