import { describe, expect, test } from 'vitest';

import {
  channelFromSnapshot,
  channelName,
  countsAsUnread,
  findMessage,
  foldChannel,
  foldPresence,
  renewChannel,
  withMembers,
  withMessages,
  withParent,
  withReplies,
  type ChannelEvent,
  type ChannelInfo,
  type ChannelMessage,
  type ChannelState,
  type People,
} from '../src/index.js';

const CHANNEL: ChannelInfo = {
  id: 'c',
  kind: 'group',
  name: 'Plans',
  description: '',
  data: {},
  created_by: 'ann',
  created_at: 1,
  updated_at: 1,
  member_count: 2,
  last_message_at: null,
  membership: { role: 'owner', muted: false, read_seq: 0, joined_at: 1 },
  unread: 3,
  unread_mentions: 1,
};

function said(seq: number, more: Partial<ChannelMessage> = {}): ChannelMessage {
  return {
    id: `m${seq}`,
    channel_id: 'c',
    seq,
    author: { id: 'ann', name: 'Ann' },
    content: `text ${seq}`,
    data: null,
    files: [],
    mentions: [],
    parent_id: null,
    reply_to_id: null,
    created_at: seq,
    edited_at: null,
    deleted_at: null,
    reply_count: 0,
    last_reply_at: null,
    pinned_at: null,
    pinned_by: null,
    reactions: [],
    ...more,
  };
}

function event(type: string, data: object): ChannelEvent {
  return { type, data: data as Record<string, unknown>, at: 9 };
}

function opened(...messages: ChannelMessage[]): ChannelState {
  return channelFromSnapshot({ channel: CHANNEL, messages, truncated: true });
}

const ids = (state: ChannelState): string[] => [...state.messages.keys()];

describe('messages', () => {
  test('come in the order of their numbers, whatever is read later', () => {
    const live = foldChannel(opened(said(5)), [event('message', said(6))]);

    const state = withMessages(live, [said(3), said(4)], false);

    expect(ids(state)).toEqual(['m3', 'm4', 'm5', 'm6']);
    expect(state.truncated).toBe(false);
  });

  test('are changed by an update, and only those that are known', () => {
    const state = foldChannel(opened(said(1)), [
      event('message:update', said(1, { content: 'better', edited_at: 9 })),
      event('message:update', said(2)),
    ]);

    expect([...state.messages.values()].map((one) => one.content)).toEqual(['better']);
  });

  test('vanish when they are deleted, but keep their place while they have replies', () => {
    const gone = (id: string) => event('message:delete', { id, parent_id: null, deleted_at: 9 });
    const before = opened(said(1), said(2, { reply_count: 1, content: 'secret' }));

    const state = foldChannel(before, [gone('m1'), gone('m2')]);

    expect(ids(state)).toEqual(['m2']);
    expect(state.messages.get('m2')).toMatchObject({ content: '', deleted_at: 9 });
  });

  test('that were deleted leave with their last reply', () => {
    const parent = said(1, { deleted_at: 9, reply_count: 0 });

    const state = foldChannel(opened(said(1, { deleted_at: 9, reply_count: 1 })), [
      event('message:reply', { parent, reply_id: null }),
    ]);

    expect(ids(state)).toEqual([]);
  });

  test('stay the same objects where nothing happened to them', () => {
    const before = opened(said(1), said(2));

    const after = foldChannel(before, [event('message:update', said(2, { content: 'x' }))]);

    expect(after.messages.get('m1')).toBe(before.messages.get('m1'));
    expect(before.messages.get('m2')?.content).toBe('text 2');
  });
});

describe('replies', () => {
  const reply = said(2, { parent_id: 'm1' });
  const counted = event('message:reply', { parent: said(1, { reply_count: 1 }), reply_id: 'm2' });

  test('are counted at their parent and kept out of the channel', () => {
    const state = foldChannel(opened(said(1)), [event('message', reply), counted]);

    expect(ids(state)).toEqual(['m1']);
    expect(state.messages.get('m1')?.reply_count).toBe(1);
    expect(state.replies.size).toBe(0);
  });

  test('are kept for a message that somebody looks at', () => {
    const looked = withReplies(opened(said(1)), 'm1', []);

    const state = foldChannel(looked, [event('message', reply), counted]);

    expect([...state.replies.get('m1')!.keys()]).toEqual(['m2']);
    expect(findMessage(state, 'm2')?.content).toBe('text 2');
  });

  test('of a message before the window keep that message current', () => {
    const looked = withReplies(withParent(opened(said(7)), said(1)), 'm1', []);

    const state = foldChannel(looked, [event('message', said(8, { parent_id: 'm1' })), counted]);

    expect(ids(state)).toEqual(['m7']);
    expect(findMessage(state, 'm1')?.reply_count).toBe(1);
  });
});

