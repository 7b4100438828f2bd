/** When a page that is older than its server may reload without taking anything from the person. */

import type { Deployment } from '@parlour/sdk';

/** A person who pressed a key so recently is in the middle of something. */
const PAUSE_MS = 3_000;
const FIELDS = 'input:not([type=checkbox], [type=radio]), textarea, [contenteditable=true]';
/** What is written here is kept over a reload. */
const KEPT = '[data-testid=composer], [data-testid=channel-composer]';
/** An open dialog, and files that were attached to what is being written. */
const OPEN = '[role=dialog], [data-testid=upload]';

let pressed = -Infinity;
for (const event of ['keydown', 'input', 'compositionupdate']) {
  addEventListener(event, () => (pressed = Date.now()), { capture: true, passive: true });
}

/** Whether a reload would disturb now. */
export function isBusy(): boolean {
  if (Date.now() - pressed < PAUSE_MS || document.querySelector(OPEN)) return true;
  const field = document.activeElement;
  if (!field?.matches(FIELDS) || field.matches(KEPT)) return false;
  const written = 'value' in field ? String(field.value) : (field.textContent ?? '');
  return written.trim() !== '';
}

/** What the server that gave this page wrote into it. Null in development. */
export function ownDeployment(): Deployment | null {
  const told = document.querySelector<HTMLMetaElement>('meta[name="parlour-version"]');
  const deployment = told?.dataset['deployment'];
  return told && deployment ? { version: told.content, deployment_id: deployment } : null;
}
