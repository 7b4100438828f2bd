import { readdirSync, readFileSync } from 'node:fs';

import { describe, expect, test } from 'vitest';

import {
  EMPTY_THREAD,
  EVENT_TYPES,
  fold,
  readEvent,
  threadFromSnapshot,
  threadToSnapshot,
  type FoldEvent,
  type StreamEvent,
} from '../src/index.js';

const FOLDER = new URL('../../tests/golden/thread/', import.meta.url);

interface Vector {
  name: string;
  snapshot: Parameters<typeof threadFromSnapshot>[0];
  events: unknown[];
  expected: unknown;
}

const vectors = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.json'))
  .map((name) => JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8')) as Vector);

function eventsOf(vector: Vector): StreamEvent[] {
  return vector.events.map(readEvent).filter((event) => event !== null);
}

function at(offset: number, type: string, data: Record<string, unknown>): FoldEvent {
  return { type, data, offset, at: offset };
}

describe('the vectors shared with the server', () => {
  test('are there, and name every event type', () => {
    const types = new Set(vectors.flatMap(eventsOf).map((event) => event.type));

    expect(vectors.length).toBeGreaterThan(20);
    expect([...EVENT_TYPES].filter((type) => !types.has(type))).toEqual([]);
  });

  test.each(vectors)('$name', (vector) => {
    const folded = fold(threadFromSnapshot(vector.snapshot), eventsOf(vector));

    expect(threadToSnapshot(folded)).toEqual(vector.expected);
  });

  test.each(vectors)('$name, one event at a time', (vector) => {
    const folded = eventsOf(vector).reduce(
      (state, event) => fold(state, [event]),
      threadFromSnapshot(vector.snapshot),
    );

    expect(threadToSnapshot(folded)).toEqual(vector.expected);
  });
});

describe('fold', () => {
  test('leaves the state that it was given alone', () => {
    const before = fold(EMPTY_THREAD, [at(1, 'message', { id: 'm', content: 'a' })]);

    fold(before, [at(2, 'message:delta', { id: 'm', text: 'b' })]);

    expect(before.messages.get('m')?.content).toBe('a');
  });

  test('keeps the identity of what it does not touch', () => {
    const before = fold(EMPTY_THREAD, [
      at(1, 'message', { id: 'one', content: 'a' }),
      at(2, 'message', { id: 'two', content: 'b' }),
    ]);

    const after = fold(before, [at(3, 'message:delta', { id: 'two', text: '!' })]);

    expect(after.messages.get('one')).toBe(before.messages.get('one'));
    expect(after.messages.get('two')).not.toBe(before.messages.get('two'));
  });

  test('keeps the order of first appearance for ids that look like numbers', () => {
    const state = fold(EMPTY_THREAD, [
      at(1, 'message', { id: '10', content: '' }),
      at(2, 'message', { id: '9', content: '' }),
    ]);

    expect([...state.messages.keys()]).toEqual(['10', '9']);
  });
});