describe('reactions', () => {
  const add = (user_id: string, count: number) =>
    event('message:reaction:add', { id: 'm1', emoji: '👍', user_id, count });
  const remove = (user_id: string, count: number) =>
    event('message:reaction:remove', { id: 'm1', emoji: '👍', user_id, count });

  test('count people, and go with the last of them', () => {
    const two = foldChannel(opened(said(1)), [add('ann', 1), add('bob', 2)]);
    const none = foldChannel(two, [remove('ann', 1), remove('bob', 0)]);

    expect(two.messages.get('m1')?.reactions).toEqual([
      { emoji: '👍', count: 2, user_ids: ['ann', 'bob'] },
    ]);
    expect(none.messages.get('m1')?.reactions).toEqual([]);
  });

  test('that are heard again change nothing', () => {
    const once = foldChannel(opened(said(1)), [add('ann', 1)]);

    expect(renewChannel(once, [add('ann', 1)])).toEqual(once);
  });
});

describe('the channel', () => {
  test('is renamed, and what it is to oneself stays', () => {
    const told: ChannelInfo = { ...CHANNEL, name: 'Better plans' };
    delete told.membership;

    const state = foldChannel(opened(), [event('channel:updated', { channel: told })]);

    expect(state.channel).toMatchObject({ name: 'Better plans', membership: CHANNEL.membership });
  });

  test('counts its members once, however often a page is brought up to date', () => {
    const added = event('member:added', {
      user: { id: 'bob', name: 'Bob' },
      user_id: 'bob',
      role: 'member',
    });

    const live = foldChannel(opened(), [added]);
    const state = renewChannel(withMembers(live, []), [added]);

    expect(state.channel?.member_count).toBe(3);
    expect([...state.members!.keys()]).toEqual(['bob']);
  });

  test('knows who left and whose role changed', () => {
    const people = ['ann', 'bob'].map((id) => ({
      user: { id, name: id },
      role: 'member' as const,
      joined_at: 1,
    }));

    const state = foldChannel(withMembers(opened(), people), [
      event('channel:updated', { channel: CHANNEL, member: { user_id: 'bob', role: 'manager' } }),
      event('member:removed', { user_id: 'ann' }),
    ]);

    expect([...state.members!.values()].map((one) => [one.user.id, one.role])).toEqual([
      ['bob', 'manager'],
    ]);
  });

  test('is deleted', () => {
    expect(foldChannel(opened(), [event('channel:deleted', { channel_id: 'c' })]).deleted).toBe(
      true,
    );
  });

  test('ignores what it does not know', () => {
    const before = opened(said(1));

    expect(foldChannel(before, [event('weather', { id: 'm1' })])).toEqual(before);
  });

  test('is called by the others in it when it is direct', () => {
    const members = [
      { id: 'ann', name: 'Ann' },
      { id: 'bob', name: 'Bob' },
    ];

    expect(channelName({ ...CHANNEL, kind: 'direct', name: '', members }, 'ann')).toBe('Bob');
    expect(channelName(CHANNEL, 'ann')).toBe('Plans');
  });
});

test.each([
  ["another's message", said(1), true],
  ['my own message', said(1, { author: { id: 'me', name: 'Me' } }), false],
  ['a reply that mentions me', said(1, { parent_id: 'm0', mentions: ['me'] }), true],
  ["another's reply, which only the server can tell", said(1, { parent_id: 'm0' }), null],
])('%s counts as unread: %#', (_, message, expected) => {
  expect(countsAsUnread(message, 'me')).toBe(expected);
});

describe('presence', () => {
  const ann = { id: 'ann', name: 'Ann', status: 'online' as const };
  const bob = { id: 'bob', name: 'Bob', status: 'online' as const };

  test('is a whole list first and differences afterwards', () => {
    const nobody: People = new Map();
    const full = foldPresence(nobody, { joined: [ann], left: [], changed: [], full: true });
    const later = foldPresence(full, { joined: [bob], left: [ann], changed: [] });
    const away = foldPresence(later, {
      joined: [],
      left: [],
      changed: [{ ...bob, status: 'away' }],
    });

    expect([...full.keys()]).toEqual(['ann']);
    expect([...away.values()]).toEqual([{ ...bob, status: 'away' }]);
  });

  test('of a whole list forgets who is not in it', () => {
    const before: People = new Map([['ann', ann]]);

    expect([...foldPresence(before, { joined: [bob], full: true }).keys()]).toEqual(['bob']);
  });

  test('is not upset by what it cannot read', () => {
    expect(foldPresence(new Map(), { joined: 'everybody', left: [7], changed: null }).size).toBe(0);
  });
});
