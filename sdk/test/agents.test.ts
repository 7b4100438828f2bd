/** Agent sessions: the folds, against vectors that the server shares, and the live view over a real socket. */

import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import {
  AGENT_EVENT_TYPES,
  AgentList,
  AgentsApi,
  AgentSession,
  agentStateFrom,
  Api,
  connect,
  EMPTY_AGENT_STATE,
  EMPTY_TIMELINE,
  foldAgentRows,
  foldAgentState,
  foldTimeline,
  listUnsent,
  mayRequest,
  readAgentEvent,
  readEvent,
  Recording,
  type AgentEvent,
  type AgentInfo,
  type AgentView,
  type Connection,
  type StepItem,
  type TimelineItem,
} from '../src/index.js';
import { StreamServer } from './server.js';
import { when } from './stores.js';

const FOLDER = new URL('../../tests/golden/agent/', import.meta.url);
const ID = 'session-1';
const STREAM = `agent:${ID}`;
const ANN = { id: 'ann', name: 'Ann' };

interface Vector {
  name: string;
  state: Record<string, unknown>;
  events: unknown[];
  expected: unknown;
}

const vectors = readdirSync(FOLDER).map(
  (name) => JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8')) as Vector,
);

function eventsOf(payloads: readonly unknown[]): AgentEvent[] {
  return payloads
    .map(readEvent)
    .filter((event) => event !== null)
    .map(readAgentEvent);
}

type Fields = Record<string, unknown>;

/** An event as it travels. */
function payload(id: number, fields: Fields): Fields {
  const timestamp = new Date(1_700_000_000_000 + id * 1_000).toISOString();
  const place = { conversation_id: ID, stream: STREAM, epoch: 'e1', offset: id, id, timestamp };
  return { ...place, source: 'environment', message: '', ...fields };
}

const action = (id: number, name: string, args: Fields, more: Fields = {}) =>
  payload(id, { source: 'agent', action: name, args, ...more });
const said = (id: number, content: string, more: Fields = {}) =>
  action(id, 'message', { content }, { source: 'user', user: ANN, command_id: `c${id}`, ...more });
const asked = (id: number, args: Fields) =>
  action(id, 'change_agent_state', args, { source: 'user', user: ANN, command_id: `c${id}` });
const seen = (id: number, name: string, extras: Fields, cause?: number, content = '') =>
  payload(id, { observation: name, content, extras, ...(cause === undefined ? {} : { cause }) });
const became = (id: number, agent_state: string, more: Fields = {}, cause?: number) =>
  seen(id, 'agent_state_changed', { agent_state, ...more }, cause);

function items(...payloads: unknown[]): readonly TimelineItem[] {
  return foldTimeline(EMPTY_TIMELINE, eventsOf(payloads)).items;
}

describe('the vectors shared with the server', () => {
  test('name every event type, and every one can be read', () => {
    const events = vectors.flatMap(({ events }) => eventsOf(events));
    const types = new Set(events.map(({ kind, name }) => `${kind}:${name}`));

    expect([...AGENT_EVENT_TYPES].filter((type) => !types.has(type))).toEqual([]);
    expect(events.filter(({ kind }) => kind === 'unknown')).toEqual([]);
  });

  test.each(vectors)('$name', ({ state, events, expected }) => {
    const folded = foldAgentState(agentStateFrom(state), eventsOf(events));

    expect(folded).toEqual(expected);
  });
});

describe('an event', () => {
  test('that does not have its shape is unknown, and changes nothing but the number', () => {
    const [event] = eventsOf([action(4, 'run', { command: 7 })]);

    const state = foldAgentState(EMPTY_AGENT_STATE, [event!]);

    expect(event).toMatchObject({ kind: 'unknown', name: 'action:run' });
    expect(state).toEqual({ ...EMPTY_AGENT_STATE, offset: 4 });
    expect(foldTimeline(EMPTY_TIMELINE, [event!]).items).toEqual([]);
  });

  test('of a name that every object has is unknown', () => {
    const [event] = eventsOf([action(1, 'constructor', {})]);

    expect(event?.kind).toBe('unknown');
  });
});

