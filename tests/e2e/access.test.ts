/** Usable by keyboard, by screen readers and on small screens; readable in both themes. */

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { accessFaults as faults } from './accessibility';
import { PHONE, Visitors } from './browser';
import type { ChatPage } from './pages/chat';
import { AppServer, PASSWORD } from './server';

let server: AppServer;
let visitors: Visitors;
let chat: ChatPage;

beforeAll(async () => {
  server = await AppServer.demo();
  visitors = await Visitors.open(server);
  chat = await visitors.person('reader', PASSWORD);
  await chat.converse('code');
  await chat.converse('steps');
});
afterAll(async () => {
  await visitors?.close();
  await server?.stop();
});

describe.each(['light', 'dark'] as const)('in %s', (theme) => {
  test('the sign-in page has no fault', async () => {
    const signIn = await visitors.stranger({ colorScheme: theme });
    await signIn.signIn('demo', 'wrong password');
    await signIn.problem.waitFor();

    expect(await faults(signIn.page)).toEqual([]);
  });

  test('a conversation has no fault', async () => {
    await chat.chooseTheme(theme);

    expect(await faults(chat.page)).toEqual([]);
  });

  test('an open question has no fault', async () => {
    await chat.say('choose');
    await chat.ask.waitFor();

    expect(await faults(chat.page)).toEqual([]);
    await chat.stop.click();
    await chat.ask.waitFor({ state: 'detached' });
  });

  test('the settings and the menu have no fault', async () => {
    await chat.page.getByTestId('chat-settings').click();
    await chat.page.getByRole('dialog').waitFor();
    const dialog = await faults(chat.page);
    await chat.page.keyboard.press('Escape');
    await chat.page.getByTestId('user-menu').click();
    await chat.page.getByRole('menu').waitFor();
    const menu = await faults(chat.page);
    await chat.page.keyboard.press('Escape');

    expect([...dialog, ...menu]).toEqual([]);
  });
});

test('the theme that was chosen stays after a reload', async () => {
  await chat.chooseTheme('dark');
  await chat.page.reload();
  await chat.lastAnswer.waitFor();

  expect(await chat.page.locator('html').getAttribute('class')).toBe('dark');
});

test('signing in, talking and stopping need no mouse', async () => {
  const { page } = await visitors.stranger();
  await page.keyboard.type('demo');
  await page.keyboard.press('Tab');
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press('Enter');
  await page.locator('[data-testid="composer"]:focus').waitFor();

  await page.keyboard.type('long 2000');
  await page.keyboard.press('Enter');
  await page.getByTestId('stop').waitFor();
  await page.keyboard.press('Escape');
  const outcome = page.getByTestId('run-outcome');
  await outcome.waitFor();

  expect(await outcome.getAttribute('data-outcome')).toBe('stopped');
});

test('Escape stops an answer wherever the focus is, but closes first what is open above it', async () => {
  const { page } = chat;
  await chat.say('long 2000');
  await chat.stop.waitFor();
  await page.getByTestId('user-menu').click();
  await page.getByRole('menu').waitFor();

  await page.keyboard.press('Escape');
  await page.getByRole('menu').waitFor({ state: 'detached' });
  expect(await chat.stop.isVisible()).toBe(true);
  await page.evaluate(() => (document.activeElement as HTMLElement).blur());
  await page.keyboard.press('Escape');

  await chat.stop.waitFor({ state: 'detached' });
  const outcome = page.getByTestId('run-outcome').last();
  expect(await outcome.getAttribute('data-outcome')).toBe('stopped');
});

test('a screen reader hears that an answer begins, and then the answer', async () => {
  const announcer = chat.page.getByTestId('announcer');
  await chat.say('count to 30');

  await chat.page.getByText('Answering…', { exact: true }).waitFor({ state: 'attached' });
  await chat.settled();

  expect(await announcer.textContent()).toBe(await chat.answerText());
});

describe('on a small screen', () => {
  test('nothing sticks out, and the list is a drawer', async () => {
    const phone = await visitors.person('walker', PASSWORD, PHONE);
    await phone.converse('table');
    await phone.converse('code');

    const sticksOut = await phone.page.evaluate(
      () => document.documentElement.scrollWidth > document.documentElement.clientWidth,
    );
    await phone.page.getByTestId('open-sidebar').click();
    await phone.thread('table').click();
    await phone.page.getByRole('dialog').waitFor({ state: 'detached' });

    expect(sticksOut).toBe(false);
    expect(await faults(phone.page)).toEqual([]);
  });

  test('the end is followed until the reader scrolls up, and one press leads back', async () => {
    const phone = await visitors.person('scroller', PASSWORD, PHONE);
    await phone.say('long 3000');
    await phone.lastAnswer.waitFor();
    const list = phone.page.getByTestId('messages');
    const gap = () =>
      list.evaluate((node) => node.scrollHeight - node.scrollTop - node.clientHeight);
    await phone.page.waitForFunction(() => {
      const node = document.querySelector('[data-testid="messages"]');
      return node !== null && node.scrollHeight > node.clientHeight * 1.5;
    });
    const following = await gap();

    await list.evaluate((node) => node.scrollBy(0, -250));
    const jump = phone.page.getByTestId('jump-to-latest');
    await jump.waitFor();
    await jump.click();
    await jump.waitFor({ state: 'detached' });
    await phone.stop.click();
    await phone.outcome.waitFor();

    expect(following).toBeLessThan(80);
    expect(await gap()).toBeLessThan(80);
  });
});
