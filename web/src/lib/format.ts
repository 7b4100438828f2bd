import { i18n, t } from './i18n.svelte';

const DAY = 86_400_000;

export interface Group<T> {
  label: string;
  items: T[];
}

/** Sort rows, newest first, into the headings of a list of conversations. */
export function groupByAge<T extends { updated_at: number }>(
  rows: readonly T[],
  now: Date = new Date(),
): Group<T>[] {
  const groups = new Map<string, T[]>();
  for (const row of rows) {
    const label = ageLabel(new Date(row.updated_at), now);
    groups.set(label, [...(groups.get(label) ?? []), row]);
  }
  return [...groups].map(([label, items]) => ({ label, items }));
}

function ageLabel(date: Date, now: Date): string {
  const today = startOfDay(now);
  const days = Math.round((today - startOfDay(date)) / DAY);
  if (days <= 0) return t('age.today');
  if (days === 1) return t('age.yesterday');
  if (days < 7) return t('age.week');
  if (days < 30) return t('age.month');
  const sameYear = date.getFullYear() === now.getFullYear();
  return date.toLocaleDateString(
    i18n.locale,
    sameYear ? { month: 'long' } : { month: 'long', year: 'numeric' },
  );
}

function startOfDay(date: Date): number {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}

export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const units = ['kB', 'MB', 'GB'];
  let value = bytes / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${decimal(value, value < 10 ? 1 : 0)} ${units[unit]}`;
}

function decimal(value: number, digits: number): string {
  return value.toLocaleString(i18n.locale, {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
    useGrouping: false,
  });
}

/** A span of time, short: `0.4 s`, `12 s`, `3 min 05 s`. */
export function formatSpan(milliseconds: number): string {
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 10) return `${decimal(seconds, 1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const rest = Math.floor(seconds % 60);
  return `${Math.floor(seconds / 60)} min ${String(rest).padStart(2, '0')} s`;
}

/** Time left, as a clock: `0:42`, `12:05`. */
export function formatCountdown(milliseconds: number): string {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  const rest = String(seconds % 60).padStart(2, '0');
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, '0')}:${rest}` : `${minutes}:${rest}`;
}

export function formatTime(at: number): string {
  return new Date(at).toLocaleString(i18n.locale, { dateStyle: 'medium', timeStyle: 'short' });
}

/** One or two letters for a person. */
export function initials(name: string): string {
  const words = name
    .trim()
    .split(/[\s._@-]+/u)
    .filter(Boolean);
  const letters = words.length > 1 ? [words[0]!, words.at(-1)!] : words;
  return letters.map((word) => [...word][0]!.toUpperCase()).join('') || '?';
}
