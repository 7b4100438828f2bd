/** Where the application stands on its host: `/`, or the path at which an author mounted it. The server
 * writes it into the page's `<base>`. Always ends with a slash. */
export const BASE = new URL(document.baseURI).pathname.replace(/[^/]*$/, '');

/** An address of this application, from one that begins at its root: `/c/1` → `/chat/c/1`. */
export function address(path: string): string {
  return BASE + path.replace(/^\//, '');
}

/** The inverse of `address`; what lies outside becomes `/`. */
export function pathBelow(pathname: string): string {
  return pathname.startsWith(BASE) ? `/${pathname.slice(BASE.length)}` : '/';
}

/** The name of something in the browser's storage, which all applications of a host share. */
export function storageKey(name: string): string {
  return BASE === '/' ? `parlour.${name}` : `parlour.${name}@${BASE}`;
}
