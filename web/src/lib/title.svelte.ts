/** The tab: its title with what is unread, its icon, and the badge of an installed app. */

import { BASE } from './base';

const ICON = `${BASE}favicon.svg`;

class TabTitle {
  page = $state('');
  unread = $state(0);
  #marked: boolean | null = null;

  constructor() {
    $effect.root(() => {
      $effect(() => {
        document.title = this.unread > 0 ? `(${shown(this.unread)}) ${this.page}` : this.page;
      });
      $effect(() => this.#badge(this.unread));
      $effect(() => this.#mark(this.unread > 0));
    });
  }

  #badge(count: number): void {
    // Not every browser has it, and one that has may refuse it to a page that is not installed.
    const done = count > 0 ? navigator.setAppBadge?.(count) : navigator.clearAppBadge?.();
    done?.catch(() => undefined);
  }

  #mark(unread: boolean): void {
    if (this.#marked === unread) return;
    this.#marked = unread;
    const link = document.querySelector<HTMLLinkElement>('link[rel="icon"]');
    if (link) link.href = unread ? ICON.replace('.svg', '-unread.svg') : ICON;
  }
}

function shown(count: number): string {
  return count > 99 ? '99+' : String(count);
}

export const tabTitle = new TabTitle();

/** Call it in a component: the page's part of the title while the component is there. */
export function pageTitle(text: () => string): void {
  $effect(() => {
    tabTitle.page = text();
  });
}
