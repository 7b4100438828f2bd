import 'fake-indexeddb/auto';

import { afterEach, describe, expect, test, vi } from 'vitest';

import {
  DurableCommands,
  Outbox,
  ParlourError,
  type Answer,
  type Command,
  type CommandStore,
} from '../src/index.js';
import { when } from './stores.js';

const opened: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
});

let people = 0;
/** A person whom no other test knows. */
const somebody = (): string => `u${(people += 1)}`;

function storeOf(userId: string, place?: string): DurableCommands {
  const store = new DurableCommands({ userId, ...(place ? { place } : {}) });
  opened.push(store);
  return store;
}

function command(id: string, more: Partial<Command> = {}): Command {
  const payload = { command_id: id, content: id, thread_id: 't1' };
  return { command_id: id, event: 'message:send', payload, created_at: 1, ...more };
}

const ids = (commands: readonly Command[]): string[] => commands.map((one) => one.command_id);

describe('stored commands', () => {
  test('come back in the order in which they were put, also when one was changed', async () => {
    const user = somebody();
    const store = storeOf(user);
    for (const id of ['a', 'b', 'c']) await store.put(command(id));
    await store.put(command('a', { sent_at: 5 }));
    await store.remove('b');
    await store.close();

    const loaded = await storeOf(user).load();

    expect(loaded).toEqual([command('a', { sent_at: 5 }), command('c')]);
  });

  test('are never another person’s, and never another application’s', async () => {
    const [ada, bob] = [somebody(), somebody()];
    await storeOf(ada, '/').put(command('secret'));

    const loaded = await Promise.all([
      storeOf(bob, '/').load(),
      storeOf(ada, '/other/').load(),
      storeOf(ada, '/').load(),
    ]);

    expect(loaded.map(ids)).toEqual([[], [], ['secret']]);
  });

  test('are gone after the person has left this browser', async () => {
    const user = somebody();
    const store = storeOf(user);
    await store.put(command('a'));

    await store.clear();

    expect(await store.load()).toEqual([]);
  });
});

/** Stands where the connection stands: answers are given by the test. */
class Line {
  connected = true;
  readonly sent: { id: unknown; answer: (answer: Answer) => void; refuse: () => void }[] = [];

  request(_event: string, payload: Record<string, unknown>): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const refuse = (): void => reject(new ParlourError({ code: 'forbidden', message: 'No.' }));
      this.sent.push({ id: payload['command_id'], answer: resolve, refuse });
    });
  }
}

function outboxOf(line: Line, store: CommandStore): Outbox {
  const outbox = new Outbox(line, store);
  opened.push(outbox);
  return outbox;
}

const say = (outbox: Outbox, id: string): void => {
  const payload = { content: id, thread_id: 't1' };
  outbox.submit('message:send', payload, id).catch(() => undefined);
};
const sent = (line: Line): unknown[] => line.sent.map(({ id }) => id);

describe('an outbox with a store', () => {
  test('sends what an earlier page left behind before what is given now', async () => {
    const user = somebody();
    await storeOf(user).put(command('earlier'));
    const line = new Line();
    const outbox = outboxOf(line, storeOf(user));

    say(outbox, 'now');
    await outbox.restore();
    line.sent[0]!.answer({});
    await vi.waitFor(() => expect(line.sent).toHaveLength(2));

    expect(sent(line)).toEqual(['earlier', 'now']);
  });

  test('keeps a command until it is answered', async () => {
    const user = somebody();
    const line = new Line();
    const outbox = outboxOf(line, storeOf(user));
    await outbox.restore();

    say(outbox, 'a');
    await vi.waitFor(async () => expect(ids(await storeOf(user).load())).toEqual(['a']));
    line.sent[0]!.answer({});

    await vi.waitFor(async () => expect(await storeOf(user).load()).toEqual([]));
  });

  test('shows a refusal again after a reload, with its reason, until it is dropped', async () => {
    const user = somebody();
    const line = new Line();
    const before = outboxOf(line, storeOf(user));
    await before.restore();
    say(before, 'a');
    line.sent[0]!.refuse();
    await vi.waitFor(async () => expect((await storeOf(user).load())[0]?.refusal).toBeDefined());
    before.close();

    const after = outboxOf(line, storeOf(user));
    await after.restore();
    const [shown] = after.pending.get();
    after.dismiss('a');

    expect(shown).toMatchObject({ state: 'failed', restored: true, error: { code: 'forbidden' } });
    expect(line.sent).toHaveLength(1);
    await vi.waitFor(async () => expect(await storeOf(user).load()).toEqual([]));
  });

  test('asks the person where the server may have forgotten that it did it', async () => {
    const user = somebody();
    const dayAgo = Date.now() - 24 * 3_600_000;
    await storeOf(user).put(command('a', { sent_at: dayAgo }));
    await storeOf(user).put(command('never-sent', { created_at: dayAgo }));
    const line = new Line();
    const outbox = outboxOf(line, storeOf(user));

    await outbox.restore();

    expect(sent(line)).toEqual(['never-sent']);
    expect(outbox.pending.get()[0]).toMatchObject({
      state: 'failed',
      error: { code: 'uncertain' },
    });
  });

  test('does not keep a Stop: after a reload it would stop something else', async () => {
    const user = somebody();
    const line = new Line();
    line.connected = false;
    const outbox = outboxOf(line, storeOf(user));
    await outbox.restore();

    outbox.submit('run:stop', { thread_id: 't1' }).catch(() => undefined);
    say(outbox, 'a');
    await vi.waitFor(async () => expect(await storeOf(user).load()).not.toEqual([]));

    expect(ids(await storeOf(user).load())).toEqual(['a']);
  });

  test('works without a storage, and says that nothing outlives the page', async () => {
    const broken = (): Promise<never> => Promise.reject(new Error('The disk is full.'));
    const warned = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
    const line = new Line();
    const outbox = outboxOf(line, { load: broken, put: broken, remove: broken });
    await outbox.restore();

    say(outbox, 'a');
    const durable = await when(outbox.durable, (kept) => !kept);

    expect([sent(line), durable]).toEqual([['a'], false]);
    warned.mockRestore();
  });

  test('takes no more than it can keep', async () => {
    const line = new Line();
    line.connected = false;
    const outbox = new Outbox(line);
    for (let index = 0; index < 1_000; index += 1) say(outbox, `c${index}`);

    const refused = outbox.submit('message:send', { thread_id: 't1' });

    await expect(refused).rejects.toMatchObject({ code: 'outbox_full' });
    outbox.close();
  });
});
