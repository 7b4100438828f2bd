/**
 * One leader among the tabs of a person: what has to happen once (heartbeats, sounds, notifications)
 * happens there.
 *
 * A Web Lock makes the leader, so that the browser names the next one when a tab ends. A tab that hangs
 * keeps its lock and does nothing: followers ask the leader whether it is there, and one that gets no
 * answer takes the lock away. So does a tab that a person looks at from one in the background. Without
 * locks (an insecure origin) the tab that was looked at last leads.
 */

import { newId } from './ids.js';
import { Store, type Readable } from './store.js';

/** How often a follower asks, and for how long there may be no answer: a leader that is gone is replaced
 * within two seconds, also by a tab in the background, whose timers the browser lets run once a second. */
const ASK_MS = 400;
const SILENT_MS = 950;
/** A tab that asks this late was asleep itself, perhaps together with the leader: one question that nobody
 * answered proves nothing then. */
const LATE_MS = 2_000;

/** `ask`: is there a leader? `mine`: the same from a tab that is looked at. `here`: yes. `yours`: yes, but
 * in the background; `to` may take over. */
type Word = { word: 'ask' | 'mine' | 'here' | 'yours'; from: string; to?: string };

export interface TabsOptions {
  /** Tabs of the same name have one leader: it has to tell one person from another. */
  name: string;
}

export class Tabs {
  readonly id = newId();
  readonly #name: string;
  readonly #leads = new Store(false);
  readonly #channel: BroadcastChannel | null;
  readonly #locks: LockManager | null;
  readonly #unlisten: () => void;
  #waiting: AbortController | undefined;
  #release: (() => void) | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;
  /** Questions without an answer, and when the first and the last of them were asked. */
  #unanswered = { count: 0, since: 0, last: 0 };
  #frozen = false;
  #closed = false;

  constructor({ name }: TabsOptions) {
    this.#name = `parlour.leader@${name}`;
    const browser = typeof document !== 'undefined' && typeof BroadcastChannel === 'function';
    this.#channel = browser ? new BroadcastChannel(this.#name) : null;
    this.#locks = browser && 'locks' in navigator ? navigator.locks : null;
    this.#channel?.addEventListener('message', ({ data }) => this.#hear(data as Word));
    this.#unlisten = browser ? this.#listen() : () => undefined;
    if (this.#locks) {
      this.#queue();
      this.#timer = setInterval(() => this.#ask(), ASK_MS);
    } else {
      this.#leads.set(true);
      this.#say({ word: 'mine' });
    }
  }

  /** Whether this tab leads. */
  get leads(): Readable<boolean> {
    return this.#leads;
  }

  /** Stop taking part; another tab leads. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    this.#unlisten();
    this.#leads.set(false);
    this.#waiting?.abort();
    this.#release?.();
    this.#channel?.close();
  }

  /** Wait for the lock like everybody else. */
  #queue(): void {
    const waiting = new AbortController();
    this.#waiting = waiting;
    this.#request({ signal: waiting.signal });
  }

  #request(options: LockOptions): void {
    this.#locks!.request(this.#name, options, () => this.#hold())
      // Taken away, or given up for another request.
      .catch(() => undefined)
      .finally(() => this.#let(options));
  }

  /** Lead until the lock is released or taken away. */
  #hold(): Promise<void> {
    this.#waiting = undefined;
    this.#answered();
    this.#leads.set(true);
    return new Promise((release) => (this.#release = release));
  }

  /** A request has ended. One that was aborted was replaced by another. */
  #let({ signal }: LockOptions): void {
    if (signal?.aborted || this.#closed) return;
    this.#release = undefined;
    this.#leads.set(false);
    if (!this.#frozen) this.#queue();
  }

  #ask(): void {
    if (this.#leads.get() || this.#frozen) return;
    const now = Date.now();
    if (this.#isSilent(now)) {
      this.#take();
      return;
    }
    const { count, since } = this.#unanswered;
    this.#unanswered = { count: count + 1, since: count === 0 ? now : since, last: now };
    this.#say({ word: isLookedAt() ? 'mine' : 'ask' });
  }

  #answered(): void {
    this.#unanswered = { count: 0, since: 0, last: 0 };
  }

  /** Whether whoever leads would have answered by now. */
  #isSilent(now: number): boolean {
    const { count, since, last } = this.#unanswered;
    const enough = now - last > LATE_MS ? 2 : 1;
    return count >= enough && now - since >= SILENT_MS;
  }

  /** From a leader that does not answer, or that agreed. */
  #take(): void {
    this.#answered();
    this.#waiting?.abort();
    this.#waiting = undefined;
    this.#request({ steal: true });
  }

  #hear({ word, from, to }: Word): void {
    if (this.#closed || from === this.id) return;
    if (!this.#locks) {
      if (word === 'mine') this.#leads.set(false);
    } else if (word === 'here') {
      this.#answered();
    } else if (word === 'yours') {
      this.#answered();
      if (to === this.id && isLookedAt() && !this.#leads.get()) this.#take();
    } else if (this.#leads.get()) {
      const given = word === 'mine' && !isLookedAt();
      this.#say(given ? { word: 'yours', to: from } : { word: 'here' });
    }
  }

  #listen(): () => void {
    const listened: [string, () => void][] = [
      ['visibilitychange', () => isLookedAt() && this.#looked()],
      ['freeze', () => this.#freeze()],
      ['resume', () => this.#resume()],
    ];
    for (const [event, run] of listened) document.addEventListener(event, run);
    return () => {
      for (const [event, run] of listened) document.removeEventListener(event, run);
    };
  }

  /** Somebody looks at this tab now. */
  #looked(): void {
    if (this.#locks) {
      this.#ask();
    } else {
      this.#leads.set(true);
      this.#say({ word: 'mine' });
    }
  }

  /** The browser stops this tab, and says so. */
  #freeze(): void {
    if (!this.#locks) return;
    this.#frozen = true;
    this.#leads.set(false);
    this.#waiting?.abort();
    this.#waiting = undefined;
    this.#release?.();
  }

  #resume(): void {
    if (!this.#frozen) return;
    this.#frozen = false;
    this.#answered();
    this.#queue();
  }

  #say(word: Omit<Word, 'from'>): void {
    this.#channel?.postMessage({ ...word, from: this.id } satisfies Word);
  }
}

function isLookedAt(): boolean {
  return typeof document === 'undefined' || document.visibilityState === 'visible';
}
