import { flushSync } from 'svelte';

/** Share of the time that showing an answer in the making may take; the rest is the reader's. */
const SHARE = 0.3;
const HIDDEN_MS = 250;

/** Runs work once per frame. Where showing it takes long (a very long answer on a slow device), the next
 * turn comes later and brings more at once. */
export function pacer(): (work: () => void) => void {
  let rest = 0;
  return (work) => {
    const run = (): void => {
      const begun = performance.now();
      work();
      flushSync();
      const took = performance.now() - begun;
      rest = took > 8 ? took / SHARE - took : 0;
    };
    if (document.hidden) setTimeout(run, HIDDEN_MS);
    else if (rest > 0) setTimeout(() => requestAnimationFrame(run), rest);
    else requestAnimationFrame(run);
  };
}
