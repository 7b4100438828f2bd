import type { Locator, Page } from 'playwright-core';

/** The page of one channel with the list of channels beside it. */
export class ChannelPage {
  readonly page: Page;
  readonly composer: Locator;
  readonly title: Locator;
  readonly typing: Locator;
  readonly panel: Locator;
  readonly items: Locator;

  constructor(page: Page) {
    this.page = page;
    this.composer = page.getByTestId('channel-composer').first();
    this.title = page.getByTestId('channel-title');
    this.typing = page.getByTestId('typing');
    this.panel = page.getByTestId('side-panel');
    this.items = page.getByTestId('channel-item');
  }

  /** Make a channel and open it; `people` are found by their names. */
  async create(kind: 'standard' | 'group', name: string, people: string[] = []): Promise<void> {
    await this.page.getByTestId('new-channel').click();
    await this.page.getByTestId('channel-name').fill(name);
    await this.page.locator(`label[data-kind="${kind}"]`).click();
    await this.#choose(people);
    await this.page.getByRole('button', { name: 'Create' }).click();
    await this.#opened(name);
  }

  async startDirect(person: string): Promise<void> {
    await this.page.getByTestId('new-direct').click();
    await this.#choose([person]);
    await this.page.getByRole('button', { name: 'Start' }).click();
    await this.#opened(person);
  }

  async open(name: string): Promise<void> {
    await this.item(name).click();
    await this.#opened(name);
  }

  item(name: string): Locator {
    return this.items.filter({ hasText: name });
  }

  unread(name: string): Locator {
    return this.item(name).getByTestId('unread');
  }

  /** Write and send; resolves when the server has it. */
  async say(text: string): Promise<void> {
    await this.composer.fill(text);
    await this.composer.press('Enter');
    await this.message(text).waitFor();
  }

  /** The newest message in the channel with this text. */
  message(text: string): Locator {
    return this.page
      .getByTestId('channel-messages')
      .getByTestId('channel-message')
      .filter({ hasText: text })
      .last();
  }

  async openReplies(text: string): Promise<void> {
    await this.message(text).hover();
    await this.message(text).getByTestId('reply').click();
    await this.panel.waitFor();
  }

  async reply(text: string): Promise<void> {
    const field = this.panel.getByTestId('channel-composer');
    await field.fill(text);
    await field.press('Enter');
    await this.answer(text).waitFor();
  }

  /** A reply in the panel. */
  answer(text: string): Locator {
    return this.page
      .getByTestId('replies')
      .getByTestId('channel-message')
      .filter({ hasText: text });
  }

  async react(text: string, emoji: string): Promise<void> {
    await this.message(text).hover();
    await this.message(text).getByTestId('add-reaction').first().click();
    await this.page.getByTestId('reaction-picker').locator(`[data-emoji="${emoji}"]`).click();
    await this.message(text).getByTestId('reaction').waitFor();
  }

  async edit(text: string, better: string): Promise<void> {
    await this.choose(text, 'edit-message');
    await this.page.getByTestId('edit-input').fill(better);
    await this.page.getByTestId('edit-save').click();
    await this.message(better).waitFor();
  }

  /** Choose something from a message's menu. */
  async choose(text: string, item: string): Promise<void> {
    await this.message(text).hover();
    await this.message(text).getByTestId('message-menu').click();
    await this.page.getByTestId(item).click();
  }

  async showMembers(): Promise<void> {
    await this.page.getByTestId('show-members').click();
    await this.panel.waitFor();
  }

  /** A member's dot, in the panel of members. */
  presence(name: string, status: 'online' | 'away' | 'offline'): Locator {
    return this.panel
      .getByTestId('member')
      .filter({ hasText: name })
      .locator(`[data-testid="presence"][data-status="${status}"]`);
  }

  /** The page of another channel may still be there. */
  async #opened(name: string): Promise<void> {
    await this.title.filter({ hasText: name }).waitFor();
    await this.composer.waitFor();
  }

  async #choose(people: string[]): Promise<void> {
    for (const person of people) {
      await this.page.getByTestId('people-input').fill(person);
      await this.page.getByTestId('people-add').click();
      await this.page.getByTestId('chosen-person').filter({ hasText: person }).waitFor();
    }
  }
}
