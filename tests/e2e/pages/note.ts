import type { Locator, Page } from 'playwright-core';

import { ShareDialog } from './share';

/** The list of notes, and the page of one. */
export class NotePage {
  readonly page: Page;
  readonly title: Locator;
  readonly body: Locator;
  readonly carets: Locator;
  readonly toolbar: Locator;
  readonly versions: Locator;
  readonly #sharing: ShareDialog;

  constructor(page: Page) {
    this.page = page;
    this.title = page.getByTestId('note-title');
    this.body = page.getByTestId('note-body');
    this.carets = page.locator('.caret-name');
    this.toolbar = page.getByTestId('note-toolbar');
    this.versions = page.getByTestId('version');
    this.#sharing = new ShareDialog(page, 'share-note');
  }

  /** Make a note; gives back its path below the application. */
  async create(title: string): Promise<string> {
    await this.page.getByTestId('new-note').click();
    await this.title.waitFor();
    await this.phase('saved').waitFor();
    await this.title.fill(title);
    await this.title.press('Enter');
    return new URL(this.page.url()).pathname;
  }

  async open(address: string): Promise<void> {
    await this.page.goto(address);
    await this.body.waitFor();
  }

  /** Let somebody in, by name. */
  share(name: string, may: 'read' | 'write'): Promise<void> {
    return this.#sharing.share(name, may);
  }

  /** Change what the one person may do with whom the note is shared. */
  allow(may: 'read' | 'write' | 'none'): Promise<void> {
    return this.#sharing.allow(may);
  }

  /** What the page says of what was written. */
  phase(...phases: string[]): Locator {
    const wanted = phases.map((phase) => `[data-testid="note-status"][data-phase="${phase}"]`);
    return this.page.locator(wanted.join(', '));
  }

  /** Everything that was written is with the server. */
  async saved(): Promise<void> {
    await this.phase('saved').and(this.page.locator('[data-pending="0"]')).waitFor();
  }

  /** Put the caret at an end of the first paragraph with this text. */
  async caretAt(text: string, key: 'Home' | 'End'): Promise<void> {
    const block = this.block(text);
    for (let clicks = 1; clicks <= 5; clicks += 1) {
      await block.click();
      await this.page.keyboard.press(key);
      // The editor hears of a click a moment later; somebody else's change in this moment puts the caret back
      // where it was. A person sees that, and clicks again.
      if (await block.evaluate((p) => p.contains(getSelection()?.anchorNode ?? null))) return;
    }
    throw new Error(`The caret does not stay in “${text}”.`);
  }

  block(text: string): Locator {
    return this.body.locator('p').filter({ hasText: text }).first();
  }

  /** The text without the names at other people's carets. */
  text(): Promise<string> {
    return this.body.evaluate((body) => {
      const copy = body.cloneNode(true) as HTMLElement;
      for (const caret of copy.querySelectorAll('.caret')) caret.remove();
      // Characters that hold the place of a caret are no part of the text.
      const lines = [...copy.children].map((block) => block.textContent ?? '');
      return lines.join('\n').replaceAll('\u2060', '');
    });
  }

  /** Resolves once the text satisfies `wanted`. */
  async textWhere(wanted: (text: string) => boolean, limitMs = 30_000): Promise<string> {
    const deadline = Date.now() + limitMs;
    for (;;) {
      const text = await this.text();
      if (wanted(text)) return text;
      if (Date.now() > deadline) throw new Error(`The note says:\n${text}`);
      await this.page.waitForTimeout(50);
    }
  }
}
