import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { arrows } from '../src/lib/arrows';
import { pressed } from '../src/lib/keys';
import { preferences, readPreferences, sends, type Remote } from '../src/lib/preferences.svelte';

function press(key: string, init: KeyboardEventInit = {}, target: Element = document.body) {
  const event = new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true, ...init });
  target.dispatchEvent(event);
  return event;
}

afterEach(() => document.body.replaceChildren());

describe('a shortcut', () => {
  test.each([
    ['k', { ctrlKey: true }, 'palette'],
    ['K', { metaKey: true }, 'palette'],
    ['k', { ctrlKey: true, shiftKey: true }, null],
    ['k', {}, null],
    ['ArrowDown', { altKey: true }, 'next'],
    ['ArrowDown', { altKey: true, shiftKey: true }, 'unread'],
    ['?', { shiftKey: true }, 'help'],
  ] as const)('%s with %j is %s', (key, init, name) => {
    expect(pressed(press(key, init))).toBe(name);
  });

  test('of one character is left to whoever is writing', () => {
    const field = document.body.appendChild(document.createElement('textarea'));

    expect(pressed(press('?', { shiftKey: true }, field))).toBeNull();
    expect(pressed(press('k', { ctrlKey: true }, field))).toBe('palette');
  });
});

describe('the arrow keys', () => {
  beforeEach(() => {
    document.body.innerHTML = '<nav><a href="#a">a</a><button>b</button><a href="#c">c</a></nav>';
    arrows(document.querySelector('nav')!);
  });

  test('lead from link to link and stay at the ends', () => {
    const [first, last] = [...document.querySelectorAll('a')];
    first!.focus();

    const way = ['ArrowDown', 'ArrowDown', 'Home', 'End', 'ArrowUp'].map((key) => {
      press(key, {}, document.activeElement!);
      return document.activeElement;
    });

    expect(way).toEqual([last, last, first, last, first]);
  });

  test('mean nothing on what is no link', () => {
    const button = document.querySelector('button')!;
    button.focus();

    expect(press('ArrowDown', {}, button).defaultPrevented).toBe(false);
  });
});

describe('preferences', () => {
  const remote = () => {
    const saved: unknown[] = [];
    let tell: (kept: Record<string, unknown>) => void = () => undefined;
    const place: Remote = {
      subscribe: (run) => {
        tell = run;
        return () => (tell = () => undefined);
      },
      save: (changes) => Promise.resolve(saved.push(changes)),
    };
    return { place, saved, tell: (kept: Record<string, unknown>) => tell(kept) };
  };

  test('leave out what they do not know', () => {
    const kept = { theme: 'dark', density: 'huge', sounds: 'yes', language: 'de', other: 1 };

    expect(readPreferences(kept)).toEqual({ theme: 'dark', language: 'de' });
  });

  test('follow another device, and tell it of changes made here alone', async () => {
    const account = remote();
    const stop = preferences.attach(account.place);

    account.tell({ density: 'compact', send: 'mod-enter' });
    await preferences.change({ sounds: false });

    expect(document.documentElement.dataset['density']).toBe('compact');
    expect(sends(press('Enter'))).toBe(false);
    expect(sends(press('Enter', { ctrlKey: true }))).toBe(true);
    expect(account.saved).toEqual([{ sounds: false }]);
    stop();
    await preferences.change({ density: 'comfortable', send: 'enter', sounds: true });
    expect(account.saved).toHaveLength(1);
  });
});
