/** What a person sees when something is refused: too long, a full disk, an account that was closed. */

import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';

import { Visitors } from './browser';
import { AppServer, PASSWORD } from './server';

let server: AppServer;
let visitors: Visitors;

beforeAll(async () => {
  server = await AppServer.demo({ PARLOUR_MAX_FILE_BYTES: '1000' });
  visitors = await Visitors.open(server);
});
afterAll(async () => {
  await visitors?.close();
  await server?.stop();
});
afterEach(() => {
  server.emptyDisk();
  expect(visitors.complaints.splice(0)).toEqual([]);
});

test('a text that is too long is told before it is sent, and can be shortened', async () => {
  const chat = await visitors.person('writer', PASSWORD);

  await chat.composer.fill('word '.repeat(400_000));
  await chat.page
    .getByText(/too long|at most/i)
    .first()
    .waitFor();
  await chat.composer.press('Enter');
  const waiting = await chat.pending.count();
  const answer = await chat.converse('count to 3');

  expect(waiting).toBe(0);
  expect(answer).toBe('1 2 3');
  expect(await chat.messages.count()).toBe(2);
});

test('a file that is too large is refused by name', async () => {
  const chat = await visitors.person('sender', PASSWORD);
  const file = { name: 'big.txt', mimeType: 'text/plain', buffer: Buffer.alloc(2_000, 'x') };

  await chat.page.getByTestId('attach-input').setInputFiles(file);
  await chat.page.getByText('big.txt is too large').waitFor();

  expect(await chat.page.getByTestId('upload').count()).toBe(0);
});

test('a message on a full disk waits, is told, and is sent once when there is space', async () => {
  const chat = await visitors.person('patient', PASSWORD);
  await chat.converse('hello');

  server.fillDisk();
  await chat.composer.fill('count to 5');
  await chat.composer.press('Enter');
  await chat.pending.getByText('disk').waitFor();
  server.emptyDisk();
  await chat.spoken('count to 5').waitFor();
  await chat.pending.waitFor({ state: 'detached' });
  await chat.answers.nth(1).waitFor();
  await chat.settled();

  expect(await chat.answerText()).toBe('1 2 3 4 5');
  expect(await chat.page.getByText('count to 5', { exact: true }).count()).toBe(1);
});

test('an answer that meets a full disk keeps what was shown and says that it failed', async () => {
  const chat = await visitors.person('reader', PASSWORD);
  await chat.say('count to 1000');
  await chat.lastAnswer.waitFor();

  server.fillDisk();
  await chat.composer.fill('count to 2');
  await chat.composer.press('Enter');
  await chat.pending.getByText('disk').waitFor();
  server.emptyDisk();
  await chat.page.locator('[data-testid="message"][data-role="error"]').waitFor();
  const cut = (await chat.answers.first().locator('.prose').textContent())!.trim();
  await chat.answers.nth(1).waitFor();
  await chat.settled();
  await chat.page.reload();
  await chat.answers.nth(1).waitFor();

  const numbers = Array.from({ length: 1000 }, (_, index) => index + 1).join(' ');
  expect(numbers.startsWith(cut)).toBe(true);
  expect((await chat.answers.first().locator('.prose').textContent())!.trim()).toBe(cut);
  expect(await chat.answerText()).toBe('1 2');
});

test('an account that is closed ends at the sign-in page and cannot come back', async () => {
  const chat = await visitors.person('leaver', PASSWORD);
  await chat.converse('hello');

  await server.command('user', 'disable', 'leaver');
  const login = chat.page.getByTestId('sign-in-login');
  await login.waitFor();
  await login.fill('leaver');
  await chat.page.getByTestId('sign-in-password').fill(PASSWORD);
  await chat.page.getByTestId('sign-in-submit').click();
  await chat.page.getByTestId('sign-in-problem').waitFor();

  expect(new URL(chat.page.url()).pathname).toBe('/sign-in');
});

test('at 390 and at 360 px nothing sticks out of any page', async () => {
  const options = { viewport: { width: 390, height: 740 }, hasTouch: true, isMobile: true };
  const signIn = await visitors.stranger(options);
  const found: string[] = [];
  async function measure(name: string): Promise<void> {
    for (const width of [360, 390]) {
      await signIn.page.setViewportSize({ width, height: 740 });
      const pixels = await signIn.page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      );
      if (pixels > 0) found.push(`${name}: ${pixels} px at ${width}`);
    }
  }

  await measure('sign-in');
  const chat = await visitors.enter(signIn, 'walker', PASSWORD);
  await measure('empty');
  for (const text of ['table', 'code', 'markdown', 'steps', 'x'.repeat(400)]) {
    await chat.converse(text);
    await measure(text.slice(0, 9));
  }
  await chat.say('choose');
  await chat.ask.waitFor();
  await measure('question');
  await chat.page.getByTestId('open-sidebar').click();
  await chat.thread('table').waitFor();
  await measure('list');

  expect(found).toEqual([]);
});
