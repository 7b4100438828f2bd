/** Mentions: `@name` while one writes, `@[name](user:id)` on the wire. */

import type { Person } from '@parlour/sdk';

/** The documented form; what would break it is left out of the name. */
export function formatMention({ id, name }: Person): string {
  const shown = name.replace(/[[\]\n]/g, '').slice(0, 100) || 'user';
  return `@[${shown}](user:${id})`;
}

/** Turn `@name` of those who were chosen into mentions. The longest name wins. */
export function toWire(text: string, people: readonly Person[]): string {
  const named = people.filter((one) => one.name).sort((a, b) => b.name.length - a.name.length);
  if (named.length === 0) return text;
  const names = named.map((one) => one.name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|');
  const pattern = new RegExp(`(^|[^\\p{L}\\p{N}_])@(${names})(?![\\p{L}\\p{N}_])`, 'gu');
  return text.replace(pattern, (_whole, before: string, name: string) => {
    return before + formatMention(named.find((one) => one.name === name)!);
  });
}

const MENTION =
  /@\[([^\]\n]{1,100})\]\(user:([^()\s<>|]{1,200})\)|<@U:([^()\s<>|]{1,200})(?:\|([^<>\n]{0,200}))?>/g;

/** The text as one would write it, and who is mentioned in it. */
export function fromWire(content: string): { text: string; people: Person[] } {
  const people: Person[] = [];
  const text = content.replace(MENTION, (_whole, name, id, otherId, otherName) => {
    const person = { id: String(id ?? otherId), name: String(name ?? otherName ?? otherId) };
    people.push(person);
    return `@${person.name}`;
  });
  return { text, people };
}

export interface Query {
  /** Where the `@` stands. */
  start: number;
  text: string;
}

/** The beginning of a mention that ends at the caret. */
export function mentionAt(text: string, caret: number): Query | null {
  const found = /(?:^|[\s(])@([\p{L}\p{N}_.-]{0,40})$/u.exec(text.slice(0, caret));
  if (!found) return null;
  const query = found[1]!;
  return { start: caret - query.length - 1, text: query };
}

/** Those whose name has a word that begins so, best first. */
export function suggest(people: readonly Person[], query: string, most = 6): Person[] {
  const wanted = query.toLowerCase();
  const rank = ({ name }: Person): number => {
    const known = name.toLowerCase();
    if (known.startsWith(wanted)) return 0;
    return known.split(/[\s._-]+/u).some((word) => word.startsWith(wanted)) ? 1 : 2;
  };
  return people
    .map((person) => ({ person, rank: rank(person) }))
    .filter((one) => one.rank < 2)
    .sort((a, b) => a.rank - b.rank || a.person.name.localeCompare(b.person.name))
    .slice(0, most)
    .map((one) => one.person);
}
