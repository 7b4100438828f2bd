import { describe, expect, test } from 'vitest';

import { changeBetween, moved } from '../src/notes/editor/title';
import { isSafeLink, readLink } from '../src/notes/links';

describe('a link in a note', () => {
  test.each([
    ['https://example.org/a?b=c#d', 'https://example.org/a?b=c#d'],
    ['example.org/plan', 'https://example.org/plan'],
    ['localhost:8000/x', 'https://localhost:8000/x'],
    ['ada@example.org', 'mailto:ada@example.org'],
    ['mailto:ada@example.org', 'mailto:ada@example.org'],
    ['/api/files/f1', '/api/files/f1'],
  ])('%s is meant as %s', (typed, address) => {
    expect(readLink(typed)).toBe(address);
  });

  test.each([
    ['javascript:alert(1)'],
    ['JaVa\u0000Script:alert(1)'],
    [' java\nscript:alert(1)'],
    ['\u200bjavascript:alert(1)'],
    ['data:text/html,<script>1</script>'],
    ['vbscript:x'],
    ['blob:https://example.org/1'],
    ['file:///etc/passwd'],
    ['//example.org/x'],
    ['/api/auth/sign-out'],
    ['/api/files/../auth/sign-out'],
    ['not an address'],
    [''],
  ])('%j leads nowhere', (typed) => {
    expect(isSafeLink(typed)).toBe(false);
    expect(readLink(typed)).toBeNull();
  });
});

describe('a title that two people type into', () => {
  test.each([
    ['Plan', 'Plan B', { at: 4, removed: 0, inserted: ' B' }],
    ['Plan', 'Our Plan', { at: 0, removed: 0, inserted: 'Our ' }],
    ['Plan', 'Pan', { at: 1, removed: 1, inserted: '' }],
    ['aaa', 'aa', { at: 2, removed: 1, inserted: '' }],
    ['Plan', 'Draft', { at: 0, removed: 4, inserted: 'Draft' }],
    ['', 'x', { at: 0, removed: 0, inserted: 'x' }],
    ['same', 'same', null],
  ])('%j → %j is one change', (before, after, change) => {
    expect(changeBetween(before, after)).toEqual(change);
  });

  test('keeps the caret where it was when somebody else changes what is before it', () => {
    const grown = { at: 0, removed: 0, inserted: 'Our ' };
    const replaced = { at: 0, removed: 4, inserted: 'X' };

    expect([moved(0, grown), moved(2, grown), moved(2, replaced), moved(6, replaced)]).toEqual([
      0, 6, 1, 3,
    ]);
  });
});
