import { describe, expect, test } from 'vitest';

import { excerpt } from '../src/channels/excerpt';
import { choose, rank } from '../src/palette/search';

describe('what was typed into the palette', () => {
  test('finds words by their beginnings, in any order, whatever their marks', () => {
    expect(rank('Weekly Übersicht', 'uber week')).not.toBeNull();
    expect(rank('Weekly overview', 'view')).toBeNull();
  });

  test('puts what begins with it first and keeps the order of the rest', () => {
    const names = ['old plans', 'planets', 'new plans', 'Plans'];

    expect(choose(names, (name) => name, 'plan')).toEqual([
      'planets',
      'Plans',
      'old plans',
      'new plans',
    ]);
  });

  test('finds everything while nothing is typed', () => {
    expect(choose(['a', 'b'], (name) => name, '  ')).toEqual(['a', 'b']);
  });
});

describe('the part of a message that a search shows', () => {
  const read = (text: string, query: string) =>
    excerpt(text, query).map(({ text, hit }) => (hit ? `[${text}]` : text));

  test('marks every hit, in the writing of the message', () => {
    expect(read('The tea, the TEA', 'tea')).toEqual(['The ', '[tea]', ', the ', '[TEA]']);
  });

  test('says what was written, without signs that only shape it', () => {
    expect(read('# Plan\n- **one**\n- `two`', 'two')).toEqual(['Plan one ', '[two]']);
  });

  test('begins at a word near the first hit of a long message', () => {
    const [before, hit] = read(`${'word '.repeat(60)}needle and more`, 'needle');

    expect(before).toMatch(/^…word (word )+$/);
    expect(hit).toBe('[needle]');
  });

  test('loses nothing where a letter changes its length with its size', () => {
    expect(read('İstanbul and tea', 'tea').join('')).toBe('İstanbul and tea');
  });

  test('marks nothing where nothing is searched', () => {
    expect(read('tea', '')).toEqual(['tea']);
  });
});
