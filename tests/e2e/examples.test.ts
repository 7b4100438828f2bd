/** The examples in a browser: what their authors wrote is what people see. */

import { afterEach, expect, test } from 'vitest';

import { Visitors } from './browser';
import { AppServer, PASSWORD } from './server';

let server: AppServer | undefined;
let visitors: Visitors | undefined;

async function serve(starting: Promise<AppServer>): Promise<Visitors> {
  server = await starting;
  visitors = await Visitors.open(server);
  return visitors;
}

afterEach(async () => {
  await visitors?.close();
  await server?.stop();
});

test('two people tell their names at once, and neither is taken for the other', async () => {
  const people = await serve(AppServer.example('names.py'));
  const ada = await people.person('visitor-a', PASSWORD);
  const grace = await people.person('visitor-g', PASSWORD);
  await ada.ask.waitFor();
  await grace.ask.waitFor();

  await Promise.all(
    [ada, grace].map(async (chat, index) => {
      await chat.page.getByTestId('ask-input').fill(index === 0 ? 'Ada' : 'Grace');
      await chat.page.getByTestId('ask-submit').click();
      await chat.page.getByText(/Nice to meet you/).waitFor();
    }),
  );
  const answers = await Promise.all([ada, grace].map((chat) => chat.converse('hello')));

  expect(answers).toEqual(['Ada, you said: hello', 'Grace, you said: hello']);
});

test('an app gets what it needs from each person before they talk', async () => {
  const people = await serve(
    AppServer.example('session_context.py', { PARLOUR_USER_ENV: 'OPENAI_API_KEY' }),
  );
  const chat = await people.person('visitor', PASSWORD);

  await chat.page.getByTestId('environment-input').fill('sk-example');
  await chat.page.keyboard.press('Enter');
  await chat.say('who am I?');
  await chat.page.getByText('Found your API key!').waitFor();
  await chat.page.reload();
  await chat.say('and after a reload?');
  await chat.page.getByText('Found your API key!').nth(1).waitFor();

  expect(await chat.page.getByTestId('environment-input').count()).toBe(0);
});

test('profiles and settings change the answers', async () => {
  const people = await serve(AppServer.example('settings_and_profiles.py'));
  const chat = await people.person('visitor', PASSWORD);
  await chat.page.getByTestId('chat-settings').click();
  await chat.page.getByLabel('Tone').selectOption('Brisk');
  await chat.page.getByLabel('Loud').click();
  await chat.page.getByRole('button', { name: 'Save' }).click();
  await chat.page.getByText('Tone: Brisk').waitFor();

  const loud = await chat.converse('well');
  await chat.page.getByTestId('profile-picker').click();
  await chat.page.getByRole('menuitem', { name: /Counter/ }).click();
  await chat.page.getByTestId('welcome').waitFor();
  const counted = await chat.converse('well');

  expect(loud).toBe('HEY, WELL');
  expect(counted).toBe('Dear friend, 4 letters');
});

test('inside another application the page finds everything below its path', async () => {
  const people = await serve(AppServer.mounted());
  const chat = await people.person('visitor', PASSWORD, { serviceWorkers: 'allow' });

  const answer = await chat.converse('chairs');
  await chat.page.reload();
  await chat.lastAnswer.waitFor();
  const path = new URL(chat.page.url()).pathname;
  await chat.newChat();
  await chat.thread('chairs').click();
  await chat.spoken('chairs').waitFor();
  const scope = await chat.page.evaluate(async () => {
    const { scope } = await navigator.serviceWorker.ready;
    return new URL(scope).pathname;
  });

  expect(scope).toBe('/chat/');
  expect(answer).toBe('chairs: 6 pieces');
  expect(path).toMatch(/^\/chat\/c\/[0-9a-f-]{36}$/);
  expect(new URL(chat.page.url()).pathname).toBe(path);
});
