import type { ChannelMessage } from '@parlour/sdk';
import { describe, expect, test } from 'vitest';

import { dayLabel, toRows, typingLine } from '../src/channels/grouping';
import { fromWire, mentionAt, suggest, toWire } from '../src/channels/mentions';
import { parseRoute } from '../src/lib/router.svelte';

const ANN = { id: 'u1', name: 'Ann' };
const ANNA = { id: 'u2', name: 'Anna Lee' };

describe('mentions', () => {
  test.each([
    ['hi @Ann', 'hi @[Ann](user:u1)'],
    ['@Anna Lee, @Ann!', '@[Anna Lee](user:u2), @[Ann](user:u1)!'],
    ['@Annabel and ann@Ann.example', '@Annabel and ann@Ann.example'],
    ['nobody', 'nobody'],
  ])('%s is sent as %s', (text, wire) => {
    expect(toWire(text, [ANN, ANNA])).toBe(wire);
  });

  test('come back as they were written, in both spellings', () => {
    expect(fromWire('@[Ann](user:u1) and <@U:u2|Anna Lee>')).toEqual({
      text: '@Ann and @Anna Lee',
      people: [ANN, ANNA],
    });
  });

  test.each([
    ['hello @an', { start: 6, text: 'an' }],
    ['@', { start: 0, text: '' }],
    ['mail@an', null],
    ['@ann lee', null],
  ])('%j offers people: %j', (text, query) => {
    expect(mentionAt(text, text.length)).toEqual(query);
  });

  test('offer those first whose name begins so', () => {
    const lee = { id: 'u3', name: 'Lee' };

    expect(suggest([ANNA, lee, ANN], 'le')).toEqual([lee, ANNA]);
  });
});

describe('rows', () => {
  const at = new Date(2026, 4, 5, 10).getTime();
  const said = (seq: number, minutes: number, author = 'u1', more = {}): ChannelMessage =>
    ({
      id: `m${seq}`,
      seq,
      author: { id: author, name: author },
      created_at: at + minutes * 60_000,
      deleted_at: null,
      reply_to_id: null,
      ...more,
    }) as ChannelMessage;

  test('tell who wrote once for what was said together', () => {
    const rows = toRows([said(1, 0), said(2, 1), said(3, 9), said(4, 9, 'u2')], null, 'me');

    expect(rows.map((row) => (row.kind === 'message' ? row.first : row.kind))).toEqual([
      'day',
      true,
      false,
      true,
      true,
    ]);
  });

  test('begin again with each day', () => {
    const rows = toRows([said(1, 0), said(2, 24 * 60)], null, 'me');

    expect(rows.map((row) => row.kind)).toEqual(['day', 'message', 'day', 'message']);
  });

  test('mark where the unread ones of others begin, once', () => {
    const rows = toRows([said(1, 0), said(2, 1, 'me'), said(3, 1), said(4, 1)], 1, 'me');

    expect(rows.map((row) => row.key).slice(1)).toEqual(['m1', 'm2', 'unread', 'm3', 'm4']);
  });

  test('name today and yesterday', () => {
    const now = new Date(at);

    expect(dayLabel(at, now)).toBe('Today');
    expect(dayLabel(at - 86_400_000, now)).toBe('Yesterday');
    expect(dayLabel(at - 3 * 86_400_000, now)).toBe('Saturday, May 2');
  });
});

test.each([
  [[], ''],
  [['Ann'], 'Ann is writing…'],
  [['Ann', 'Bob'], 'Ann and Bob are writing…'],
  [['Ann', 'Bob', 'Eve'], 'Ann and 2 others are writing…'],
])('%j: %s', (names, line) => {
  expect(typingLine(names)).toBe(line);
});

test.each([
  ['/channels', { name: 'channels' }],
  ['/channels/abc_1', { name: 'channel', id: 'abc_1' }],
  ['/channels/a/b', { name: 'not-found' }],
  ['/admin', { name: 'admin' }],
])('%s leads to %j', (path, route) => {
  expect(parseRoute(path)).toEqual(route);
});
