/** What a few typed letters mean. */

/** How well a text fits what was typed: 0 fits best, null not at all. Every typed word has to begin a word of
 * the text, in whatever order. */
export function rank(text: string, typed: string): number | null {
  const wanted = words(typed);
  if (wanted.length === 0) return 0;
  const known = words(text);
  const places = wanted.map((word) => known.findIndex((one) => one.startsWith(word)));
  if (places.some((place) => place < 0)) return null;
  return fold(text).startsWith(fold(typed.trim())) ? 0 : 1 + places[0]!;
}

/** The fitting ones, best first; equally good ones keep their order. */
export function choose<T>(
  items: readonly T[],
  textOf: (item: T) => string,
  typed: string,
  most = Infinity,
): T[] {
  return items
    .map((item) => ({ item, place: rank(textOf(item), typed) }))
    .filter((one): one is { item: T; place: number } => one.place !== null)
    .sort((a, b) => a.place - b.place)
    .slice(0, most)
    .map(({ item }) => item);
}

/** Small letters without their marks, so that “uber” finds “Über”. */
function fold(text: string): string {
  return text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase();
}

function words(text: string): string[] {
  return fold(text)
    .split(/[^\p{L}\p{N}]+/u)
    .filter(Boolean);
}
