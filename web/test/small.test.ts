import type { Widget } from '@parlour/sdk';
import { describe, expect, test } from 'vitest';

import { acceptAttribute } from '../src/conversation/accept';
import { initialValues } from '../src/conversation/settings';
import { colour, knownLanguage } from '../src/lib/highlight';
import { parseRoute, threadPath } from '../src/lib/router.svelte';

describe('addresses', () => {
  test.each([
    ['/', { name: 'new' }],
    ['/sign-in', { name: 'sign-in' }],
    ['/sign-up/', { name: 'sign-up' }],
    ['/c/0b5e1f2a-aaaa', { name: 'thread', id: '0b5e1f2a-aaaa' }],
    ['/c/short', { name: 'not-found' }],
    ['/c/..%2f..%2fadmin', { name: 'not-found' }],
    ['/c/0b5e1f2a-aaaa/more', { name: 'not-found' }],
    ['/elsewhere', { name: 'not-found' }],
  ])('%s', (path, route) => {
    expect(parseRoute(path)).toEqual(route);
  });

  test('of a conversation lead back to it', () => {
    expect(parseRoute(threadPath('thread_1-abc'))).toEqual({ name: 'thread', id: 'thread_1-abc' });
  });
});

describe('what a file ask accepts', () => {
  test.each([
    [undefined, undefined],
    ['image/*', 'image/*'],
    [['text/plain', '.md'], 'text/plain,.md'],
    [{ 'text/plain': ['.txt', '.md'] }, 'text/plain,.txt,.md'],
    [[], undefined],
  ])('%j', (accept, attribute) => {
    expect(acceptAttribute(accept)).toBe(attribute);
  });
});

test('settings begin with what is in force, or with what the kind of input suggests', () => {
  const widgets: Widget[] = [
    { type: 'select', id: 'model', label: 'Model', items: [{ label: 'Small', value: 's' }] },
    { type: 'slider', id: 'heat', label: 'Heat', min: 1, initial: 3 },
    { type: 'switch', id: 'memory', label: 'Memory' },
    { type: 'text', id: 'name', label: 'Name' },
    { type: 'number', id: 'count', label: 'Count' },
  ];

  expect(initialValues(widgets)).toEqual({
    model: 's',
    heat: 3,
    memory: false,
    name: '',
    count: null,
  });
});

describe('coloured code', () => {
  test('has both themes and loses no character', async () => {
    const code = 'def f(x):\n    return "é" + x\n';

    const lines = await colour(code, 'py');

    expect(lines?.map((line) => line.map(({ text }) => text).join('')).join('\n')).toBe(code);
    expect(new Set(lines?.flat().map(({ light }) => light)).size).toBeGreaterThan(1);
    expect(lines?.[0]?.[0]?.dark).toMatch(/^#/);
  });

  test('stays plain for an unknown language and for very long code', async () => {
    expect(await colour('x', 'klingon')).toBeNull();
    expect(await colour('x'.repeat(100_000), 'python')).toBeNull();
  });

  test.each([
    ['ts', 'typescript'],
    ['c++', 'cpp'],
    ['constructor', null],
    ['__proto__', null],
    ['', null],
  ])('%j is %j', (name, canonical) => {
    expect(knownLanguage(name)).toBe(canonical);
  });
});
