/** Errors in words for people. */

import { ParlourError } from '@parlour/sdk';

import { i18n, t } from './i18n.svelte';

/** What a person reads about an error. The server speaks English and says more than its code does; other
 * languages get the text of the code. */
export function explain(error: unknown): string {
  if (!(error instanceof ParlourError)) return t('error.unexpected');
  const key = `code.${error.code}`;
  if (i18n.language !== 'en' && i18n.has(key)) return t(key);
  return error.message;
}
