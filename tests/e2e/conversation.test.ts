import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';

import { Visitors } from './browser';
import { ChatPage } from './pages/chat';
import { AppServer, PASSWORD } from './server';

let server: AppServer;
let visitors: Visitors;
let people = 0;

beforeAll(async () => {
  server = await AppServer.demo();
  visitors = await Visitors.open(server);
});
afterAll(async () => {
  await visitors?.close();
  await server?.stop();
});
afterEach(() => {
  expect(visitors.complaints.splice(0)).toEqual([]);
});

/** Somebody nobody else in this file has met. */
const somebody = (options = {}) => visitors.person(`person${(people += 1)}`, PASSWORD, options);

/** `1 2 3 … n` */
const upTo = (n: number) => Array.from({ length: n }, (_, index) => index + 1).join(' ');

test('a wrong password is told, the right one opens the conversation', async () => {
  const signIn = await visitors.stranger();

  await signIn.signIn('demo', 'not this one');
  const problem = await signIn.problem.textContent();
  await signIn.signIn('demo', PASSWORD);
  const chat = new ChatPage(signIn.page);
  await chat.composer.waitFor();

  expect(problem).toContain('not right');
});

test('an answer arrives token by token', async () => {
  const chat = await somebody();
  await chat.say('count to 80');

  const lengths = new Set<number>();
  while ((await chat.lastAnswer.getAttribute('data-streaming')) === 'true') {
    lengths.add((await chat.answerText()).length);
  }

  expect(lengths.size).toBeGreaterThan(4);
  expect(await chat.answerText()).toBe(upTo(80));
});

test('Stop ends a long answer, and what was written stays after a reload', async () => {
  const chat = await somebody();
  await chat.say('long 2000');
  await chat.lastAnswer.waitFor();

  await chat.stop.click();
  await chat.outcome.waitFor();
  const text = await chat.answerText();
  await chat.page.reload();
  await chat.lastAnswer.waitFor();

  expect(await chat.stop.count()).toBe(0);
  expect(await chat.outcome.getAttribute('data-outcome')).toBe('stopped');
  expect(text.split(' ').length).toBeLessThan(1500);
  expect(await chat.answerText()).toBe(text);
});

test('a page that is reloaded in mid-answer misses nothing', async () => {
  const chat = await somebody();
  await chat.say('count to 150');
  await chat.lastAnswer.waitFor();

  await chat.page.reload();
  await chat.lastAnswer.waitFor();
  await chat.settled();

  expect(await chat.answerText()).toBe(upTo(150));
});

test('after a reload the conversation is in the list, and its content where it was', async () => {
  const chat = await somebody();
  await chat.converse('count to 7');
  await chat.newChat();
  await chat.page.reload();
  await chat.page.getByTestId('welcome').waitFor();

  await chat.thread('count to 7').click();
  await chat.spoken('count to 7').waitFor();

  expect(await chat.threads.count()).toBe(1);
  expect(await chat.answerText()).toBe('1 2 3 4 5 6 7');
  expect(await chat.stop.count()).toBe(0);
});

test('a question is answered where it stands', async () => {
  const chat = await somebody();
  await chat.say('ask');
  await chat.ask.waitFor();

  await chat.page.getByTestId('ask-input').fill('Dark green');
  await chat.page.getByTestId('ask-submit').click();
  await chat.ask.waitFor({ state: 'detached' });
  await chat.settled();

  expect(await chat.answerText()).toContain('Dark green');
});

test('a question can also be answered in the composer', async () => {
  const chat = await somebody();
  await chat.say('ask');
  await chat.ask.waitFor();

  const answer = await chat.converse('Light blue');

  expect(answer).toContain('Light blue');
  expect(await chat.ask.count()).toBe(0);
});

test('a question survives a reload and is answered once, in whichever tab', async () => {
  const first = await somebody();
  await first.say('choose');
  await first.ask.waitFor();
  await first.page.reload();
  const second = await visitors.tab(first, new URL(first.page.url()).pathname);

  await second.page.getByTestId('ask-action').filter({ hasText: 'Tea' }).click();
  await first.ask.waitFor({ state: 'detached' });
  await first.settled();

  expect(await first.answerText()).toContain('You chose Tea');
  expect(await first.page.getByTestId('selected').textContent()).toContain('Tea');
});

