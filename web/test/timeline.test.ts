import { EMPTY_THREAD, fold, type FoldEvent, type Message } from '@parlour/sdk';
import { describe, expect, test } from 'vitest';

import { countWriters, isThinking, timeline, toText } from '../src/conversation/timeline';

let offset = 0;
const event = (type: string, data: Record<string, unknown>): FoldEvent => ({
  type,
  data,
  offset: (offset += 1),
  at: offset,
});
const message = (id: string, more: object = {}) =>
  event('message', { id, role: 'assistant', content: 'x', ...more });
const step = (id: string, parent: string | null = null) =>
  event('step', { id, name: id, status: 'done', parent_id: parent });
const viewOf = (events: FoldEvent[], older: Message[] = []) => ({
  thread: fold(EMPTY_THREAD, events),
  older,
});

describe('the timeline', () => {
  test('puts messages, steps and asks in the order in which they appeared', () => {
    const view = viewOf([
      message('m1'),
      step('s1'),
      message('m2'),
      event('ask', {
        ask_id: 'a1',
        content: '?',
        spec: { type: 'text', timeout_at: 1 },
        run_id: 'r',
      }),
    ]);

    expect(timeline(view).map(({ key }) => key)).toEqual(['m:m1', 's:s1', 'm:m2', 'a:a1']);
  });

  test('groups neighbouring steps and nests their children', () => {
    const view = viewOf([step('s1'), step('child', 's1'), step('s2'), message('m'), step('s3')]);

    const groups = timeline(view).filter((item) => item.kind === 'steps');

    expect(groups.map(({ steps }) => steps.map((node) => node.step.id))).toEqual([
      ['s1', 's2'],
      ['s3'],
    ]);
    expect(groups[0]!.steps[0]!.children.map((node) => node.step.id)).toEqual(['child']);
  });

  test('shows a step whose parent is gone, or that names itself, at the top', () => {
    const view = viewOf([step('orphan', 'gone'), step('self', 'self')]);

    expect(timeline(view)).toMatchObject([
      { steps: [{ step: { id: 'orphan' } }, { step: { id: 'self' } }] },
    ]);
  });

  test('puts older messages first', () => {
    const older = [
      { id: 'old', role: 'user', content: '', author: null, created_at: 0, offset: 900 },
    ] as Message[];

    expect(timeline(viewOf([message('m1')], older)).map(({ key }) => key)).toEqual([
      'm:old',
      'm:m1',
    ]);
  });
});

describe('thinking', () => {
  const thinking = (events: FoldEvent[]): boolean =>
    isThinking({
      ...viewOf(events),
      phase: 'open',
      error: null,
      permission: 'owner',
      olderState: 'complete',
      pending: [],
      stopping: false,
    });
  const started = event('run:started', { run_id: 'r' });

  test.each([
    ['nothing runs', [], false],
    ['a run has said nothing yet', [started], true],
    ['text is being written', [started, message('m', { streaming: true })], false],
    [
      'a message was opened without text',
      [started, message('m', { streaming: true, content: '' })],
      true,
    ],
  ])('when %s: %j', (_name, events, expected) => {
    expect(thinking(events as FoldEvent[])).toBe(expected);
  });
});

test.each([
  [null, ''],
  [undefined, ''],
  ['text', 'text'],
  [{ a: 1 }, '{\n  "a": 1\n}'],
])('a step value %j reads %j', (value, text) => {
  expect(toText(value)).toBe(text);
});

test('people who wrote count once each, in what was read earlier as well; the app does not', () => {
  const by = (id: string) => ({ role: 'user', author: { id, name: id } });
  const older = [...viewOf([message('m0', by('cara'))]).thread.messages.values()];
  const view = viewOf(
    [message('m1', by('ann')), message('m2'), message('m3', by('bob')), message('m4', by('ann'))],
    older,
  );

  expect(countWriters(view)).toBe(3);
});
