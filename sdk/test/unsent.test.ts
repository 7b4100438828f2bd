import { afterEach, beforeEach, expect, test } from 'vitest';

import { Outbox, ParlourError, UnsentCommands, type Answer } from '../src/index.js';

let connected: boolean;
let answers: { answer: (answer: Answer) => void; refuse: (error: ParlourError) => void }[];
let outbox: Outbox;
let unsent: UnsentCommands;

beforeEach(() => {
  [connected, answers] = [false, []];
  outbox = new Outbox({
    get connected() {
      return connected;
    },
    request: () => new Promise((answer, refuse) => answers.push({ answer, refuse })),
  });
  unsent = new UnsentCommands(outbox);
});
afterEach(() => {
  unsent.close();
  outbox.close();
});

function give(event: string, payload: Record<string, unknown>): Promise<unknown> {
  return outbox.submit(event, payload).catch((error: unknown) => error);
}

async function refuse(code: string): Promise<void> {
  connected = true;
  outbox.resume();
  answers.pop()!.refuse(new ParlourError({ code, message: code }));
  await Promise.resolve();
  await Promise.resolve();
}

test('what waits is listed with its place and its text, oldest first', () => {
  const files = [{ id: 'f', name: 'plan.pdf', mime: 'application/pdf', size: 1, url: '/f' }];
  void give('message:send', { thread_id: 't', content: 'hello', files });
  void give('message:react', { channel_id: 'c', message_id: 'm', emoji: '👍' });
  void give('usage', {});

  expect(unsent.get()).toMatchObject([
    { event: 'message:send', place: { kind: 'thread', id: 't' }, text: 'hello', files },
    { event: 'message:react', place: { kind: 'channel', id: 'c' }, text: '', files: [] },
    { event: 'usage', place: null, state: 'waiting', error: null },
  ]);
});

test('what is on its way is not listed', () => {
  void give('message:send', { thread_id: 't', content: 'hello' });

  connected = true;
  outbox.resume();

  expect(unsent.get()).toEqual([]);
});

test('what was refused is listed with the reason, and sent again on request', async () => {
  void give('message:send', { thread_id: 't', content: 'hello' });
  await refuse('forbidden');
  const refused = unsent.get();

  unsent.retryAll();

  expect(refused).toMatchObject([{ state: 'failed', error: { code: 'forbidden' } }]);
  expect(answers).toHaveLength(1);
  expect(unsent.get()).toEqual([]);
});

test('one that is given up is gone, and whoever gave it hears so', async () => {
  const given = give('message:send', { thread_id: 't', content: 'hello' });

  unsent.dismiss(unsent.get()[0]!.command_id);

  await expect(given).resolves.toMatchObject({ code: 'unanswered' });
  expect(unsent.get()).toEqual([]);
});

test('all of them may be given up at once', () => {
  for (const thread_id of ['a', 'b', 'c']) void give('message:send', { thread_id, content: 'x' });

  unsent.dismissAll();

  expect(unsent.get()).toEqual([]);
});
