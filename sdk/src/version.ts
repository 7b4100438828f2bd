/**
 * A page that is older than its server reloads, once.
 *
 * While a deployment goes on, nodes of two versions answer: what one says differs from what the other
 * says, for minutes. So a page reloads at most once for each deployment that it hears of, never twice
 * within `COOL_MS`, and asks again before it does. Everybody notices in the same second: a random delay
 * spreads the reloads. Where nothing can be remembered over the reload, it only says that it is outdated.
 */

import { Store, type Readable } from './store.js';

export interface Deployment {
  version: string;
  deployment_id: string;
}

/** A reload that was made for a deployment, at a time in milliseconds since 1970. */
export interface Reload {
  target: string;
  at: number;
}

export type Plan = { act: 'none' } | { act: 'reload' | 'ask'; afterMs: number };

/** Two reloads of one page are at least this far apart. */
export const COOL_MS = 5 * 60_000;
const REMEMBERED_MS = 24 * 3_600_000;
const SPREAD_MS = 10_000;
const BUSY_MS = 1_000;

export function keyOf({ version, deployment_id }: Deployment): string {
  return `${version} ${deployment_id}`;
}

/** What to do when the server says `told` to a page of `own`. */
export function planReload(
  own: Deployment,
  told: Deployment,
  made: readonly Reload[],
  now: number,
  spreadMs: number = SPREAD_MS,
  random: () => number = Math.random,
): Plan {
  if (keyOf(own) === keyOf(told)) return { act: 'none' };
  const recent = made.filter(({ at }) => now - at < REMEMBERED_MS);
  if (recent.some(({ target }) => target === keyOf(told))) return { act: 'none' };
  const last = Math.max(-Infinity, ...recent.map(({ at }) => at));
  const cool = last + COOL_MS - now;
  if (cool > 0) return { act: 'ask', afterMs: cool };
  return { act: 'reload', afterMs: Math.round(random() * spreadMs) };
}

export interface VersionOptions {
  /** What the page is of; what the server says first by default. */
  own?: Deployment | null;
  /** What the server is of now (`() => api.version()`). Asked before a reload. */
  ask: () => Promise<Deployment>;
  /** Whether a reload would disturb: asked again every second until it does not. */
  busy?: () => boolean;
  /** Runs right before the reload, such as unregistering service workers. */
  prepare?: () => Promise<unknown>;
  reload?: () => void;
  /** Names the memory of reloads: one per tab and application. */
  key?: string;
  storage?: Pick<Storage, 'getItem' | 'setItem'> | null;
  /** The random delay is at most this long. */
  spreadMs?: number;
}

export interface VersionState {
  own: Deployment | null;
  server: Deployment | null;
  /** The server is of another deployment than the page. */
  outdated: boolean;
}

export class Version implements Readable<VersionState> {
  readonly #options: VersionOptions;
  readonly #state: Store<VersionState>;
  readonly #unhear: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  /** `told` is what the server says at each handshake (`connection.welcome`). */
  constructor(told: Readable<Deployment | null>, options: VersionOptions) {
    this.#options = options;
    this.#state = new Store<VersionState>({
      own: options.own ?? null,
      server: null,
      outdated: false,
    });
    this.#unhear = told.subscribe((deployment) => {
      if (deployment) this.#hear(deployment);
    });
  }

  get(): VersionState {
    return this.#state.get();
  }

  subscribe(run: (state: VersionState) => void): () => void {
    return this.#state.subscribe(run);
  }

  /** Reload now, whatever was remembered: the person asked for it. */
  async reloadNow(): Promise<void> {
    const { server } = this.#state.get();
    if (server) this.#remember(server);
    await this.#leave();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#unhear();
  }

  #hear({ version, deployment_id }: Deployment): void {
    const server = { version, deployment_id };
    const own = this.#state.get().own ?? server;
    this.#state.set({ own, server, outdated: keyOf(own) !== keyOf(server) });
    this.#decide(own, server);
  }

  #decide(own: Deployment, server: Deployment): void {
    clearTimeout(this.#timer);
    const made = this.#made();
    if (made === null || this.#closed) return;
    const plan = planReload(own, server, made, Date.now(), this.#options.spreadMs);
    if (plan.act === 'reload') this.#later(() => this.#confirm(true), plan.afterMs);
    else if (plan.act === 'ask') this.#later(() => this.#confirm(false), plan.afterMs);
  }

  /** Another node may have answered meanwhile, or the deployment was taken back. */
  async #confirm(reload: boolean): Promise<void> {
    if (this.#options.busy?.()) {
      this.#later(() => this.#confirm(reload), BUSY_MS);
      return;
    }
    const server = await this.#options.ask().catch(() => null);
    const { own, server: told } = this.#state.get();
    if (this.#closed || !own || !told) return;
    // Without an answer the next handshake says it again.
    if (!server) return;
    if (!reload || keyOf(server) !== keyOf(told)) this.#hear(server);
    else if (this.#options.busy?.()) this.#later(() => this.#confirm(reload), BUSY_MS);
    else if (this.#remember(server)) await this.#leave();
  }

  async #leave(): Promise<void> {
    this.close();
    await this.#options.prepare?.().catch(() => undefined);
    (this.#options.reload ?? (() => location.reload()))();
  }

  #later(run: () => unknown, ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void run(), ms);
  }

  get #key(): string {
    return this.#options.key ?? 'parlour.reloads';
  }

  /** Null where nothing can be remembered. */
  #made(): Reload[] | null {
    try {
      const kept: unknown = JSON.parse(this.#storage.getItem(this.#key) ?? '[]');
      return Array.isArray(kept) ? (kept as Reload[]) : [];
    } catch (error) {
      return error instanceof SyntaxError ? [] : null;
    }
  }

  #remember(server: Deployment): boolean {
    const now = Date.now();
    const kept = (this.#made() ?? []).filter(({ at }) => now - at < REMEMBERED_MS);
    try {
      const made = [...kept, { target: keyOf(server), at: now }];
      this.#storage.setItem(this.#key, JSON.stringify(made));
      return true;
    } catch {
      return false;
    }
  }

  get #storage(): Pick<Storage, 'getItem' | 'setItem'> {
    const { storage } = this.#options;
    if (storage === null) throw new Error('There is no storage.');
    return storage ?? sessionStorage;
  }
}

/** Forget pages that service workers keep: the next load comes from the server. */
export async function unregisterWorkers(): Promise<void> {
  if (typeof navigator === 'undefined' || !('serviceWorker' in navigator)) return;
  const registrations = await navigator.serviceWorker.getRegistrations();
  await Promise.all(registrations.map((one) => one.unregister()));
}
