/** A list that grows at its end and is read from there: it follows the end until the reader goes up, and keeps
 * what is being read where it is while earlier parts come in above. */

import { tick } from 'svelte';

/** Closer to the end than this counts as at the end, in pixels. */
const NEAR = 80;
/** Earlier parts are fetched this far before the reader comes to the beginning, in pixels. */
const AHEAD = 600;

export interface Earlier {
  /** Whether there is something before what is shown, to be had without being asked for. */
  available: () => boolean;
  load: () => Promise<void>;
}

export class EndFollower {
  /** The end is followed. */
  stuck = $state(true);
  readonly #earlier: Earlier;
  #scroller: HTMLElement | null = null;
  #top = 0;
  #fetching = false;

  constructor(earlier: Earlier) {
    this.#earlier = earlier;
  }

  /** For `{@attach}` on the scrolling element; its first child is the content. */
  readonly attach = (scroller: HTMLElement): (() => void) => {
    this.#scroller = scroller;
    this.#toEnd();
    const observer = new ResizeObserver(() => {
      if (this.stuck) this.#toEnd();
    });
    observer.observe(scroller);
    if (scroller.firstElementChild) observer.observe(scroller.firstElementChild);
    const scrolled = (): void => this.#scrolled(scroller);
    scroller.addEventListener('scroll', scrolled, { passive: true });
    return () => {
      observer.disconnect();
      scroller.removeEventListener('scroll', scrolled);
      this.#scroller = null;
    };
  };

  /** Follow the end from now on. */
  stick(): void {
    this.stuck = true;
    void tick().then(() => this.#toEnd());
  }

  /** Go to the end as one sees it go. */
  jump(): void {
    this.stuck = true;
    this.#scroller?.scrollTo({ top: this.#scroller.scrollHeight, behavior: 'smooth' });
  }

  /** Bring an element of the list into the middle of the view. */
  show(element: Element): void {
    this.stuck = false;
    element.scrollIntoView({ block: 'center' });
    this.#top = this.#scroller?.scrollTop ?? 0;
  }

  /** Show what comes before; what the reader looks at stays where it is. */
  async older(): Promise<void> {
    const scroller = this.#scroller;
    if (this.#fetching || !scroller) return;
    this.#fetching = true;
    const { scrollHeight, scrollTop } = scroller;
    try {
      await this.#earlier.load();
      await tick();
      scroller.scrollTop = scrollTop + scroller.scrollHeight - scrollHeight;
    } finally {
      this.#fetching = false;
    }
  }

  #toEnd(): void {
    if (this.#scroller) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #scrolled(scroller: HTMLElement): void {
    const gap = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
    // Only a movement upwards by the reader lets go of the end; growing content does not.
    if (scroller.scrollTop < this.#top - 1 && gap > NEAR) this.stuck = false;
    else if (gap <= NEAR) this.stuck = true;
    this.#top = scroller.scrollTop;
    if (!this.stuck && this.#top < AHEAD && this.#earlier.available()) void this.older();
  }
}
