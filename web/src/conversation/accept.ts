/** The `accept` attribute of a file input, from a list, one text or the ecosystem's map of type to
 * extensions. */
export function acceptAttribute(
  accept: string | readonly string[] | Readonly<Record<string, readonly string[]>> | undefined,
): string | undefined {
  if (!accept) return undefined;
  if (typeof accept === 'string') return accept;
  const entries = Array.isArray(accept) ? accept : Object.entries(accept).flat(2);
  return entries.length > 0 ? entries.join(',') : undefined;
}
