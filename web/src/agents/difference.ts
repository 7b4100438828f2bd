/** Differences as rows: what went, what came, and the lines around. */

import { parsePatch, structuredPatch, type StructuredPatchHunk } from 'diff';

import { colour, type ColouredToken } from '../lib/highlight';
import { clean } from './terminal';

export interface Row {
  kind: 'same' | 'added' | 'removed' | 'gap';
  text: string;
  /** Numbers of the line before and after. */
  before: number | null;
  after: number | null;
}

export interface Difference {
  rows: readonly Row[];
  added: number;
  removed: number;
}

/** Comparing two long texts that have nothing in common takes longer than anybody waits. */
const LONGEST_MS = 300;

/** Of a unified difference; null where it is none (it may have been cut). */
export function ofPatch(patch: string): Difference | null {
  try {
    return ofHunks(parsePatch(patch).flatMap(({ hunks }) => hunks));
  } catch {
    return null;
  }
}

/** Of two texts; null where comparing them takes too long. */
export function ofTexts(before: string, after: string): Difference | null {
  const options = { context: 3, timeout: LONGEST_MS };
  const patch = structuredPatch('', '', before, after, '', '', options);
  return patch ? ofHunks(patch.hunks) : null;
}

/** A file that was not there before. */
export function ofNew(text: string): Difference {
  const lines = text.replace(/\n$/, '').split('\n');
  const rows = lines.map((line, index) => ({
    kind: 'added' as const,
    text: line,
    before: null,
    after: index + 1,
  }));
  return { rows, added: rows.length, removed: 0 };
}

function ofHunks(hunks: readonly StructuredPatchHunk[]): Difference {
  const rows = hunks.flatMap((hunk, index) => [...(index > 0 ? [GAP] : []), ...rowsOf(hunk)]);
  const count = (kind: Row['kind']): number => rows.filter((row) => row.kind === kind).length;
  return { rows, added: count('added'), removed: count('removed') };
}

const GAP: Row = { kind: 'gap', text: '', before: null, after: null };

function rowsOf(hunk: StructuredPatchHunk): Row[] {
  let [before, after] = [hunk.oldStart, hunk.newStart];
  const rows: Row[] = [];
  for (const line of hunk.lines) {
    const text = line.slice(1);
    if (line.startsWith('+')) rows.push({ kind: 'added', text, before: null, after: after++ });
    else if (line.startsWith('-'))
      rows.push({ kind: 'removed', text, before: before++, after: null });
    // A line that says that the last one does not end.
    else if (!line.startsWith('\\')) {
      rows.push({ kind: 'same', text, before: before++, after: after++ });
    }
  }
  return rows;
}

const ENDINGS: Readonly<Record<string, string>> = {
  dockerfile: 'docker',
  h: 'c',
  hpp: 'cpp',
  htm: 'html',
  makefile: 'make',
  mts: 'ts',
  pyi: 'py',
  svg: 'xml',
};

/** The name under which code of a file is coloured, by how its path ends. */
export function languageOf(path: string): string {
  const name = path.split('/').at(-1)!.toLowerCase();
  const ending = name.includes('.') ? name.split('.').at(-1)! : name;
  return ENDINGS[ending] ?? ending;
}

/** Colours of the rows. Both sides are coloured as a whole: a line says little about what it is inside of. */
export async function paint(
  rows: readonly Row[],
  language: string,
): Promise<ReadonlyMap<Row, ColouredToken[]>> {
  const found = new Map<Row, ColouredToken[]>();
  for (const without of ['added', 'removed'] as const) {
    const side = rows.filter(({ kind }) => kind !== without);
    if (!side.some(({ kind }) => kind !== 'gap')) continue;
    const code = side.map(({ text }) => clean(text)).join('\n');
    const lines = await colour(code, language).catch(() => null);
    lines?.forEach((line, index) => found.set(side[index]!, line));
  }
  return found;
}
