import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { connect, Store, type Connection, type ConnectOptions, type Tabs } from '../src/index.js';
import { backOff, HEARTBEAT_MS } from '../src/connection.js';
import { StreamServer } from './server.js';
import { when } from './stores.js';

let server: StreamServer;
let connection: Connection | undefined;

beforeEach(async () => {
  server = await StreamServer.start();
});
afterEach(async () => {
  connection?.close();
  await server.stop();
});

function open(options: ConnectOptions = {}): Connection {
  connection = connect({ url: server.url, transports: ['websocket'], ...options });
  return connection;
}

describe('a connection', () => {
  test('is connecting first and then live', async () => {
    const phases: string[] = [];

    const opened = open();
    opened.state.subscribe(({ phase }) => phases.push(phase));
    await when(opened.state, ({ phase }) => phase === 'live');

    expect(phases).toEqual(['connecting', 'live']);
  });

  test.each(['unauthenticated', 'token_expired', 'forbidden', 'unsupported_protocol'])(
    'stops for good when it is refused as %s',
    async (code) => {
      server.refusal = { code, message: 'No.' };
      const onRefused = vi.fn();

      const opened = open({ onRefused });
      const state = await when(opened.state, ({ phase }) => phase === 'refused');
      opened.retryNow();

      expect(state.error?.code).toBe(code);
      expect(onRefused).toHaveBeenCalledOnce();
      expect(server.connections).toBe(1);
    },
  );

  test('comes back by itself after a refusal that passes', async () => {
    server.refusal = { code: 'shutting_down', message: 'Soon.' };
    const opened = open();
    const offline = await when(opened.state, ({ phase }) => phase === 'offline');

    server.refusal = null;
    opened.retryNow();
    const state = await when(opened.state, ({ phase }) => phase === 'live');

    expect(offline.error?.code).toBe('shutting_down');
    expect(state.error).toBeNull();
  });

  test('waits as long as the server asks before it dials again', async () => {
    const opened = open();
    await when(opened.state, ({ phase }) => phase === 'live');

    server.emit('reconnect', { reason: 'drain', after_ms: 60_000 });
    server.cut();
    const { retryAt } = await when(opened.state, ({ phase }) => phase === 'offline');

    expect(retryAt! - Date.now()).toBeGreaterThan(50_000);
  });

  test('is resyncing, not connecting, when it was live before', async () => {
    server.answer('subscribe', () => ({ status: 'live', position: { epoch: 'e', offset: 0 } }));
    const opened = open();
    opened.follow('thread:t', { snapshot: () => undefined, events: () => undefined });
    await when(opened.state, ({ phase }) => phase === 'live');
    const phases: string[] = [];

    server.cut();
    await when(opened.state, ({ phase }) => phase === 'offline');
    const stop = opened.state.subscribe(({ phase }) => phases.push(phase));
    opened.retryNow();
    await when(opened.state, ({ phase }) => phase === 'live');
    stop();

    expect([...new Set(phases)]).toEqual(['offline', 'resyncing', 'live']);
  });

  test('rejects a request when the connection closes before the answer', async () => {
    server.silent.add('settings:update');
    const opened = open();
    await when(opened.state, ({ phase }) => phase === 'live');

    const request = opened.request('settings:update', {});
    await server.until(() => server.of('settings:update').length === 1);
    server.cut();

    await expect(request).rejects.toMatchObject({ code: 'unanswered', retryable: true });
  });

  test('rejects a request that the server refuses with its code', async () => {
    server.answer('settings:update', () => ({
      ok: false,
      error: { code: 'forbidden', message: 'Not yours.', retryable: false },
    }));
    const opened = open();
    await when(opened.state, ({ phase }) => phase === 'live');

    const request = opened.request('settings:update', {});

    await expect(request).rejects.toMatchObject({ code: 'forbidden', message: 'Not yours.' });
  });

  test('falls back to polling where WebSockets do not pass', async () => {
    const opened = open({ transports: ['polling'] });

    const state = await when(opened.state, ({ phase }) => phase === 'live');

    expect(state.phase).toBe('live');
  });

  test('closes once and stays closed', async () => {
    const opened = open();
    await when(opened.state, ({ phase }) => phase === 'live');

    opened.close();
    opened.close();
    opened.retryNow();

    expect(opened.state.get().phase).toBe('closed');
    expect(server.connections).toBe(1);
  });
});

describe('offline', () => {
  test('is said after the configured number of attempts, and no longer once connected', async () => {
    server.refusal = { code: 'shutting_down', message: 'Soon.' };
    const opened = open({ offlineAfter: 2 });
    const told: boolean[] = [];
    for (let attempt = 0; attempt < 3; attempt += 1) {
      const state = await when(
        opened.state,
        ({ phase, attempts }) => phase === 'offline' && attempts === attempt,
      );
      told.push(state.offline);
      if (attempt === 2) server.refusal = null;
      opened.retryNow();
    }

    const state = await when(opened.state, ({ phase }) => phase === 'live');

    expect(told).toEqual([false, false, true]);
    expect(state).toMatchObject({ offline: false, attempts: 0 });
  });
});

describe('among several tabs', () => {
  test('only the one that leads sends heartbeats, at once when it begins to', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const leads = new Store(false);
    const opened = open({ tabs: { leads } as unknown as Tabs });
    await when(opened.state, ({ phase }) => phase === 'live');
    vi.advanceTimersByTime(HEARTBEAT_MS * 3);
    await opened.request('usage', {});
    const following = server.of('heartbeat').length;

    leads.set(true);
    await server.until(() => server.of('heartbeat').length === 1);
    vi.advanceTimersByTime(HEARTBEAT_MS);
    await server.until(() => server.of('heartbeat').length === 2);
    vi.useRealTimers();

    expect(following).toBe(0);
  });
});

describe('the back-off', () => {
  test('doubles up to five seconds', () => {
    expect([0, 1, 2, 3, 9].map((attempt) => backOff(attempt, () => 0.5))).toEqual([
      1000, 2000, 4000, 5000, 5000,
    ]);
  });

  test('is spread by half in both directions', () => {
    expect([backOff(0, () => 0), backOff(0, () => 1)]).toEqual([500, 1500]);
  });
});

describe('a call of the app', () => {
  async function called(name: string, args: unknown): Promise<unknown> {
    await when(connection!.state, ({ phase }) => phase === 'live');
    return await server.call('call', { call_id: 'c1', name, args });
  }

  test('is answered by the function that was offered', async () => {
    open().offer('double', async (args) => (args as { n: number }).n * 2);

    expect(await called('double', { n: 21 })).toBe(42);
  });

  test('is declined where nothing is offered, or no longer', async () => {
    const withdraw = open().offer('double', () => 1);
    withdraw();

    expect(await called('double', {})).toMatchObject({
      ok: false,
      error: { code: 'unknown_function' },
    });
  });

  test('that fails says why instead of staying silent', async () => {
    open().offer('break', () => {
      throw new Error('no camera here');
    });

    expect(await called('break', {})).toMatchObject({
      ok: false,
      error: { code: 'call_failed', message: 'no camera here' },
    });
  });
});
