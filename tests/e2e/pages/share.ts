import type { Locator, Page } from 'playwright-core';

/** The dialog that says who else may use a conversation or a note. */
export class ShareDialog {
  readonly page: Page;
  readonly button: Locator;
  readonly people: Locator;

  /** `button` opens it. */
  constructor(page: Page, button: string) {
    this.page = page;
    this.button = page.getByTestId(button);
    this.people = page.getByTestId('share-person');
  }

  /** Open it; resolves when it says who has access. */
  async open(): Promise<void> {
    await this.button.click();
    await this.page.getByTestId('share-everyone').waitFor();
  }

  async close(): Promise<void> {
    await this.page.keyboard.press('Escape');
    await this.page.getByTestId('share-dialog').waitFor({ state: 'detached' });
  }

  /** Let somebody in, by name. */
  async share(name: string, may: 'read' | 'write'): Promise<void> {
    await this.open();
    await this.page.getByTestId('people-input').fill(name);
    await this.page.getByTestId('people-add').click();
    await this.page.getByTestId('share-level').selectOption(may);
    await this.page.getByTestId('share-invite').click();
    await this.people.filter({ hasText: name }).waitFor();
    await this.close();
  }

  /** Change what the one person may do with whom it is shared. */
  async allow(may: 'read' | 'write' | 'none'): Promise<void> {
    await this.open();
    const choice = this.people.getByTestId('share-permission');
    await choice.selectOption(may);
    if (may === 'none') await choice.waitFor({ state: 'detached' });
    else await choice.and(this.page.locator(':enabled')).waitFor();
    await this.close();
  }

  /** Say what everybody who is signed in may do. */
  async allowEveryone(may: 'read' | 'write' | 'none'): Promise<void> {
    await this.open();
    const choice = this.page.getByTestId('share-everyone').getByTestId('share-permission');
    await choice.selectOption(may);
    await choice.and(this.page.locator(':enabled')).waitFor();
    await this.close();
  }
}
