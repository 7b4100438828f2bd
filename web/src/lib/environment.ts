import { storageKey } from './base';

const KEY = storageKey('environment');

/** What the person gave for the app (`user_env`). It stays in this browser until they sign out; the server
 * stores it nowhere. */
export const environment = {
  get(): Record<string, string> {
    try {
      const stored: unknown = JSON.parse(localStorage.getItem(KEY) ?? '{}');
      const entries = Object.entries(stored as Record<string, unknown>);
      return Object.fromEntries(
        entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
      );
    } catch {
      return {};
    }
  },
  set(values: Record<string, string>): void {
    try {
      localStorage.setItem(KEY, JSON.stringify(values));
    } catch {
      // The next page asks again then.
    }
  },
  clear(): void {
    try {
      localStorage.removeItem(KEY);
    } catch {
      // Nothing was stored then.
    }
  },
};
