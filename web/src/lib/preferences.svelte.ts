/** What a person chose for the page. Applied at once, kept in the browser, and with the account where there
 * is a place for it. */

import { storageKey } from './base';
import { i18n, type LanguageChoice } from './i18n.svelte';
import { theme, type ThemeChoice } from './theme.svelte';

export interface Preferences {
  theme: ThemeChoice;
  language: LanguageChoice;
  density: 'comfortable' | 'compact';
  /** Of what a notification tells. */
  notify: 'all' | 'mentions' | 'none';
  sounds: boolean;
  /** What sends a message; the other one of the two makes a new line. */
  send: 'enter' | 'mod-enter';
}

/** A place beyond this browser, such as the account's settings on the server. */
export interface Remote {
  /** Hears what is kept there, now and whenever it changes. */
  subscribe(run: (kept: Readonly<Record<string, unknown>>) => void): () => void;
  save(changes: Readonly<Record<string, unknown>>): Promise<unknown>;
}

const VALUES: { [K in keyof Preferences]: readonly Preferences[K][] } = {
  theme: ['system', 'light', 'dark'],
  language: ['system', 'en', 'de'],
  density: ['comfortable', 'compact'],
  notify: ['mentions', 'all', 'none'],
  sounds: [true, false],
  send: ['enter', 'mod-enter'],
};
const KEY = storageKey('preferences');

type Kept = Pick<Preferences, 'density' | 'notify' | 'sounds' | 'send'>;
const DEFAULTS: Kept = { density: 'comfortable', notify: 'mentions', sounds: true, send: 'enter' };

/** The known part of what was kept somewhere; what it does not understand is left out. */
export function readPreferences(kept: Readonly<Record<string, unknown>>): Partial<Preferences> {
  const names = Object.keys(VALUES) as (keyof Preferences)[];
  return Object.fromEntries(
    names
      .filter((name) => (VALUES[name] as readonly unknown[]).includes(kept[name]))
      .map((name) => [name, kept[name]]),
  );
}

class PreferenceStore {
  #kept = $state<Kept>({ ...DEFAULTS, ...stored() });
  #remote = $state.raw<Remote | null>(null);

  constructor() {
    this.#show();
  }

  get theme(): ThemeChoice {
    return theme.choice;
  }

  get language(): LanguageChoice {
    return i18n.choice;
  }

  get density(): Preferences['density'] {
    return this.#kept.density;
  }

  get notify(): Preferences['notify'] {
    return this.#kept.notify;
  }

  get sounds(): boolean {
    return this.#kept.sounds;
  }

  get send(): Preferences['send'] {
    return this.#kept.send;
  }

  /** Whether they are the same on all devices of the person. */
  get synchronised(): boolean {
    return this.#remote !== null;
  }

  /** By the person. Rejects when the place beyond this browser did not take it; here it is applied. */
  async change(changes: Partial<Preferences>): Promise<void> {
    this.#apply(changes);
    await this.#remote?.save(changes);
  }

  /** Follow a place beyond this browser; the returned function ends that. */
  attach(remote: Remote): () => void {
    this.#remote = remote;
    const stop = remote.subscribe((kept) => this.#apply(readPreferences(kept)));
    return () => {
      stop();
      if (this.#remote === remote) this.#remote = null;
    };
  }

  #apply(changes: Partial<Preferences>): void {
    const { theme: colours, language, ...rest } = changes;
    if (colours && colours !== theme.choice) theme.choose(colours);
    if (language && language !== i18n.choice) void i18n.choose(language);
    this.#kept = { ...this.#kept, ...rest };
    this.#show();
    try {
      localStorage.setItem(KEY, JSON.stringify(this.#kept));
    } catch {
      // Without storage they last as long as the page.
    }
  }

  #show(): void {
    document.documentElement.dataset['density'] = this.#kept.density;
  }
}

function stored(): Partial<Kept> {
  try {
    const { density, notify, sounds, send } = readPreferences(
      JSON.parse(localStorage.getItem(KEY) ?? '{}') as Record<string, unknown>,
    );
    const known = Object.entries({ density, notify, sounds, send });
    return Object.fromEntries(known.filter(([, value]) => value !== undefined));
  } catch {
    return {};
  }
}

export const preferences = new PreferenceStore();

/** Whether a key that was pressed while writing sends what was written. */
export function sends(event: KeyboardEvent): boolean {
  // While an input method composes, Enter chooses a candidate.
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return false;
  const mod = event.ctrlKey || event.metaKey;
  return preferences.send === 'enter' ? true : mod;
}
