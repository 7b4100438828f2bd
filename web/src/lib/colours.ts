/** A colour for a person: the same on every page, dark enough for white letters on it. */

const COLOURS = [
  ...['#b4443a', '#a85a0c', '#7a6a12', '#3f7a2a', '#1f7a5c', '#1f7289'],
  ...['#3565b0', '#5b52b8', '#8a45a8', '#b03a7c'],
];

export function colourOf(userId: string): string {
  let sum = 7;
  for (const letter of userId) sum = (sum * 31 + letter.codePointAt(0)!) >>> 0;
  return COLOURS[sum % COLOURS.length]!;
}
