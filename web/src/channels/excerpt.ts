/** The part of a text around what was searched, in pieces of which some are hits. */

export interface Piece {
  text: string;
  hit: boolean;
}

/** Characters shown before the first hit. */
const BEFORE = 60;
/** More than a few lines of a result are not read. */
const LONGEST = 400;

/** What only says how a text is shown. */
const MARKS = /(\*\*|__|~~|`+)|^(#{1,6}|[-*+>]|\d+\.)\s/gm;

export function excerpt(text: string, query: string): Piece[] {
  const flat = text.replace(MARKS, '').replace(/\s+/g, ' ').trim();
  const first = query ? flat.toLowerCase().indexOf(query.toLowerCase()) : -1;
  const start = first > BEFORE ? flat.indexOf(' ', first - BEFORE) + 1 : 0;
  // A word without an end may leave no space before the hit.
  const from = first >= 0 && start > first ? first : start;
  const shown = (from > 0 ? '…' : '') + flat.slice(from, from + LONGEST);
  return split(shown, query);
}

function split(text: string, query: string): Piece[] {
  const pieces: Piece[] = [];
  const small = text.toLowerCase();
  const wanted = query.toLowerCase();
  // Some letters have another length when they are made small: then there are no places to mark.
  if (!wanted || small.length !== text.length) return [{ text, hit: false }];
  let at = 0;
  for (let hit = small.indexOf(wanted); hit >= 0; hit = small.indexOf(wanted, at)) {
    if (hit > at) pieces.push({ text: text.slice(at, hit), hit: false });
    pieces.push({ text: text.slice(hit, hit + wanted.length), hit: true });
    at = hit + wanted.length;
  }
  if (at < text.length) pieces.push({ text: text.slice(at), hit: false });
  return pieces;
}
