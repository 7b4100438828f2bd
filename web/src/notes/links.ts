/** Which addresses may stand in a note. What is written by others is hostile until it is looked at. */

import { isOwnFile } from '../lib/markdown';

const SCHEME = /^([a-z][a-z0-9+.-]*):/i;
const SAFE = new Set(['http', 'https', 'mailto']);

/** What browsers leave out when they look for the scheme. */
function visible(address: string): string {
  // eslint-disable-next-line no-control-regex
  return address.replace(/[\u0000-\u0020\u007f-\u009f\u200b-\u200f\u2028-\u202e\ufeff]/g, '');
}

/** An address that a link may have: another site, a mail, or a file of the own store. */
export function isSafeLink(address: unknown): address is string {
  if (typeof address !== 'string') return false;
  const scheme = SCHEME.exec(visible(address))?.[1]?.toLowerCase();
  if (scheme !== undefined) return SAFE.has(scheme);
  return isOwnFile(address);
}

/** The address that somebody meant; null where it may not be used. */
export function readLink(text: string): string | null {
  const wanted = text.trim();
  if (wanted === '' || wanted !== visible(wanted)) return null;
  if (isSafeLink(wanted)) return wanted;
  if (SCHEME.test(wanted) && !/^[\w.-]+:\d/.test(wanted)) return null;
  if (/^[^\s/@]+@[^\s/@]+\.[^\s/@]+$/.test(wanted)) return `mailto:${wanted}`;
  return /^[\p{L}\p{N}][^\s]*$/u.test(wanted) ? `https://${wanted}` : null;
}
