import { describe, expect, test } from 'vitest';

import { formatBytes, formatCountdown, formatSpan, groupByAge, initials } from '../src/lib/format';

const now = new Date(2026, 10, 20, 14, 0);
const at = (day: number, hour = 12, month = 10, year = 2026) => ({
  updated_at: new Date(year, month, day, hour).getTime(),
});

describe('the headings of the list', () => {
  test('follow the calendar, not spans of 24 hours', () => {
    const rows = [at(20, 0), at(19, 23), at(15), at(1), at(3, 12, 8), at(3, 12, 8, 2025)];

    const labels = groupByAge(rows, now).map(({ label }) => label);

    expect(labels).toEqual([
      'Today',
      'Yesterday',
      'Previous 7 days',
      'Previous 30 days',
      'September',
      'September 2025',
    ]);
  });

  test('keep the order of the rows', () => {
    const rows = [at(20, 13), at(20, 12), at(20, 11)];

    expect(groupByAge(rows, now)).toEqual([{ label: 'Today', items: rows }]);
  });

  test('call what comes from a clock that is ahead today', () => {
    expect(groupByAge([at(21)], now)[0]?.label).toBe('Today');
  });
});

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [1537, '1.5 kB'],
  [12_000, '12 kB'],
  [999_600, '1.0 MB'],
  [25_000_000, '25 MB'],
])('%d bytes read %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

test.each([
  [60_000, '1:00'],
  [59_001, '1:00'],
  [1, '0:01'],
  [0, '0:00'],
  [-5, '0:00'],
  [3_725_000, '1:02:05'],
])('%d ms left read %s', (left, text) => {
  expect(formatCountdown(left)).toBe(text);
});

test.each([
  [40, '0.0 s'],
  [1_340, '1.3 s'],
  [12_400, '12 s'],
  [185_000, '3 min 05 s'],
])('a span of %d ms reads %s', (span, text) => {
  expect(formatSpan(span)).toBe(text);
});

test.each([
  ['Ada Lovelace', 'AL'],
  ['demo', 'D'],
  ['jean-luc.picard@example.org', 'JO'],
  ['  ', '?'],
  ['𝒳avier', '𝒳'],
])('%j has the initials %s', (name, letters) => {
  expect(initials(name)).toBe(letters);
});
