import { afterAll, beforeAll, expect, test } from 'vitest';

import { Visitors } from './browser';
import { ChatPage } from './pages/chat';
import { SignInPage } from './pages/sign-in';
import { AppServer, PASSWORD } from './server';

/** Short enough to end during a test. */
const TTL_SECONDS = 30;

let server: AppServer;
let visitors: Visitors;

beforeAll(async () => {
  server = await AppServer.demo({ PARLOUR_TOKEN_TTL_SECONDS: String(TTL_SECONDS) });
  visitors = await Visitors.open(server);
});
afterAll(async () => {
  await visitors?.close();
  await server?.stop();
});

test('nobody is signed out while they work: the token is renewed before it ends', async () => {
  const chat = await visitors.person('worker', PASSWORD);
  const renewed = chat.page.waitForResponse(
    (answer) => answer.url().endsWith('/api/auth/refresh'),
    {
      timeout: TTL_SECONDS * 1000 * 2,
    },
  );
  const cookie = async () =>
    (await chat.page.context().cookies()).find(({ name }) => name === 'access_token');
  const before = await cookie();
  await chat.say('count to 20');

  const status = (await renewed).status();
  const after = await cookie();
  await chat.settled();

  expect(status).toBe(200);
  expect(after?.value).not.toBe(before?.value);
  expect(after!.expires).toBeGreaterThan(before!.expires);
  expect(await chat.banner.count()).toBe(0);
});

test('somebody else on the same tab begins with nothing of the one before', async () => {
  const first = await visitors.person('early', PASSWORD);
  await first.composer.fill('a secret, not sent');
  await first.signOut();

  const signIn = new SignInPage(first.page);
  await signIn.signUp('late', PASSWORD);
  const second = new ChatPage(first.page);
  const draft = await second.composer.inputValue();
  const answer = await second.converse('count to 3');

  expect(draft).toBe('');
  expect(answer).toBe('1 2 3');
});

test('the cookie is out of reach of scripts and of other sites', async () => {
  const chat = await visitors.person('keeper', PASSWORD);

  const [cookie] = await chat.page.context().cookies();
  const seen = await chat.page.evaluate(() => document.cookie + JSON.stringify(localStorage));

  expect(cookie).toMatchObject({ name: 'access_token', httpOnly: true, sameSite: 'Lax' });
  expect(seen).not.toContain(cookie!.value);
});

test('the page works under a policy that runs no foreign script', async () => {
  const signIn = await visitors.stranger();

  const answer = await signIn.page.goto('./');

  expect(answer?.headers()['content-security-policy']).toMatch(/script-src 'self'(;|$)/);
  expect(visitors.complaints).toEqual([]);
});
