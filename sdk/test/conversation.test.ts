import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { connect, Conversation, digest, type Connection, type Message } from '../src/index.js';
import { StreamServer, wireEvent } from './server.js';
import { when } from './stores.js';

const STREAM = 'thread:thread-1';
let server: StreamServer;
let connection: Connection;
let conversation: Conversation;

beforeEach(async () => {
  server = await StreamServer.start();
  connection = connect({ url: server.url, transports: ['websocket'] });
});
afterEach(async () => {
  conversation.close();
  connection.close();
  await server.stop();
});

const message = (id: string, offset: number, content = '', more: object = {}): Message => ({
  id,
  role: 'assistant',
  author: null,
  content,
  created_at: offset,
  offset,
  ...more,
});

function snapshotAt(offset: number, messages: Message[], more: object = {}) {
  return { status: 'snapshot', snapshot: { messages, ...more }, position: { epoch: 'e1', offset } };
}

const emit = (offset: number, type: string, data: Record<string, unknown>, more = {}) =>
  server.emit('events', wireEvent(STREAM, offset, type, data, more));
const texts = () => [...conversation.view.get().thread.messages.values()].map((m) => m.content);
const opened = () => when(conversation.view, ({ phase }) => phase === 'open');

describe('a conversation', () => {
  test('shows the snapshot and then the tokens behind it', async () => {
    server.answer('subscribe', () => snapshotAt(3, [message('m1', 1, 'Hel', { streaming: true })]));
    conversation = new Conversation(connection, 'thread-1');
    await opened();

    emit(4, 'message:delta', { id: 'm1', text: 'lo' });
    await when(conversation.view, () => texts()[0] === 'Hello');

    expect(texts()).toEqual(['Hello']);
  });

  test('takes a fresh snapshot when a finished text is not what the server says', async () => {
    let joins = 0;
    server.answer('subscribe', () =>
      snapshotAt(3, [message('m1', 1, (joins += 1) > 1 ? 'whole' : 'w')]),
    );
    conversation = new Conversation(connection, 'thread-1');
    await opened();

    emit(4, 'message:done', { id: 'm1', ...digest('whole') });
    await when(conversation.view, () => texts()[0] === 'whole');

    expect(server.of('subscribe').map(({ position }) => position)).toEqual([undefined, undefined]);
  });

  test('keeps the text when it is what the server says', async () => {
    server.answer('subscribe', () =>
      snapshotAt(3, [message('m1', 1, 'whole', { streaming: true })]),
    );
    conversation = new Conversation(connection, 'thread-1');
    await opened();

    emit(4, 'message:done', { id: 'm1', ...digest('whole') });
    await when(conversation.view, (view) => view.thread.messages.get('m1')?.streaming === false);

    expect(server.of('subscribe')).toHaveLength(1);
  });

  test('shows a sent message as pending until the stream shows it, never twice', async () => {
    server.answer('subscribe', () => snapshotAt(0, []));
    server.silent.add('message:send');
    conversation = new Conversation(connection, 'thread-1');
    await opened();
    const seen: number[] = [];
    conversation.subscribe((view) => seen.push(view.pending.length + view.thread.messages.size));

    void conversation.send('hi').catch(() => undefined);
    await server.until(() => server.of('message:send').length === 1);
    const commandId = server.of('message:send')[0]!['command_id'] as string;
    emit(1, 'message', { ...message('m1', 1, 'hi'), command_id: commandId }, { cause: commandId });
    await when(conversation.view, (view) => view.pending.length === 0 && texts().length === 1);

    expect(Math.max(...seen)).toBe(1);
  });

  test('keeps what is shown while it is offline', async () => {
    server.answer('subscribe', ({ position }) =>
      position
        ? { status: 'live', events: [], position }
        : snapshotAt(3, [message('m1', 1, 'still here')]),
    );
    conversation = new Conversation(connection, 'thread-1');
    await opened();

    server.cut();
    await when(connection.state, ({ phase }) => phase === 'offline');

    expect(conversation.view.get().phase).toBe('open');
    expect(texts()).toEqual(['still here']);
  });

  test('goes back in history from the oldest message it knows, page by page', async () => {
    server.answer('subscribe', () => snapshotAt(9, [message('m5', 5)], { truncated: true }));
    const asked: (string | undefined)[] = [];
    conversation = new Conversation(connection, 'thread-1', {
      history: (_id, before) => {
        asked.push(before);
        return Promise.resolve(
          before === '5'
            ? { items: [message('m3', 3), message('m4', 4)], next_cursor: '3' }
            : { items: [message('m1', 1)], next_cursor: null },
        );
      },
    });
    await opened();

    await conversation.loadOlder();
    await conversation.loadOlder();
    await conversation.loadOlder();

    expect(asked).toEqual(['5', '3']);
    expect(conversation.view.get().older.map(({ id }) => id)).toEqual(['m1', 'm3', 'm4']);
    expect(conversation.view.get().olderState).toBe('complete');
  });

  test('hands on what changes no state', async () => {
    server.answer('subscribe', () => snapshotAt(0, []));
    const signals: string[] = [];
    conversation = new Conversation(connection, 'thread-1', {
      onSignal: ({ type }) => signals.push(type),
    });
    await opened();

    emit(1, 'notification', { level: 'info', text: 'Saved' });
    emit(2, 'message', { id: 'm1', role: 'assistant', content: 'x' });
    await when(conversation.view, () => texts().length === 1);

    expect(signals).toEqual(['notification']);
  });

  test('is stopping from the press until the run has ended', async () => {
    server.answer('subscribe', () =>
      snapshotAt(1, [], { runs: [{ run_id: 'r1', started_at: 1 }] }),
    );
    server.answer('run:stop', () => ({ run_id: 'r1', accepted: true }));
    conversation = new Conversation(connection, 'thread-1');
    await opened();

    await conversation.stop();
    const pressed = conversation.view.get().stopping;
    emit(2, 'run:ended', { run_id: 'r1', outcome: 'stopped' });
    const view = await when(conversation.view, ({ thread }) => thread.runs.size === 0);

    expect([pressed, view.stopping]).toEqual([true, false]);
  });

  test('may be stopped again where what runs did not end', async () => {
    server.answer('subscribe', () =>
      snapshotAt(1, [], { runs: [{ run_id: 'r1', started_at: 1 }] }),
    );
    server.answer('run:stop', () => ({ run_id: null, accepted: false }));
    conversation = new Conversation(connection, 'thread-1');
    await opened();

    const answer = await conversation.stop();

    expect(answer['accepted']).toBe(false);
    expect(conversation.view.get().thread.runs.size).toBe(1);
    expect(conversation.view.get().stopping).toBe(false);
  });

  test('does not keep a refused Stop in the outbox', async () => {
    server.answer('subscribe', () => snapshotAt(0, []));
    server.answer('run:stop', () => ({ ok: false, error: { code: 'forbidden', message: 'No.' } }));
    conversation = new Conversation(connection, 'thread-1');
    await opened();

    await expect(conversation.stop()).rejects.toMatchObject({ code: 'forbidden' });

    expect(connection.outbox.pending.get()).toEqual([]);
    expect(conversation.view.get().stopping).toBe(false);
  });
});
