/**
 * Several tabs of one browser, as far as leadership sees them: locks, a channel, visibility and the page's
 * lifecycle. Time is vitest's; a tab that hangs neither hears nor runs its timers.
 */

import { vi } from 'vitest';

import { Tabs } from '../src/index.js';

/** Browsers run the timers of hidden pages at most this often. */
const HIDDEN_MS = 1_000;

type Held = { tab: Tab; name: string; release: () => void; lose: (error: Error) => void };
type Waiting = { tab: Tab; name: string; grant: () => void };

/** The rules of Web Locks that matter here: one holder, a queue, `steal` and `signal`. */
class Locks {
  held: Held | undefined;
  waiting: Waiting[] = [];

  request(tab: Tab, name: string, options: LockOptions, run: () => Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      const grant = (): void => {
        const held: Held = { tab, name, release: () => this.free(held), lose: reject };
        this.held = held;
        tab.run(() => {
          void run().then(() => {
            this.free(held);
            resolve();
          });
        });
      };
      if (options.steal) {
        const before = this.held;
        before?.tab.run(() => before.lose(new DOMException('stolen', 'AbortError')));
        grant();
        return;
      }
      const waiting = { tab, name, grant };
      options.signal?.addEventListener('abort', () => {
        this.waiting = this.waiting.filter((one) => one !== waiting);
        reject(new DOMException('aborted', 'AbortError'));
      });
      this.waiting.push(waiting);
      this.next();
    });
  }

  free(held: Held): void {
    if (this.held !== held) return;
    this.held = undefined;
    this.next();
  }

  next(): void {
    if (!this.held) this.waiting.shift()?.grant();
  }
}

export class TabbedBrowser {
  readonly locks = new Locks();
  readonly tabs: Tab[] = [];

  open(): Tab {
    return new Tab(this);
  }

  look(at: Tab): void {
    for (const tab of this.tabs) tab.show(tab === at);
  }

  get leaders(): Tab[] {
    return this.tabs.filter(({ leads }) => leads);
  }
}

export class Tab {
  readonly tabs: Tabs;
  readonly #browser: TabbedBrowser;
  readonly #document = new EventTarget();
  readonly #channels = new Set<EventTarget>();
  readonly #globals: Record<string, unknown>;
  #visible = false;
  #hangs = false;
  #late: (() => void)[] = [];

  constructor(browser: TabbedBrowser) {
    this.#browser = browser;
    browser.tabs.push(this);
    this.#globals = this.#describe();
    this.tabs = this.#inside(() => new Tabs({ name: 'person' }));
  }

  get leads(): boolean {
    return this.tabs.leads.get();
  }

  /** Something happens in this tab: at once, or when it no longer hangs. */
  run(task: () => void): void {
    if (this.#hangs) this.#late.push(task);
    else this.#inside(task);
  }

  show(visible: boolean): void {
    if (this.#visible === visible) return;
    this.#visible = visible;
    this.#event('visibilitychange');
  }

  hang(): void {
    this.#hangs = true;
  }

  go(): void {
    this.#hangs = false;
    for (const task of this.#late.splice(0)) this.run(task);
  }

  /** As browsers do: hidden first, then told, then stopped. */
  freeze(): void {
    this.show(false);
    this.#event('freeze');
    this.#hangs = true;
  }

  resume(): void {
    this.go();
    this.#event('resume');
  }

  /** Take no part any more. */
  close(): void {
    this.#inside(() => this.tabs.close());
  }

  /** The tab ends: the browser gives back what it held, and tells nobody in it. */
  end(): void {
    const { locks, tabs } = this.#browser;
    tabs.splice(tabs.indexOf(this), 1);
    this.#hangs = true;
    locks.waiting = locks.waiting.filter(({ tab }) => tab !== this);
    if (locks.held?.tab === this) locks.held.release();
  }

  hear(data: unknown): void {
    for (const channel of this.#channels) {
      this.run(() => channel.dispatchEvent(new MessageEvent('message', { data })));
    }
  }

  #event(name: string): void {
    this.run(() => this.#document.dispatchEvent(new Event(name)));
  }

  /** The browser's names stand for this tab while its code runs. */
  #inside<Result>(run: () => Result): Result {
    const names = Object.entries(this.#globals);
    const before = names.map(([name]) => [name, Reflect.get(globalThis, name) as unknown] as const);
    for (const [name, value] of names) vi.stubGlobal(name, value);
    try {
      return run();
    } finally {
      for (const [name, value] of before) vi.stubGlobal(name, value);
    }
  }

  #describe(): Record<string, unknown> {
    const { locks, tabs } = this.#browser;
    const every = setInterval;
    const [channels, others] = [this.#channels, () => tabs.filter((tab) => tab !== this)];
    const request = (name: string, options: LockOptions, held: () => Promise<void>) =>
      locks.request(this, name, options, held);
    Object.defineProperty(this.#document, 'visibilityState', {
      get: () => (this.#visible ? 'visible' : 'hidden'),
    });
    return {
      document: this.#document,
      navigator: { locks: { request } },
      setInterval: (task: () => void, ms: number) => this.#repeat(task, ms, every),
      BroadcastChannel: class extends EventTarget {
        constructor() {
          super();
          channels.add(this);
        }
        postMessage(data: unknown): void {
          for (const tab of others()) setTimeout(() => tab.hear(data), 1);
        }
        close(): void {
          channels.delete(this);
        }
      },
    };
  }

  /** In the background once a second at most; what a hanging tab missed is not made up for. */
  #repeat(task: () => void, ms: number, every: typeof setInterval): unknown {
    let ran = Date.now();
    return every(() => {
      const now = Date.now();
      if (this.#hangs || (!this.#visible && now - ran < HIDDEN_MS)) return;
      ran = now;
      this.#inside(task);
    }, ms);
  }
}
