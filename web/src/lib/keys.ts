/** The keyboard's part of the page: what there is to press, and whether an event is that. */

import type { Key } from './i18n.svelte';

export type ShortcutName =
  | 'palette'
  | 'help'
  | 'new'
  | 'sidebar'
  | 'settings'
  | 'next'
  | 'previous'
  | 'unread'
  | 'composer'
  | 'search-channel';

export interface Shortcut {
  name: ShortcutName;
  /** `Mod` is Command on a Mac and Control elsewhere. */
  keys: readonly string[];
  label: Key;
}

export const SHORTCUTS: readonly Shortcut[] = [
  { name: 'palette', keys: ['Mod', 'K'], label: 'keys.palette' },
  { name: 'new', keys: ['Mod', 'Shift', 'O'], label: 'keys.new' },
  { name: 'sidebar', keys: ['Mod', 'Shift', 'S'], label: 'keys.sidebar' },
  { name: 'settings', keys: ['Mod', ','], label: 'keys.settings' },
  { name: 'next', keys: ['Alt', '↓'], label: 'keys.next' },
  { name: 'previous', keys: ['Alt', '↑'], label: 'keys.previous' },
  { name: 'unread', keys: ['Alt', 'Shift', '↓'], label: 'keys.unread' },
  { name: 'search-channel', keys: ['Mod', 'Shift', 'F'], label: 'keys.search-channel' },
  { name: 'composer', keys: ['/'], label: 'keys.composer' },
  { name: 'help', keys: ['?'], label: 'keys.help' },
];

const APPLE = /Mac|iPhone|iPad/.test(navigator.platform);

const SIGNS: Readonly<Record<string, string>> = APPLE
  ? { Mod: '⌘', Shift: '⇧', Alt: '⌥' }
  : { Mod: 'Ctrl' };

/** As it is written on the keyboard. */
export function keyLabel(key: string): string {
  return SIGNS[key] ?? key;
}

const CODES: Readonly<Record<string, string>> = { '↓': 'arrowdown', '↑': 'arrowup' };

/** The shortcut that was pressed. Single characters belong to whoever is writing. */
export function pressed(event: KeyboardEvent): ShortcutName | null {
  if (event.isComposing || event.defaultPrevented) return null;
  return SHORTCUTS.find((shortcut) => matches(event, shortcut.keys))?.name ?? null;
}

function matches(event: KeyboardEvent, keys: readonly string[]): boolean {
  const key = keys.at(-1)!.toLowerCase();
  if (event.key.toLowerCase() !== (CODES[key] ?? key)) return false;
  const mod = event.ctrlKey || event.metaKey;
  if (keys.length === 1) return !mod && !event.altKey && !isWriting(event.target);
  return (
    mod === keys.includes('Mod') &&
    event.shiftKey === keys.includes('Shift') &&
    event.altKey === keys.includes('Alt')
  );
}

function isWriting(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || target.matches('input, textarea, select');
}
