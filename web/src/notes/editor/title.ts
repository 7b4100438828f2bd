/** A title in a field that several people type into: what changed is told, not the whole text. */

export interface TextChange {
  at: number;
  removed: number;
  inserted: string;
}

/** The one place where two texts differ; null where they are equal. */
export function changeBetween(before: string, after: string): TextChange | null {
  if (before === after) return null;
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  while (start < shorter && before[start] === after[start]) start += 1;
  let end = 0;
  while (end < shorter - start && before.at(-1 - end) === after.at(-1 - end)) end += 1;
  return {
    at: start,
    removed: before.length - start - end,
    inserted: after.slice(start, after.length - end),
  };
}

/** Where a caret stands after a change that somebody else made. */
export function moved(caret: number, { at, removed, inserted }: TextChange): number {
  if (caret <= at) return caret;
  if (caret >= at + removed) return caret + inserted.length - removed;
  return at + inserted.length;
}
