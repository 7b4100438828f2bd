import type { Readable } from '../src/index.js';

/** Resolves with the first value of a store that satisfies `wanted`. */
export function when<T>(store: Readable<T>, wanted: (value: T) => boolean): Promise<T> {
  return new Promise((resolve) => {
    const stops: (() => void)[] = [];
    const stop = store.subscribe((value) => {
      if (!wanted(value)) return;
      resolve(value);
      stops.forEach((end) => end());
    });
    if (wanted(store.get())) stop();
    else stops.push(stop);
  });
}
