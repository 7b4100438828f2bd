/** What the page says, in the language of the person. Texts live in `src/locales`, as ICU messages. */

import { IntlMessageFormat } from 'intl-messageformat';

import english from '../locales/en.json';
import { storageKey } from './base';

export type Key = keyof typeof english;
export type Values = Readonly<Record<string, string | number>>;
type Catalogue = Readonly<Record<string, string>>;

/** The languages that are shipped, in their own words. English is part of the page, others are fetched. */
export const LANGUAGES = { en: 'English', de: 'Deutsch' } as const;
export type Language = keyof typeof LANGUAGES;
export type LanguageChoice = Language | 'system';

const FETCH: Record<Exclude<Language, 'en'>, () => Promise<{ default: Catalogue }>> = {
  de: () => import('../locales/de.json'),
};
const KEY = storageKey('language');

export function isLanguage(value: unknown): value is Language {
  return typeof value === 'string' && Object.hasOwn(LANGUAGES, value);
}

/** The first of the browser's languages that is shipped. */
export function preferred(wanted: readonly string[]): Language {
  return wanted.map((tag) => tag.toLowerCase().split('-')[0]).find(isLanguage) ?? 'en';
}

class Translations {
  choice = $state<LanguageChoice>(stored());
  language = $state<Language>('en');
  #catalogue = $state.raw<Catalogue>(english);
  #formats = new Map<string, IntlMessageFormat>();

  /** For dates and numbers: the person's own variant of the language where the browser names one. */
  get locale(): string {
    const own = navigator.languages.find(
      (tag) => tag.toLowerCase().split('-')[0] === this.language,
    );
    return own ?? this.language;
  }

  /** Before the first paint. */
  async start(): Promise<void> {
    addEventListener('languagechange', () => void this.#apply());
    await this.#apply();
  }

  async choose(choice: LanguageChoice): Promise<void> {
    this.choice = choice;
    try {
      if (choice === 'system') localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, choice);
    } catch {
      // Without storage the choice lasts as long as the page.
    }
    await this.#apply();
  }

  format(key: Key, values?: Values): string {
    const text = this.#catalogue[key] ?? english[key];
    // Most texts have nothing to fill in.
    if (!text.includes('{')) return text;
    let format = this.#formats.get(key);
    if (!format) {
      format = new IntlMessageFormat(text, this.locale, undefined, { ignoreTag: true });
      this.#formats.set(key, format);
    }
    return String(format.format(values));
  }

  has(key: string): key is Key {
    return Object.hasOwn(english, key);
  }

  async #apply(): Promise<void> {
    const wanted = this.choice === 'system' ? preferred(navigator.languages) : this.choice;
    const catalogue = await fetchCatalogue(wanted);
    // Another choice may have been made meanwhile.
    const still = this.choice === 'system' ? preferred(navigator.languages) : this.choice;
    if (still !== wanted) return;
    this.#formats = new Map();
    this.language = catalogue ? wanted : 'en';
    this.#catalogue = catalogue ?? english;
    document.documentElement.lang = this.language;
  }
}

/** Null where the texts cannot be had: English is better than nothing. */
async function fetchCatalogue(language: Language): Promise<Catalogue | null> {
  if (language === 'en') return english;
  try {
    return (await FETCH[language]()).default;
  } catch {
    return null;
  }
}

function stored(): LanguageChoice {
  try {
    const value = localStorage.getItem(KEY);
    return isLanguage(value) ? value : 'system';
  } catch {
    return 'system';
  }
}

export const i18n = new Translations();

/** The text of a key in the current language; whatever shows it follows a change of language. */
export function t(key: Key, values?: Values): string {
  return i18n.format(key, values);
}