describe('the timeline', () => {
  const step = (...payloads: unknown[]): StepItem =>
    items(...payloads).find((item) => item.kind === 'step')!;

  test('joins an action with what came of it', () => {
    const run = step(
      action(1, 'run', { command: 'make', thought: 'Try it.' }),
      seen(2, 'run', { exit_code: 2, command: 'make' }, 1, 'boom'),
    );

    expect(run).toMatchObject({ id: 1, status: 'failed', result: { content: 'boom' } });
    expect(run.ended_at! - run.began_at).toBe(1_000);
  });

  test.each([
    [{ exit_code: 0 }, 'done'],
    [{ exit_code: 1 }, 'failed'],
    [{ timed_out: true }, 'interrupted'],
  ])('says of a command with %o that it is %s', (extras, status) => {
    const run = step(action(1, 'run', { command: 'x' }), seen(2, 'run', extras, 1));

    expect(run.status).toBe(status);
  });

  test('says who agreed, and counts from then on', () => {
    const events = [
      action(1, 'run', { command: 'x' }, { confirmation_state: 'awaiting_confirmation' }),
      became(2, 'awaiting_user_confirmation', { ask_id: 1 }, 1),
      asked(7, { agent_state: 'user_confirmed', ask_id: 1 }),
      became(8, 'running', { confirmed: true }, 7),
    ];

    const before = step(...events.slice(0, 2));
    const after = step(...events);

    expect(before.status).toBe('asking');
    expect(after).toMatchObject({ status: 'running', decided_by: ANN });
    expect(after.began_at - before.began_at).toBe(7_000);
    expect(items(...events)).toHaveLength(1);
  });

  test('says who refused', () => {
    const refused = step(
      action(1, 'run', { command: 'x' }, { confirmation_state: 'awaiting_confirmation' }),
      asked(2, { agent_state: 'user_rejected', ask_id: 1 }),
      seen(3, 'user_rejected', { action_id: 1 }, 1),
      became(4, 'awaiting_user_input', { reason: 'rejected' }, 2),
    );

    expect(refused).toMatchObject({ status: 'refused', decided_by: ANN });
  });

  test('leaves nothing running or asked for when a run is stopped', () => {
    const stopped = items(
      action(1, 'delegate', { agent: 'a', task: 't' }),
      action(2, 'run', { command: 'x' }),
      action(3, 'run', { command: 'y' }, { confirmation_state: 'awaiting_confirmation' }),
      asked(4, { agent_state: 'stopped' }),
      became(5, 'stopped', {}, 4),
      said(6, 'again'),
    );

    expect(stopped.map((item) => (item.kind === 'step' ? item.status : item.kind))).toEqual([
      ...['interrupted', 'interrupted', 'refused', 'state', 'message'],
    ]);
    expect(stopped.at(-1)?.depth).toBe(0);
  });

  test('tells who paused and what a limit did, but not what goes without saying', () => {
    const told = items(
      became(1, 'running', { began: true }),
      asked(2, { agent_state: 'paused' }),
      became(3, 'paused', {}, 2),
      asked(4, { agent_state: 'running' }),
      became(5, 'running', { began: true }, 4),
      became(6, 'paused', { reason: 'iteration_limit' }),
      became(7, 'finished'),
    );

    expect(told).toMatchObject([
      { kind: 'state', state: 'paused', user: ANN },
      { kind: 'state', state: 'running', user: ANN },
      { kind: 'state', state: 'paused', user: null, reason: 'iteration_limit' },
    ]);
  });

  test('tells a failure once, with its reference', () => {
    const told = items(
      seen(1, 'error', { code: 'internal', reference: 'r1' }, undefined, 'Broken'),
      became(2, 'error', { reason: 'internal' }),
    );

    expect(told).toMatchObject([{ kind: 'error', text: 'Broken', reference: 'r1' }]);
  });

  test('knows what the agent has read', () => {
    const [first, second] = items(
      said(1, 'one'),
      said(2, 'two'),
      seen(3, 'input_taken', { ids: [1] }),
    );

    expect([first, second]).toMatchObject([{ taken: true }, { taken: false }]);
  });

  test('puts what a sub-agent does below the one that asked it', () => {
    const nested = items(
      action(1, 'delegate', { agent: 'a', task: 't' }),
      action(2, 'run', { command: 'x' }),
      seen(3, 'run', { exit_code: 0 }, 2),
      seen(4, 'delegate', { agent: 'a' }, 1, 'done'),
      action(5, 'run', { command: 'y' }),
    );

    expect(nested.map(({ depth }) => depth)).toEqual([0, 1, 0]);
    expect(nested[0]).toMatchObject({ status: 'done' });
  });

  test('folds one event at a time as it folds all at once, and leaves what it was given alone', () => {
    const events = vectors.flatMap(({ events }) => eventsOf(events).slice(1));
    const at = EMPTY_TIMELINE.items.length;

    const once = foldTimeline(EMPTY_TIMELINE, events);
    const steps = events.reduce((before, event) => foldTimeline(before, [event]), EMPTY_TIMELINE);

    expect(steps).toEqual(once);
    expect(EMPTY_TIMELINE.items).toHaveLength(at);
  });
});

