import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { planReload, Store, Version, type Deployment, type VersionOptions } from '../src/index.js';
import { COOL_MS, keyOf } from '../src/version.js';

const old: Deployment = { version: '1.0.0', deployment_id: 'monday' };
const fresh: Deployment = { version: '1.0.0', deployment_id: 'tuesday' };
const newer: Deployment = { version: '1.1.0', deployment_id: 'tuesday' };

describe('the plan', () => {
  const plan = (told: Deployment, made: { target: string; at: number }[] = [], now = COOL_MS * 9) =>
    planReload(old, told, made, now, 10_000, () => 0.25);

  test('is nothing while page and server agree', () => {
    expect(plan({ ...old })).toEqual({ act: 'none' });
  });

  test.each([
    ['another deployment', fresh],
    ['another version', newer],
  ])('is a reload after a random delay for %s', (_name, told) => {
    expect(plan(told)).toEqual({ act: 'reload', afterMs: 2_500 });
  });

  test('is nothing where a reload did not bring the server’s deployment', () => {
    expect(plan(fresh, [{ target: keyOf(fresh), at: 1 }])).toEqual({ act: 'none' });
  });

  test('is to ask again later where the page has just reloaded for another deployment', () => {
    const made = [{ target: keyOf(newer), at: COOL_MS * 9 - 1_000 }];

    expect(plan(fresh, made)).toEqual({ act: 'ask', afterMs: COOL_MS - 1_000 });
  });

  test('forgets after a day', () => {
    const day = 24 * 3_600_000;

    expect(plan(fresh, [{ target: keyOf(fresh), at: 0 }], day + 1)).toMatchObject({
      act: 'reload',
    });
  });
});

/** What a tab remembers over reloads. */
class Memory {
  readonly #kept = new Map<string, string>();
  getItem = (name: string): string | null => this.#kept.get(name) ?? null;
  setItem = (name: string, value: string): void => void this.#kept.set(name, value);
}

describe('a page', () => {
  let memory: Memory;
  let pages: Version[];

  beforeEach(() => {
    vi.useFakeTimers();
    memory = new Memory();
    pages = [];
  });
  afterEach(() => {
    pages.forEach((page) => page.close());
    vi.useRealTimers();
  });

  function open(
    told: Store<Deployment | null>,
    answer: () => Deployment | null,
    more: Partial<VersionOptions> = {},
  ): { page: Version; reload: ReturnType<typeof vi.fn> } {
    const reload = vi.fn();
    const ask = (): Promise<Deployment> => {
      const said = answer();
      return said ? Promise.resolve(said) : Promise.reject(new Error('unreachable'));
    };
    const options = { own: old, ask, reload, storage: memory, spreadMs: 1_000, ...more };
    const page = new Version(told, options);
    pages.push(page);
    return { page, reload };
  }

  test('reloads once when its server is of another deployment', async () => {
    const told = new Store<Deployment | null>(old);
    const prepare = vi.fn(() => Promise.resolve());
    const { page, reload } = open(told, () => fresh, { prepare });

    told.set(fresh);
    await vi.advanceTimersByTimeAsync(1_000);
    told.set({ ...fresh });
    await vi.advanceTimersByTimeAsync(COOL_MS * 3);

    expect(page.get()).toMatchObject({ own: old, server: fresh, outdated: true });
    expect(reload).toHaveBeenCalledOnce();
    expect(prepare).toHaveBeenCalledOnce();
  });

  test('waits while a person would be disturbed', async () => {
    let typing = true;
    const { reload } = open(new Store<Deployment | null>(fresh), () => fresh, {
      busy: () => typing,
    });

    await vi.advanceTimersByTimeAsync(60_000);
    const before = reload.mock.calls.length;
    typing = false;
    await vi.advanceTimersByTimeAsync(1_000);

    expect([before, reload.mock.calls.length]).toEqual([0, 1]);
  });

  test('stays where the deployment was taken back before it reloads', async () => {
    const { page, reload } = open(new Store<Deployment | null>(fresh), () => old);

    await vi.advanceTimersByTimeAsync(COOL_MS);

    expect(reload).not.toHaveBeenCalled();
    expect(page.get().outdated).toBe(false);
  });

  test('never reloads in a loop while nodes of two versions answer', async () => {
    // Each load of the page, and each of its connections, reaches either node in turn.
    let turn = 0;
    let loads = 0;
    const node = (): Deployment => ((turn += 1) % 2 ? fresh : old);
    const load = (): void => {
      loads += 1;
      const told = new Store<Deployment | null>(node());
      const own = node();
      const { page } = open(told, node, {
        own,
        reload: () => {
          page.close();
          load();
        },
      });
      const again = setInterval(() => told.set({ ...node() }), 30_000);
      page.subscribe(() => undefined);
      pages.push({ close: () => clearInterval(again) } as Version);
    };

    load();
    await vi.advanceTimersByTimeAsync(6 * 3_600_000);

    // Once for each of the two deployments at most.
    expect(loads).toBeLessThanOrEqual(3);
  });

  test('only says that it is outdated where nothing can be remembered', async () => {
    const told = new Store<Deployment | null>(fresh);
    const { page, reload } = open(told, () => fresh, { storage: null });

    await vi.advanceTimersByTimeAsync(COOL_MS);

    expect(page.get().outdated).toBe(true);
    expect(reload).not.toHaveBeenCalled();
  });

  test('takes the first thing that the server says for its own where it knows nothing', () => {
    const told = new Store<Deployment | null>(null);
    const { page } = open(told, () => fresh, { own: null });

    told.set(fresh);

    expect(page.get()).toEqual({ own: fresh, server: fresh, outdated: false });
  });
});
