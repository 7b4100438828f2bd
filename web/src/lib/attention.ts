/**
 * Which tabs of one person are looked at, and at what.
 *
 * One tab tells of what concerns no tab in particular; it has to know whether another one already shows it.
 * Tabs say what they show whenever that changes and when a new tab asks; what a tab said is forgotten when it
 * says goodbye, or has been silent for longer than a live tab is.
 */

export interface Sight {
  tab: string;
  visible: boolean;
  path: string;
}

type Word = { kind: 'here'; sight: Sight } | { kind: 'gone'; tab: string } | { kind: 'who' };

/** A tab says what it shows at least this often. */
const EVERY_MS = 20_000;
/** Background tabs may run their timers once a minute. */
const FORGET_MS = 90_000;

export class Attention {
  readonly #tab = crypto.randomUUID?.() ?? String(Math.random());
  readonly #others = new Map<string, { sight: Sight; at: number }>();
  readonly #channel: BroadcastChannel | null;
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #path: () => string;

  constructor(name: string, path: () => string) {
    this.#path = path;
    this.#channel = 'BroadcastChannel' in globalThis ? new BroadcastChannel(name) : null;
    this.#channel?.addEventListener('message', ({ data }) => this.#hear(data as Word));
    this.#timer = setInterval(this.tell, EVERY_MS);
    document.addEventListener('visibilitychange', this.tell);
    addEventListener('pagehide', this.#leave);
    this.#say({ kind: 'who' });
    this.tell();
  }

  /** Tell the other tabs what this one shows now. */
  readonly tell = (): void => this.#say({ kind: 'here', sight: this.#sight() });

  /** Whether any tab of the person is looked at. */
  get anywhere(): boolean {
    return this.#all().some(({ visible }) => visible);
  }

  /** Whether a path is on the screen in some tab. */
  shows(path: string): boolean {
    return this.#all().some((sight) => sight.visible && sight.path === path);
  }

  close(): void {
    this.#leave();
    clearInterval(this.#timer);
    document.removeEventListener('visibilitychange', this.tell);
    removeEventListener('pagehide', this.#leave);
    this.#channel?.close();
  }

  #sight(): Sight {
    const visible = document.visibilityState === 'visible';
    return { tab: this.#tab, visible, path: this.#path() };
  }

  #all(): Sight[] {
    const limit = Date.now() - FORGET_MS;
    for (const [tab, { at }] of this.#others) if (at < limit) this.#others.delete(tab);
    return [this.#sight(), ...[...this.#others.values()].map(({ sight }) => sight)];
  }

  readonly #leave = (): void => this.#say({ kind: 'gone', tab: this.#tab });

  #hear(word: Word): void {
    if (word.kind === 'who') this.tell();
    else if (word.kind === 'gone') this.#others.delete(word.tab);
    else this.#others.set(word.sight.tab, { sight: word.sight, at: Date.now() });
  }

  #say(word: Word): void {
    this.#channel?.postMessage(word);
  }
}
