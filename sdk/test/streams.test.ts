import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { connect, type Connection, type ParlourError, type StreamEvent } from '../src/index.js';
import { readEvent } from '../src/streams.js';
import { StreamServer, wireEvent } from './server.js';
import { when } from './stores.js';

const STREAM = 'thread:t1';
const at = (offset: number) => ({ epoch: 'e1', offset });
const event = (offset: number, more: Record<string, unknown> = {}) =>
  wireEvent(STREAM, offset, 'message:delta', { id: 'm', text: `${offset} ` }, more);

const snapshotAt = (offset: number) => ({ status: 'snapshot', snapshot: {}, position: at(offset) });
const forbidden = {
  ok: false,
  error: { code: 'forbidden', message: 'Not you.', retryable: false },
};

let server: StreamServer;
let connection: Connection;

beforeEach(async () => {
  server = await StreamServer.start();
});
afterEach(async () => {
  connection.close();
  await server.stop();
});

/** Follow `STREAM` and keep what arrives. */
function follow() {
  const log = {
    offsets: [] as number[],
    snapshots: 0,
    failure: null as ParlourError | null,
    /** Resolves when offset `n` has arrived. */
    reached: (n: number) =>
      new Promise<void>((resolve) => {
        if (log.offsets.includes(n)) resolve();
        else waiting.push({ n, resolve });
      }),
  };
  const waiting: { n: number; resolve: () => void }[] = [];
  connection = connect({ url: server.url, transports: ['websocket'] });
  const follower = connection.follow(STREAM, {
    snapshot: () => (log.snapshots += 1),
    events: (events: readonly StreamEvent[]) => {
      for (const { offset } of events) {
        log.offsets.push(offset);
        waiting.filter(({ n }) => n === offset).forEach(({ resolve }) => resolve());
      }
    },
    failed: (error) => (log.failure = error),
  });
  return { log, follower };
}

const live = () => when(connection.state, ({ phase }) => phase === 'live');