describe('a recording', () => {
  const events = eventsOf([
    said(1, 'go'),
    action(2, 'write', { path: 'a', content: 'one two' }),
    seen(3, 'write', { path: 'a' }, 2),
    action(4, 'edit', { path: 'a', old: 'two', new: '$& three' }),
    seen(5, 'edit', { path: 'a', diff: '' }, 4),
    action(6, 'edit', { path: 'a', old: 'one', new: 'ONE' }),
    seen(7, 'error', { code: 'not_found' }, 6),
  ]);

  test('shows any moment, forwards and backwards, with its files', () => {
    const recording = new Recording(events);

    const ends = recording.at(7);
    const middle = recording.at(4);

    expect(ends.files).toEqual(new Map([['a', 'one $& three']]));
    expect(middle.files).toEqual(new Map([['a', 'one two']]));
    expect(middle.state.pending?.id).toBe(4);
    expect(recording.at(0).timeline.items).toEqual([]);
    expect(recording.at(99)).toEqual(ends);
  });

  test('of many events is the same at every moment as a fold from the beginning', () => {
    const many = eventsOf(
      Array.from({ length: 450 }, (_, index) => action(index + 1, 'run', { command: `${index}` })),
    );
    const recording = new Recording(many);

    const moments = [450, 199, 200, 201, 400, 0].map((at) => recording.at(at).timeline);

    expect(moments.map(({ items }) => items.length)).toEqual([450, 199, 200, 201, 400, 0]);
    expect(moments[4]).toEqual(foldTimeline(EMPTY_TIMELINE, many.slice(0, 400)));
  });
});

test('only what the table allows can be asked for', () => {
  const running = { ...EMPTY_AGENT_STATE, state: 'running' } as const;
  const requests = ['running', 'paused', 'stopped', 'user_confirmed', 'user_rejected'] as const;

  expect(requests.filter((request) => mayRequest(running, request))).toEqual(['paused', 'stopped']);
});

test('the list follows what is heard, newest first', () => {
  const row = (id: string, updated_at: number) => ({ id, updated_at, title: id }) as AgentInfo;
  const rows = [row('a', 2), row('b', 1)];

  const after = foldAgentRows(rows, { ...row('b', 3), reason: 'renamed' });

  expect(after?.map(({ id }) => id)).toEqual(['b', 'a']);
  expect(after?.[0]).not.toHaveProperty('reason');
  expect(foldAgentRows(rows, { ...row('a', 4), reason: 'members' })).toBeNull();
});

