/** Stores: values that change over time, in the contract that Svelte's `$store` syntax reads. */

export type Unsubscribe = () => void;

export interface Readable<T> {
  /** Calls `run` at once with the present value and again after every change. */
  subscribe(run: (value: T) => void): Unsubscribe;
  /** The present value. */
  get(): T;
}

export class Store<T> implements Readable<T> {
  #value: T;
  readonly #runs = new Set<(value: T) => void>();

  constructor(value: T) {
    this.#value = value;
  }

  get(): T {
    return this.#value;
  }

  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const run of [...this.#runs]) run(value);
  }

  update(change: (value: T) => T): void {
    this.set(change(this.#value));
  }

  subscribe(run: (value: T) => void): Unsubscribe {
    // A subscriber is identified by its own wrapper, so the same function may subscribe twice.
    const own = (value: T) => run(value);
    this.#runs.add(own);
    run(this.#value);
    return () => this.#runs.delete(own);
  }
}
