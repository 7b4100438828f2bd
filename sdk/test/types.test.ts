/** The public surface, as the compiler sees it: this file fails `npm run check` where it changes. */

import { describe, expect, expectTypeOf, test } from 'vitest';

import * as sdk from '../src/index.js';
import type {
  Answer,
  Connection,
  ConnectionState,
  Conversation,
  ConversationView,
  Readable,
  Stores,
  StreamEvent,
  ThreadState,
  Unsubscribe,
  Wire,
} from '../src/index.js';

/** What Svelte reads as `$store`. */
interface SvelteReadable<T> {
  subscribe(run: (value: T) => void, invalidate?: () => void): () => void;
}

describe('the public surface', () => {
  test('has what applications build on', () => {
    const names = [
      ...['connect', 'Connection', 'Conversation', 'Channel', 'createStores', 'Api', 'ChannelsApi'],
      ...[
        'DurableCommands',
        'Tabs',
        'Version',
        'UserStream',
        'UserSettings',
        'Chats',
        'ChannelList',
      ],
      ...['Models', 'Notes', 'Presence', 'Typing', 'Outbox', 'Follower', 'Store', 'ParlourError'],
      ...['fold', 'foldChannel', 'foldChats', 'foldSettings', 'foldPresence', 'foldChannelRows'],
    ];

    expect(names.filter((name) => !(name in sdk))).toEqual([]);
  });

  test('gives stores in Svelte’s contract', () => {
    expectTypeOf<Readable<number>>().toExtend<SvelteReadable<number>>();
    expectTypeOf<Conversation>().toExtend<SvelteReadable<ConversationView>>();
    expectTypeOf<Stores['chats']>().toExtend<SvelteReadable<sdk.ChatsView>>();
    expectTypeOf<Stores['settings']>().toExtend<SvelteReadable<sdk.Settings>>();
    expectTypeOf<Stores['channels']>().toExtend<SvelteReadable<sdk.Listed<sdk.ChannelInfo>>>();
    expectTypeOf<Stores['version']>().toExtend<SvelteReadable<sdk.VersionState>>();
    expectTypeOf<Stores['socket']>().toExtend<SvelteReadable<ConnectionState>>();
  });

  test('has all stores of a person, and no other', () => {
    expectTypeOf<keyof Stores>().toEqualTypeOf<
      | ('socket' | 'user' | 'chats' | 'sharedChats' | 'models' | 'settings' | 'channels')
      | ('presence' | 'notes' | 'agents' | 'version' | 'unsent' | 'stream' | 'close')
    >();
  });

  test('connects and talks', () => {
    expectTypeOf(sdk.connect).returns.toEqualTypeOf<Connection>();
    expectTypeOf<Connection['state']>().toEqualTypeOf<Readable<ConnectionState>>();
    expectTypeOf<Conversation['send']>().returns.toEqualTypeOf<Promise<Answer>>();
    expectTypeOf<Conversation['subscribe']>().returns.toEqualTypeOf<Unsubscribe>();
    expectTypeOf<ConversationView['thread']>().toEqualTypeOf<ThreadState>();
    expectTypeOf<ConnectionState['phase']>().toEqualTypeOf<
      'connecting' | 'live' | 'resyncing' | 'offline' | 'refused' | 'closed'
    >();
  });

  test('has reducers that change nothing', () => {
    expectTypeOf(sdk.fold).parameter(0).toEqualTypeOf<ThreadState>();
    expectTypeOf<ThreadState['messages']>().toExtend<ReadonlyMap<string, sdk.Message>>();
    expectTypeOf<StreamEvent>().toExtend<sdk.FoldEvent>();
  });

  test('knows the payloads of the wire by the server’s own models', () => {
    expectTypeOf<Wire.MessageSend['command_id']>().toEqualTypeOf<string>();
    expectTypeOf<Wire.RunStop>().toEqualTypeOf<{ command_id: string; thread_id: string }>();
    expectTypeOf<Wire.WirePosition>().toEqualTypeOf<sdk.Position>();
    expectTypeOf<Wire.ChannelKind>().toEqualTypeOf<sdk.ChannelKind>();
    expectTypeOf<Wire.Role>().toEqualTypeOf<sdk.ChannelRole>();
  });
});
