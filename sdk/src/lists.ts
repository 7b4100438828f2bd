/** Lists that are read from the server as a whole and kept current by what is heard. */

import { ParlourError } from './errors.js';
import { Store, type Readable } from './store.js';

/** `loading`: nothing known yet. `failed`: nothing known, and the last attempt failed. */
export interface Listed<T> {
  phase: 'loading' | 'ready' | 'failed';
  items: readonly T[];
  error: ParlourError | null;
}

/** News that only the server can count are asked for together. */
const GATHER_MS = 250;

export class List<T> implements Readable<Listed<T>> {
  readonly #view = new Store<Listed<T>>({ phase: 'loading', items: [], error: null });
  readonly #fetch: () => Promise<readonly T[]>;
  #fetching: Promise<void> | undefined;
  #stale = false;
  #closed = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(fetch: () => Promise<readonly T[]>) {
    this.#fetch = fetch;
  }

  get(): Listed<T> {
    return this.#view.get();
  }

  subscribe(run: (view: Listed<T>) => void): () => void {
    return this.#view.subscribe(run);
  }

  /** Read the list. What is shown stays until the answer comes, and where none comes. */
  reload(): Promise<void> {
    clearTimeout(this.#timer);
    // An answer that is on its way may have been made before what this call is about.
    if (this.#fetching) this.#stale = true;
    else this.#fetching = this.#load().finally(() => (this.#fetching = undefined));
    return this.#fetching;
  }

  reloadSoon(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.reload(), GATHER_MS);
  }

  /** Apply what was heard; it may be newer than an answer that is on its way. */
  change(change: (items: readonly T[]) => readonly T[]): void {
    if (this.#fetching) this.#stale = true;
    const view = this.#view.get();
    const items = change(view.items);
    if (items !== view.items && !this.#closed) this.#view.set({ ...view, items });
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  async #load(): Promise<void> {
    do {
      this.#stale = false;
      try {
        const items = await this.#fetch();
        if (!this.#closed) this.#view.set({ phase: 'ready', items, error: null });
      } catch (error) {
        this.#failed(ParlourError.from(error));
      }
    } while (this.#stale && !this.#closed);
  }

  #failed(error: ParlourError): void {
    const view = this.#view.get();
    if (this.#closed) return;
    this.#view.set({ ...view, phase: view.phase === 'ready' ? 'ready' : 'failed', error });
  }
}
