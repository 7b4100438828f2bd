/** Messages as one reads them: by day, and by who said several things in a row. */

import type { ChannelMessage } from '@parlour/sdk';

import { i18n, t } from '../lib/i18n.svelte';

/** Longer apart than this, a message says again who wrote it. */
const TOGETHER_MS = 5 * 60_000;

export type Row =
  | { kind: 'day'; key: string; at: number }
  | { kind: 'unread'; key: string }
  | { kind: 'message'; key: string; message: ChannelMessage; first: boolean };

/** `readSeq`: where the unread ones began when the channel was opened; own messages are never unread. */
export function toRows(
  messages: Iterable<ChannelMessage>,
  readSeq: number | null,
  userId: string,
): Row[] {
  const rows: Row[] = [];
  let before: ChannelMessage | null = null;
  let marked = readSeq === null;
  for (const message of messages) {
    const day = dayOf(message.created_at);
    const sameDay = before !== null && dayOf(before.created_at) === day;
    if (!sameDay) rows.push({ kind: 'day', key: `day ${day}`, at: message.created_at });
    const begins = !marked && message.seq > readSeq! && message.author.id !== userId;
    if (begins) {
      rows.push({ kind: 'unread', key: 'unread' });
      marked = true;
    }
    const first: boolean = !sameDay || begins || !before || !continues(before, message);
    rows.push({ kind: 'message', key: message.id, message, first });
    before = message;
  }
  return rows;
}

function continues(before: ChannelMessage, message: ChannelMessage): boolean {
  return (
    before.author.id === message.author.id &&
    before.deleted_at === null &&
    message.reply_to_id === null &&
    message.created_at - before.created_at < TOGETHER_MS
  );
}

function dayOf(at: number): string {
  return new Date(at).toDateString();
}

export function dayLabel(at: number, now: Date = new Date()): string {
  const yesterday = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1);
  if (dayOf(at) === now.toDateString()) return t('age.today');
  if (dayOf(at) === yesterday.toDateString()) return t('age.yesterday');
  const sameYear = new Date(at).getFullYear() === now.getFullYear();
  return new Date(at).toLocaleDateString(i18n.locale, {
    weekday: 'long',
    month: 'long',
    day: 'numeric',
    ...(sameYear ? {} : { year: 'numeric' }),
  });
}

export function clockTime(at: number): string {
  return new Date(at).toLocaleTimeString(i18n.locale, { hour: '2-digit', minute: '2-digit' });
}

/** “Ann is writing…” */
export function typingLine(names: readonly string[]): string {
  if (names.length === 0) return '';
  if (names.length === 1) return t('channel.typing-one', { name: names[0]! });
  if (names.length === 2) return t('channel.typing-two', { first: names[0]!, second: names[1]! });
  return t('channel.typing-many', { name: names[0]!, count: names.length - 1 });
}
