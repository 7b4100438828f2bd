import { storageKey } from './base';

/** One person's, who may share the browser with others. */
const keyOf = (userId: string): string => `${storageKey('environment')}:${userId}`;

/** What the person gave for the app (`user_env`). It stays in this browser until they sign out; the server
 * stores it nowhere. */
export const environment = {
  get(userId: string): Record<string, string> {
    try {
      const stored: unknown = JSON.parse(localStorage.getItem(keyOf(userId)) ?? '{}');
      const entries = Object.entries(stored as Record<string, unknown>);
      return Object.fromEntries(
        entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
      );
    } catch {
      return {};
    }
  },
  set(userId: string, values: Record<string, string>): void {
    try {
      localStorage.setItem(keyOf(userId), JSON.stringify(values));
    } catch {
      // The next page asks again then.
    }
  },
  clear(userId: string): void {
    try {
      localStorage.removeItem(keyOf(userId));
    } catch {
      // Nothing was stored then.
    }
  },
};