describe('a session that is followed', () => {
  let server: StreamServer;
  let http: HttpServer;
  let connection: Connection;
  let api: AgentsApi;
  /** Everything that happened. */
  let history: Fields[];
  let role: string;
  const asksFor: string[] = [];

  beforeEach(async () => {
    history = [said(1, 'go'), became(2, 'running', { began: true }, 1)];
    role = 'drive';
    asksFor.length = 0;
    server = await StreamServer.start();
    server.answer('subscribe', ({ position }) => {
      const at = { epoch: 'e1', offset: history.length };
      const from = (position as { offset: number } | undefined)?.offset;
      if (from !== undefined) {
        return { status: 'replayed', events: history.slice(from), position: at };
      }
      const state = foldAgentState(EMPTY_AGENT_STATE, eventsOf(history));
      const session = { id: ID, title: 'Task' };
      const snapshot = { session, state, role, latest_event_id: history.length };
      return { status: 'snapshot', snapshot, events: [], position: at };
    });
    http = createServer((request, response) => {
      const url = new URL(request.url!, 'http://x');
      asksFor.push(url.pathname + url.search);
      response.setHeader('content-type', 'application/json');
      const body = url.pathname.endsWith('/events') ? page(url.searchParams) : { id: ID, role };
      response.end(JSON.stringify(body));
    });
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    const port = (http.address() as AddressInfo).port;
    api = new AgentsApi(new Api({ url: `http://127.0.0.1:${port}` }));
    connection = connect({ url: server.url, transports: ['websocket'] });
  });
  afterEach(async () => {
    connection.close();
    http.close();
    await server.stop();
  });

  function page(query: URLSearchParams): Fields {
    const limit = Number(query.get('limit'));
    const reverse = query.get('reverse') === 'true';
    const first = Number(query.get('start_id') ?? 1);
    const last = Number(query.get('end_id') ?? history.length);
    const found = history.slice(first - 1, last);
    if (reverse) found.reverse();
    const next = found[limit]?.['id'] ?? null;
    return { events: found.slice(0, limit), latest_event_id: history.length, next_id: next };
  }

  /** Something happens, and is told. */
  function happens(...payloads: Fields[]): void {
    history.push(...payloads);
    for (const one of payloads) server.emit('oh_event', one);
  }

  const open = (agent: AgentSession) => when(agent.view, ({ phase }) => phase === 'open');
  const ids = ({ events }: AgentView): number[] => events.map(({ id }) => id);
  const count = (to: number): number[] => Array.from({ length: to }, (_, index) => index + 1);

  test('shows what was and what comes, each once and in order', async () => {
    const agent = new AgentSession(connection, api, ID);
    await open(agent);

    happens(action(3, 'run', { command: 'ls' }), seen(4, 'run', { exit_code: 0 }, 3));
    const view = await when(agent.view, ({ state }) => state.offset === 4);

    expect(ids(view)).toEqual([1, 2, 3, 4]);
    expect(view).toMatchObject({ role: 'drive', earlier: false, session: { title: 'Task' } });
    expect(view.timeline.items.map(({ kind }) => kind)).toEqual(['message', 'step']);
  });

  test('goes on from its newest event after a break', async () => {
    const agent = new AgentSession(connection, api, ID);
    await open(agent);
    server.cut();
    history.push(action(3, 'run', { command: 'ls' }));

    const view = await when(agent.view, ({ state }) => state.offset === 3);

    expect(ids(view)).toEqual([1, 2, 3]);
    expect(server.of('subscribe').at(-1)?.['position']).toEqual({ epoch: 'e1', offset: 2 });
  });

  test('reads a long history from its end, a page at a time', async () => {
    history = count(450).map((id) => action(id, 'run', { command: `${id}` }));
    const agent = new AgentSession(connection, api, ID);
    const first = await open(agent);

    await agent.loadEarlier();
    await agent.loadEarlier();

    expect([first.events.length, first.earlier]).toEqual([200, true]);
    expect(ids(agent.view.get())).toEqual(count(450));
    expect(agent.view.get().earlier).toBe(false);
  });

  test('gives every event after a number as a stream: what was missed, then what comes', async () => {
    history = count(230).map((id) => action(id, 'run', { command: `${id}` }));
    const agent = new AgentSession(connection, api, ID);
    const heard: number[] = [];

    for await (const { id } of agent.stream(5)) {
      heard.push(id);
      if (id === 230) happens(action(231, 'run', { command: 'new' }));
      if (id === 231) agent.close();
    }

    expect(heard).toEqual(count(231).slice(5));
  });

  test('gives the whole history as a recording', async () => {
    history = count(1_300).map((id) => action(id, 'run', { command: `${id}` }));
    const agent = new AgentSession(connection, api, ID);
    await open(agent);

    const recording = await agent.recording();

    expect(recording.events.map(({ id }) => id)).toEqual(count(1_300));
  });

  test('shows words and output while they come, until the event holds them', async () => {
    const agent = new AgentSession(connection, api, ID);
    await open(agent);

    server.emit('oh_signal', { conversation_id: ID, type: 'delta', text: 'I ' });
    server.emit('oh_signal', { conversation_id: ID, type: 'delta', text: 'begin' });
    server.emit('oh_signal', { conversation_id: 'other', type: 'delta', text: '!' });
    server.emit('oh_signal', { conversation_id: ID, type: 'output', text: 'ok\n' });
    const during = await when(agent.view, ({ printing }) => printing !== '');
    happens(action(3, 'think', { thought: 'I begin' }));
    const after = await when(agent.view, ({ state }) => state.offset === 3);

    expect([during.saying, during.printing]).toEqual(['I begin', 'ok\n']);
    expect([after.saying, after.printing]).toEqual(['', '']);
  });

  test('shows a message at once, and once only when its event comes before the answer', async () => {
    server.silent.add('oh_user_action');
    const agent = new AgentSession(connection, api, ID);
    await open(agent);

    void agent.send('Use pytest', 'queue').catch(() => undefined);
    const waiting = agent.view.get().pending;
    await server.until(() => server.of('oh_user_action').length > 0);
    const [sent] = server.of('oh_user_action');
    happens(said(3, 'Use pytest', { command_id: sent!['command_id'] }));
    const view = await when(agent.view, ({ state }) => state.offset === 3);

    expect(waiting).toMatchObject([{ content: 'Use pytest', action: 'message' }]);
    expect(sent).toMatchObject({
      conversation_id: ID,
      action: 'message',
      args: { content: 'Use pytest', policy: 'queue' },
    });
    expect(view.pending).toEqual([]);
  });

  test('is named by what waits to be sent to it', async () => {
    const agent = new AgentSession(connection, api, ID);
    await open(agent);
    server.cut();
    await when(connection.state, ({ phase }) => phase === 'offline');

    void agent.send('Use pytest').catch(() => undefined);

    const [waiting] = listUnsent(connection.outbox.pending.get());
    expect(waiting).toMatchObject({ text: 'Use pytest', place: { kind: 'agent', id: ID } });
  });

  test('tells who was faster with an answer', async () => {
    server.answer('oh_user_action', () => ({ id: 9, accepted: false, by: ANN }));
    const agent = new AgentSession(connection, api, ID);
    await open(agent);

    const decision = await agent.confirm(7);

    expect(decision).toEqual({ accepted: false, by: ANN });
    expect(server.of('oh_user_action')).toMatchObject([
      { action: 'change_agent_state', args: { agent_state: 'user_confirmed', ask_id: 7 } },
    ]);
  });

  test('leaves nothing behind of a request that was refused', async () => {
    const error = { code: 'illegal_transition', message: 'No.', retryable: false };
    server.answer('oh_user_action', () => ({ ok: false, error }));
    const agent = new AgentSession(connection, api, ID);
    await open(agent);

    const refused = agent.pause();

    await expect(refused).rejects.toMatchObject({ code: 'illegal_transition' });
    expect(connection.outbox.pending.get()).toEqual([]);
  });

  test('learns its new role', async () => {
    role = 'watch';
    const agent = new AgentSession(connection, api, ID);
    await open(agent);

    role = 'comment';
    server.emit('agent:updated', { id: ID, title: 'Task', reason: 'members' });
    const view = await when(agent.view, (view) => view.role === 'comment');

    expect(view.session).toEqual({ id: ID, title: 'Task' });
  });

  test('shows nothing any more of one that is deleted', async () => {
    const agent = new AgentSession(connection, api, ID);
    await open(agent);

    server.emit('agent:deleted', { id: ID });
    const view = await when(agent.view, ({ phase }) => phase === 'failed');

    expect(view).toMatchObject({ events: [], timeline: { items: [] }, session: null });
    expect(view.error?.code).toBe('not_found');
  });

  test('is one row of a list that drops what is deleted', async () => {
    const rows = [{ id: 'a' }, { id: ID }] as AgentInfo[];
    const list = new AgentList(() => Promise.resolve(rows), connection);
    await when(list, ({ phase }) => phase === 'ready');
    await when(connection.state, ({ phase }) => phase === 'live');

    server.emit('agent:deleted', { id: 'a' });
    const view = await when(list, ({ items }) => items.length === 1);

    expect(view.items).toEqual([{ id: ID }]);
    list.close();
  });
});
