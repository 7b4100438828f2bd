/** Output of commands, for people: colours stay, everything else that a terminal would obey is taken out. */

import Anser from 'anser';

export interface Piece {
  text: string;
  /** Names of `terminal.css`. */
  classes: string;
  /** Colours that are no names: of the 256, or any. */
  colour: string | null;
  background: string | null;
}

export type Line = readonly Piece[];

/** A line is cut here when it is shown; copying gives the whole. */
const LONGEST_LINE = 2_000;

/** Titles, links and other strings to the terminal itself, with their text. */
// eslint-disable-next-line no-control-regex
const STRINGS = /\u001b[\]PX^_][^\u0007\u001b\n]*(?:\u0007|\u001b\\)?/g;
/** Escapes of two characters, such as those that choose a character set. */
// eslint-disable-next-line no-control-regex
const SHORT = /\u001b(?:[ -/][0-~]|[0-Z\\^_`a-z{|}~])/g;
/** What is left after the colours were read. Bidirectional overrides can make a command look like another. */
// eslint-disable-next-line no-control-regex
const INVISIBLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/** The lines of an output, in coloured pieces. */
export function toLines(output: string): Line[] {
  const plain = output
    .replace(STRINGS, '')
    .replace(SHORT, '')
    .split('\n')
    .map(overwrite)
    .join('\n');
  const lines: Piece[][] = [[]];
  for (const entry of Anser.ansiToJson(plain, { use_classes: true, remove_empty: true })) {
    const look = lookOf(entry);
    for (const [index, part] of entry.content.split('\n').entries()) {
      if (index > 0) lines.push([]);
      const text = clean(part);
      if (text) lines.at(-1)!.push({ text, ...look });
    }
  }
  if (lines.at(-1)!.length === 0) lines.pop();
  return lines.map(cut);
}

/** The same without colours, to be copied. */
export function toPlain(output: string): string {
  const plain = output.replace(STRINGS, '').replace(SHORT, '');
  return plain
    .split('\n')
    .map((line) => clean(Anser.ansiToText(overwrite(line))))
    .join('\n');
}

/** Text of people and models in one line of a terminal's look. */
export function clean(text: string): string {
  return text.replace(INVISIBLE, '');
}

/** A progress bar writes its line again and again; the last one counts. */
function overwrite(line: string): string {
  if (!line.includes('\r')) return line;
  return line.split('\r').findLast((part) => part.trim() !== '') ?? '';
}

function cut(line: Piece[]): Line {
  let left = LONGEST_LINE;
  const kept: Piece[] = [];
  for (const piece of line) {
    if (left <= 0) break;
    const long = piece.text.length > left;
    kept.push(long ? { ...piece, text: `${piece.text.slice(0, left)}…` } : piece);
    left -= piece.text.length;
  }
  return kept;
}

function lookOf(entry: Anser.AnserJsonEntry): Omit<Piece, 'text'> {
  const { fg, bg, decorations } = entry;
  const decorated = decorations.filter((one) => SHOWN.has(one));
  return {
    classes: [nameOf(fg, 'fg'), nameOf(bg, 'bg'), ...decorated].filter(Boolean).join(' '),
    colour: valueOf(fg, entry.fg_truecolor),
    background: valueOf(bg, entry.bg_truecolor),
  };
}

const SHOWN: ReadonlySet<string> = new Set([
  ...['bold', 'dim', 'italic', 'underline', 'strikethrough'],
]);

function nameOf(name: string | null, part: 'fg' | 'bg'): string {
  return name && /^ansi-(bright-)?[a-z]+$/.test(name) && name !== 'ansi-truecolor'
    ? `${name}-${part}`
    : '';
}

function valueOf(name: string | null, truecolour: string | null): string | null {
  if (name === 'ansi-truecolor') {
    const [r, g, b] = (truecolour ?? '').split(',').map(Number);
    return [r, g, b].every((part) => Number.isInteger(part)) ? `rgb(${r} ${g} ${b})` : null;
  }
  const number = /^ansi-palette-(\d{1,3})$/.exec(name ?? '')?.[1];
  return number === undefined ? null : paletteColour(Number(number));
}

/** The 216 colours of the cube and the 24 greys of xterm's palette. */
function paletteColour(number: number): string | null {
  if (number < 16 || number > 255) return null;
  if (number >= 232) {
    const grey = 8 + (number - 232) * 10;
    return `rgb(${grey} ${grey} ${grey})`;
  }
  const rest = number - 16;
  const [r, g, b] = [Math.floor(rest / 36), Math.floor(rest / 6) % 6, rest % 6].map((step) =>
    step === 0 ? 0 : 55 + step * 40,
  );
  return `rgb(${r} ${g} ${b})`;
}