describe('a follower', () => {
  test('starts from a snapshot and goes on behind it', async () => {
    server.answer('subscribe', () => ({ status: 'snapshot', snapshot: {}, position: at(4) }));
    const { log, follower } = follow();
    await live();

    server.emit('events', event(5));
    await log.reached(5);

    expect(log).toMatchObject({ snapshots: 1, offsets: [5] });
    expect(follower.position).toEqual(at(5));
  });

  test('drops what it has already seen', async () => {
    server.answer('subscribe', () => ({ status: 'snapshot', snapshot: {}, position: at(4) }));
    const { log } = follow();
    await live();

    for (const offset of [3, 4, 5, 5, 4, 6]) server.emit('events', event(offset));
    await log.reached(6);

    expect(log.offsets).toEqual([5, 6]);
  });

  test('joins again from its position at a gap', async () => {
    server.answer('subscribe', ({ position }) =>
      position
        ? { status: 'replayed', events: [event(5), event(6), event(7)], position: at(7) }
        : { status: 'snapshot', snapshot: {}, position: at(4) },
    );
    const { log } = follow();
    await live();

    server.emit('events', event(7));
    await log.reached(7);

    expect(log.offsets).toEqual([5, 6, 7]);
    expect(server.of('subscribe').map(({ position }) => position)).toEqual([undefined, at(4)]);
  });

  test('joins again at an event of another epoch', async () => {
    server.answer('subscribe', ({ position }) =>
      position
        ? { status: 'snapshot', snapshot: {}, position: { epoch: 'e2', offset: 9 } }
        : { status: 'snapshot', snapshot: {}, position: at(4) },
    );
    const { log, follower } = follow();
    await live();

    server.emit('events', event(9, { epoch: 'e2' }));
    await server.until(() => server.of('subscribe').length === 2);
    await live();

    expect(log.offsets).toEqual([]);
    expect(follower.position).toEqual({ epoch: 'e2', offset: 9 });
  });

  test('takes deltas that were joined for a slow reader', async () => {
    server.answer('subscribe', () => ({ status: 'snapshot', snapshot: {}, position: at(4) }));
    const { log, follower } = follow();
    await live();

    server.emit('events', event(8, { since: 4 }));
    await log.reached(8);

    expect(follower.position).toEqual(at(8));
  });

  test('does not take joined deltas of which it has seen a part', async () => {
    server.answer('subscribe', ({ position }) =>
      position
        ? { status: 'replayed', events: [event(7), event(8)], position: at(8) }
        : { status: 'snapshot', snapshot: {}, position: at(6) },
    );
    const { log } = follow();
    await live();

    server.emit('events', event(8, { since: 4 }));
    await log.reached(8);

    expect(log.offsets).toEqual([7, 8]);
  });

  test('merges what arrives while it joins', async () => {
    server.answer('subscribe', (_payload, socket) => {
      socket.emit('events', event(5));
      socket.emit('events', event(6));
      return { status: 'replayed', events: [event(4), event(5)], position: at(5) };
    });
    const { log } = follow();

    await log.reached(6);

    expect(log.offsets).toEqual([4, 5, 6]);
  });

  test('resumes every stream in one round trip after the connection was cut', async () => {
    server.answer('subscribe', ({ stream, position }) =>
      position
        ? { status: 'live', events: [], position }
        : { status: 'snapshot', snapshot: {}, position: { ...at(stream === STREAM ? 4 : 2) } },
    );
    const { log } = follow();
    connection.follow('user:u1', { snapshot: () => undefined, events: () => undefined });
    await live();

    server.cut();
    await when(connection.state, ({ phase }) => phase === 'offline');
    connection.retryNow();
    await server.until(() => server.of('subscribe').length === 4);
    await live();

    const again = server.of('subscribe').slice(2);
    expect(again.map(({ position }) => position)).toEqual([at(4), at(2)]);
    expect(log.snapshots).toBe(1);
  });

  test('asks for a snapshot when its position is lost', async () => {
    server.answer('subscribe', ({ position }) =>
      position
        ? { ok: false, error: { code: 'position_lost', message: 'gone', retryable: false } }
        : { status: 'snapshot', snapshot: {}, position: at(4) },
    );
    const { log } = follow();
    await live();

    server.emit('events', event(7));
    await server.until(() => server.of('subscribe').length === 3);
    await live();

    expect(log.snapshots).toBe(2);
  });

  test('joins again when the server took it out of the room', async () => {
    server.answer('subscribe', () => ({ status: 'snapshot', snapshot: {}, position: at(4) }));
    follow();
    await live();

    server.emit('access:updated', { room: STREAM, reason: 'position_lost' });
    await server.until(() => server.of('subscribe').length === 2);

    expect(server.of('subscribe')[1]).toMatchObject({ stream: STREAM, position: at(4) });
  });

  test('tells of a refusal and does not hold up the others', async () => {
    server.answer('subscribe', () => ({
      ok: false,
      error: { code: 'not_found', message: 'No such conversation.', retryable: false },
    }));
    const { log } = follow();

    await live();

    expect(log.failure?.code).toBe('not_found');
    expect(server.of('subscribe')).toHaveLength(1);
  });

  test('starts over by itself when events come again after it was shut out', async () => {
    let allowed = true;
    server.answer('subscribe', () => (allowed ? snapshotAt(30) : forbidden));
    const { log } = follow();
    await live();
    allowed = false;
    server.emit('access:updated', { room: STREAM, reason: 'removed' });
    await vi.waitFor(() => expect(log.failure?.code).toBe('forbidden'));
    allowed = true;

    server.emit('events', event(30));
    await server.until(() => server.of('subscribe').length === 3);
    server.emit('events', event(31));
    await log.reached(31);

    expect(log).toMatchObject({ snapshots: 2, offsets: [31] });
    expect(server.of('subscribe')[2]).not.toHaveProperty('position');
  });

  test('asks once more when events come together with a refusal', async () => {
    server.answer('subscribe', (_payload, socket) => {
      if (server.of('subscribe').length > 1) return snapshotAt(30);
      socket.emit('events', event(30));
      return forbidden;
    });
    const { log } = follow();
    await live();

    server.emit('events', event(31));
    await log.reached(31);

    expect(log).toMatchObject({ snapshots: 1, offsets: [31], failure: null });
  });
});

describe('readEvent', () => {
  test('reads RFC 3339 times and flat events', () => {
    const flat = {
      stream: 's',
      epoch: 'e',
      offset: 3,
      type: 't',
      data: {},
      at: '1970-01-01T00:00:01Z',
    };

    expect(readEvent(flat)).toMatchObject({ type: 't', offset: 3, since: 2, at: 1000 });
  });

  test.each([null, 5, 'x', [], {}, { stream: 's' }, { stream: 's', epoch: 'e', offset: '1' }])(
    'gives null for %j',
    (payload) => {
      expect(readEvent(payload)).toBeNull();
    },
  );
});
