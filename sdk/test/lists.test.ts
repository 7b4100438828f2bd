import { describe, expect, test, vi } from 'vitest';

import {
  foldChannelRows,
  foldChats,
  foldSettings,
  List,
  mergeModels,
  type ChannelInfo,
  type ThreadRow,
} from '../src/index.js';

function row(id: string, updated_at: number): ThreadRow {
  return { id, title: id, preview: '', tags: [], created_at: 0, updated_at, shared: false };
}
const ids = (rows: readonly { id: string }[]): string[] => rows.map((one) => one.id);

describe('the list of conversations', () => {
  const rows = [row('b', 2), row('a', 1)];

  test('puts a changed conversation where its time belongs', () => {
    const after = foldChats(rows, { type: 'thread:updated', data: { thread: row('a', 3) } });

    expect(ids(after)).toEqual(['a', 'b']);
  });

  test('drops a deleted one, and keeps its identity where nothing changed', () => {
    const gone = foldChats(rows, { type: 'thread:deleted', data: { id: 'b' } });
    const same = foldChats(rows, { type: 'thread:deleted', data: { id: 'z' } });

    expect(ids(gone)).toEqual(['a']);
    expect(same).toBe(rows);
  });

  test('does not take in what a search may not have found', () => {
    const news = { type: 'thread:updated', data: { thread: row('c', 9) } };

    expect([ids(foldChats(rows, news, true)), ids(foldChats(rows, news))]).toEqual([
      ['b', 'a'],
      ['c', 'b', 'a'],
    ]);
  });
});

describe('settings', () => {
  const changed = (version: unknown, settings: unknown) => ({
    type: 'settings:changed',
    data: { version, settings } as Record<string, unknown>,
  });

  test('are the newest ones, in whatever order they come', () => {
    const states = [changed(2, { b: 2 }), changed(1, { a: 1 })];

    const after = states.reduce(foldSettings, { settings: {}, version: 0 });

    expect(after).toEqual({ settings: { b: 2 }, version: 2 });
  });

  test.each([changed('2', {}), changed(2, null), { type: 'other', data: {} }])(
    'are left alone by anything else',
    (event) => {
      const state = { settings: { a: 1 }, version: 1 };

      expect(foldSettings(state, event)).toBe(state);
    },
  );
});

describe('the list of channels', () => {
  const channel = {
    ...{ id: 'c1', kind: 'group', name: 'one', unread: 1, unread_mentions: 0 },
    membership: { muted: false, read_seq: 0, role: 'member' },
  } as unknown as ChannelInfo;
  const message = (author: string, mentions: string[] = []) => ({
    type: 'message',
    channelId: 'c1',
    data: {
      ...{ id: 'm', author: { id: author }, mentions, created_at: 5 },
      ...{ parent_id: null, deleted_at: null },
    },
  });

  test('counts what others say, and mentions', () => {
    const after = foldChannelRows([channel], message('other', ['me']), 'me');

    expect(after?.[0]).toMatchObject({ unread: 2, unread_mentions: 1, last_message_at: 5 });
  });

  test('counts neither one’s own nor what is being looked at', () => {
    const own = foldChannelRows([channel], message('me'), 'me');
    const looked = foldChannelRows([channel], message('other'), 'me', 'c1');

    expect([own?.[0]?.unread, looked?.[0]?.unread]).toEqual([1, 1]);
  });

  test('asks again for what the list may have counted already', () => {
    const read = { ...channel, last_message_at: 5 } as ChannelInfo;

    const after = foldChannelRows([read], message('other'), 'me');

    expect(after).toBeNull();
  });

  test('leaves to the server what only it can count', () => {
    const kinds = ['channel:read', 'message:delete', 'member:added'];

    const after = kinds.map((type) =>
      foldChannelRows([channel], { type, channelId: 'c1', data: {} }, 'me'),
    );

    expect(after).toEqual([null, null, null]);
  });

  test('drops a channel that is gone, or that one was taken out of', () => {
    const removed = { type: 'member:removed', channelId: 'c1', data: { user_id: 'me' } };
    const deleted = { type: 'channel:deleted', channelId: 'c1', data: {} };

    expect(foldChannelRows([channel], removed, 'me')).toEqual([]);
    expect(foldChannelRows([channel], deleted, 'me')).toEqual([]);
  });
});

test('models are the app’s profiles, then others that are in use', () => {
  const models = mergeModels(
    [{ name: 'Fast' }],
    [
      { id: 'other', sessions: 2 },
      { id: 'Fast', sessions: 1 },
    ],
  );

  expect(models.map(({ id, sessions, profile }) => [id, sessions, profile?.name ?? null])).toEqual([
    ['Fast', 1, 'Fast'],
    ['other', 2, null],
  ]);
});

describe('a list', () => {
  test('reads again where something was heard while an answer was on its way', async () => {
    const answers: ((items: number[]) => void)[] = [];
    const list = new List(() => new Promise<number[]>((answer) => answers.push(answer)));

    const done = list.reload();
    list.change((items) => [...items, 9]);
    answers[0]!([1]);
    await vi.waitFor(() => expect(answers).toHaveLength(2));
    answers[1]!([1, 2]);
    await done;

    expect(list.get().items).toEqual([1, 2]);
  });

  test('keeps what is shown when reading fails', async () => {
    const answers = [Promise.resolve([1]), Promise.reject(new Error('gone'))];
    answers[1]!.catch(() => undefined);
    const list = new List(() => answers.shift()!);
    await list.reload();

    await list.reload();

    expect(list.get()).toMatchObject({ phase: 'ready', items: [1], error: { code: 'error' } });
  });
});
