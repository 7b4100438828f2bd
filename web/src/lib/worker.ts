import { BASE } from './base';

/** The page opens without a network from its second visit on (`worker/sw.ts`). */
export function registerWorker(): void {
  if (!import.meta.env.PROD || !('serviceWorker' in navigator)) return;
  navigator.serviceWorker
    .register(`${BASE}sw.js`, { scope: BASE, updateViaCache: 'none' })
    // Private windows and some policies forbid it; the page works without.
    .catch(() => undefined);
}
