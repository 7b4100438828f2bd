import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import {
  Outbox,
  ParlourError,
  type Answer,
  type Command,
  type CommandStore,
} from '../src/index.js';

/** Stands where the connection stands: answers are given by the test. */
class Line {
  connected = true;
  readonly sent: {
    event: string;
    payload: Record<string, unknown>;
    answer: (answer: Answer) => void;
    refuse: (code: string, retryable: boolean) => void;
  }[] = [];

  request(event: string, payload: Record<string, unknown>): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const refuse = (code: string, retryable: boolean): void =>
        reject(new ParlourError({ code, message: code, retryable }));
      this.sent.push({ event, payload, answer: resolve, refuse });
    });
  }
}

let line: Line;
let outbox: Outbox;

beforeEach(() => {
  vi.useFakeTimers();
  line = new Line();
  outbox = new Outbox(line);
});
afterEach(() => {
  outbox.close();
  vi.useRealTimers();
});

const states = () => outbox.pending.get().map(({ state }) => state);
/** Let promise reactions run. */
const settle = () => vi.advanceTimersByTimeAsync(0);

describe('the outbox', () => {
  test('shows a command as pending until its answer comes', async () => {
    const answered = outbox.submit('message:send', { content: 'hi' });
    const before = states();

    line.sent[0]!.answer({ ok: true, message: { id: 'm' } });

    await expect(answered).resolves.toMatchObject({ message: { id: 'm' } });
    expect([before, states()]).toEqual([['sent'], []]);
  });

  test('waits without a connection', () => {
    line.connected = false;
    void outbox.submit('message:send', {}).catch(() => 0);

    const before = states();
    line.connected = true;
    outbox.resume();

    expect([before, states()]).toEqual([['waiting'], ['sent']]);
  });

  const say = (content: string, thread_id = 't1') =>
    void outbox.submit('message:send', { content, thread_id }).catch(() => 0);
  const sent = () => line.sent.map(({ payload }) => payload['content']);

  test('sends the messages of a conversation one after the other', async () => {
    for (const content of ['one', 'two']) say(content);
    const before = sent();

    line.sent[0]!.answer({ ok: true });
    await settle();

    expect([before, sent()]).toEqual([['one'], ['one', 'two']]);
  });

  test('lets no message overtake one that is tried again', async () => {
    for (const content of ['one', 'two']) say(content);

    line.sent[0]!.refuse('rate_limited', true);
    await vi.advanceTimersByTimeAsync(1_000);
    line.sent[1]!.answer({ ok: true });
    await settle();

    expect(sent()).toEqual(['one', 'one', 'two']);
  });

  test('tells what the server says while a message is tried again', async () => {
    say('one');
    const error = () => outbox.pending.get().map((entry) => entry.error?.code ?? null);

    line.sent[0]!.refuse('unavailable', true);
    await settle();
    const refused = error();
    await vi.advanceTimersByTimeAsync(1_000);
    line.sent[1]!.answer({ ok: true });
    await settle();

    expect(refused).toEqual(['unavailable']);
    expect(error()).toEqual([]);
  });

  test('goes on behind a message that is refused', async () => {
    for (const content of ['one', 'two']) say(content);

    line.sent[0]!.refuse('too_large', false);
    await settle();

    expect(sent()).toEqual(['one', 'two']);
    expect(states()).toEqual(['failed', 'sent']);
  });

  test('does not hold up other conversations and other commands', () => {
    say('one');

    say('elsewhere', 't2');
    void outbox.submit('run:stop', { thread_id: 't1' }).catch(() => 0);

    expect(line.sent.map(({ event }) => event)).toEqual([
      'message:send',
      'message:send',
      'run:stop',
    ]);
  });

  test('does not try again sooner because something else is given', async () => {
    say('one');
    line.sent[0]!.refuse('rate_limited', true);
    await settle();

    say('elsewhere', 't2');

    expect(sent()).toEqual(['one', 'elsewhere']);
  });

  test('sends again under the same id after silence', async () => {
    const answered = outbox.submit('message:send', { content: 'hi' });

    line.sent[0]!.refuse('unanswered', true);
    await vi.advanceTimersByTimeAsync(1_000);
    line.sent[1]!.answer({ ok: true });

    await expect(answered).resolves.toEqual({ ok: true });
    expect(line.sent[1]!.payload['command_id']).toBe(line.sent[0]!.payload['command_id']);
  });

  test('leaves the resending to the next connection where there is none', async () => {
    void outbox.submit('message:send', {}).catch(() => 0);

    line.connected = false;
    line.sent[0]!.refuse('unanswered', true);
    await vi.advanceTimersByTimeAsync(60_000);

    expect(line.sent).toHaveLength(1);
    expect(states()).toEqual(['waiting']);
  });

  test('keeps a refused command so that it can be tried again', async () => {
    const answered = outbox.submit('message:send', {});
    line.sent[0]!.refuse('forbidden', false);

    await expect(answered).rejects.toMatchObject({ code: 'forbidden' });
    const [failed] = outbox.pending.get();
    outbox.retry(failed!.command_id);

    expect(failed).toMatchObject({ state: 'failed', error: { code: 'forbidden' } });
    expect(line.sent).toHaveLength(2);
  });

  test('forgets a command that is given up', async () => {
    const answered = outbox.submit('message:send', {});
    line.sent[0]!.refuse('too_large', false);
    await answered.catch(() => undefined);

    outbox.dismiss(outbox.pending.get()[0]!.command_id);

    expect(states()).toEqual([]);
  });

  test('does not give up a command that may already have arrived', async () => {
    void outbox.submit('message:send', {}).catch(() => 0);

    outbox.dismiss(outbox.pending.get()[0]!.command_id);
    await settle();

    expect(states()).toEqual(['sent']);
  });

  test('takes up what an earlier page left behind', async () => {
    const left: Command = {
      command_id: 'c1',
      event: 'message:send',
      payload: { command_id: 'c1' },
      created_at: 1,
    };
    const removed: string[] = [];
    const store: CommandStore = {
      load: () => Promise.resolve([left]),
      put: () => Promise.resolve(),
      remove: (id) => Promise.resolve(void removed.push(id)),
    };
    const restored = new Outbox(line, store);

    await restored.restore();
    line.sent[0]!.answer({ ok: true });
    await settle();

    expect(line.sent[0]!.payload).toEqual({ command_id: 'c1' });
    expect(removed).toEqual(['c1']);
  });
});