test('a file is given to a question', async () => {
  const chat = await somebody();
  await chat.say('upload');
  await chat.ask.waitFor();

  const file = { name: 'poem.txt', mimeType: 'text/plain', buffer: Buffer.from('roses are red\n') };
  await chat.page.getByTestId('ask-file').setInputFiles(file);
  await chat.page.getByTestId('ask-submit').click();
  await chat.ask.waitFor({ state: 'detached' });
  await chat.settled();

  expect(await chat.lastAnswer.textContent()).toContain('roses are red');
});

test('a button under a message calls the app, and steps can be opened', async () => {
  const chat = await somebody();
  await chat.converse('actions');

  await chat.page.getByTestId('action').first().click();
  await chat.page.getByRole('button', { name: 'Again (2)' }).waitFor();
  await chat.converse('steps');
  await chat.page.getByTestId('step').first().click();

  expect(await chat.page.getByTestId('steps').textContent()).toContain('Count the words');
});

test('an attachment travels with its message', async () => {
  const chat = await somebody();
  const file = { name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('one\ntwo\n') };

  await chat.page.getByTestId('attach-input').setInputFiles(file);
  await chat.page.locator('[data-testid="upload"][data-state="done"]').waitFor();
  await chat.say('what is this?');
  await chat.settled();

  expect(await chat.page.getByTestId('file').first().textContent()).toContain('notes.txt');
});

test('a handler that fails leaves what it said and a reference', async () => {
  const chat = await somebody();
  await chat.say('error');

  const failure = chat.page.locator('[data-testid="message"][data-role="error"]');
  await failure.waitFor();

  expect(await failure.textContent()).toMatch(/[0-9a-f]{12}/);
  expect(await chat.answerText()).toContain('about to fail');
});

test('a conversation has an address, a title, a place in the list, and can be renamed and deleted', async () => {
  const chat = await somebody();
  await chat.converse('hello there');
  const address = chat.page.url();
  await chat.thread('hello there').waitFor();
  await chat.newChat();
  await chat.converse('something else');

  await chat.rename('hello there', 'First words');
  await chat.search.fill('first');
  await chat.thread('something else').waitFor({ state: 'detached' });
  await chat.thread('First words').click();
  await chat.spoken('hello there').waitFor();
  const opened = chat.page.url();
  await chat.remove('First words');
  await chat.page.goto(address);
  await chat.page.getByText('This conversation is not here').waitFor();

  expect(opened).toBe(address);
});

test('a second person sees nothing of the first', async () => {
  const first = await somebody();
  await first.converse('my name is Grace');
  const second = await somebody();

  const titles = await second.threads.count();
  await second.page.goto(first.page.url());
  await second.page.getByText('This conversation is not here').waitFor();

  expect(titles).toBe(0);
  expect(await second.messages.count()).toBe(0);
});

test('two tabs show the same conversation live', async () => {
  const first = await somebody();
  await first.converse('hello');
  const second = await visitors.tab(first, new URL(first.page.url()).pathname);
  await second.lastAnswer.waitFor();

  await first.say('count to 40');
  await second.spoken('count to 40').waitFor();
  await second.settled();
  await first.settled();

  expect(await second.answerText()).toBe(upTo(40));
  expect(await first.answerText()).toBe(upTo(40));
});

test('signing out in one tab ends the other', async () => {
  const first = await somebody();
  const second = await visitors.tab(first);
  await second.composer.waitFor();

  await first.signOut();
  await second.page.getByTestId('sign-in-login').waitFor();

  expect(new URL(second.page.url()).pathname).toBe('/sign-in');
});

test('markup in a message is shown as it was typed', async () => {
  const chat = await somebody();
  const hostile = '<img src=x onerror="document.title=1"><script>document.title=2</script>';

  await chat.say(hostile);
  await chat.settled();
  await chat.page.reload();
  await chat.spoken('<img').waitFor();

  expect(await chat.spoken('<img').textContent()).toContain(hostile);
  expect(await chat.page.locator('img').count()).toBe(0);
});
