import type { Locator, Page } from 'playwright-core';

/** The page of one conversation with the list beside it. */
export class ChatPage {
  readonly page: Page;
  readonly composer: Locator;
  readonly send: Locator;
  readonly stop: Locator;
  readonly messages: Locator;
  readonly answers: Locator;
  readonly pending: Locator;
  readonly banner: Locator;
  readonly threads: Locator;
  readonly search: Locator;
  readonly ask: Locator;
  readonly outcome: Locator;

  constructor(page: Page) {
    this.page = page;
    this.composer = page.getByTestId('composer');
    this.send = page.getByTestId('send');
    this.stop = page.getByTestId('stop');
    this.messages = page.getByTestId('message');
    this.answers = page.locator('[data-testid="message"][data-role="assistant"]');
    this.pending = page.getByTestId('pending-message');
    this.banner = page.getByTestId('connection-banner');
    this.threads = page.getByTestId('thread-item');
    this.search = page.getByTestId('search');
    this.ask = page.getByTestId('ask');
    this.outcome = page.getByTestId('run-outcome');
  }

  /** Write and send; resolves when the server has the message. */
  async say(text: string): Promise<void> {
    await this.composer.fill(text);
    await this.composer.press('Enter');
    await this.spoken(text).waitFor();
  }

  /** The person's own newest message with this text. */
  spoken(text: string): Locator {
    return this.page
      .locator('[data-testid="message"][data-role="user"]')
      .filter({ hasText: text })
      .last();
  }

  get lastAnswer(): Locator {
    return this.answers.last();
  }

  /** The rendered text of the newest answer, without its buttons. */
  async answerText(): Promise<string> {
    const text = await this.lastAnswer.locator('.prose').textContent({ timeout: 20_000 });
    return text?.trim() ?? '';
  }

  /** Say something and wait for the whole answer. */
  async converse(text: string): Promise<string> {
    const before = await this.answers.count();
    await this.say(text);
    await this.answers.nth(before).waitFor();
    await this.settled();
    return this.answerText();
  }

  /** Nothing runs any more. */
  async settled(): Promise<void> {
    await this.page
      .locator('[data-testid="message"][data-streaming="true"]')
      .waitFor({ state: 'detached' });
    await this.stop.waitFor({ state: 'detached' });
  }

  /** Whether the server still knows this browser. */
  async signedIn(): Promise<boolean> {
    const answer = await this.page.request.get('api/auth/me');
    return answer.ok();
  }

  async newChat(): Promise<void> {
    await this.page.getByTestId('new-chat').click();
    await this.page.getByTestId('welcome').waitFor();
  }

  async rename(name: string, title: string): Promise<void> {
    await this.#menu(name);
    await this.page.getByTestId('thread-rename').click();
    await this.page.getByTestId('thread-title-input').fill(title);
    await this.page.keyboard.press('Enter');
    await this.thread(title).waitFor();
  }

  async remove(name: string): Promise<void> {
    await this.#menu(name);
    await this.page.getByTestId('thread-delete').click();
    await this.page.getByTestId('confirm').click();
    await this.thread(name).waitFor({ state: 'detached' });
  }

  thread(name: string): Locator {
    return this.threads.filter({ hasText: name });
  }

  async signOut(): Promise<void> {
    await this.page.getByTestId('user-menu').click();
    await this.page.getByTestId('sign-out').click();
    await this.page.getByTestId('sign-in-login').waitFor();
  }

  async chooseTheme(theme: 'light' | 'dark' | 'system'): Promise<void> {
    await this.page.getByTestId('user-menu').click();
    await this.page.getByTestId('theme-toggle').locator(`[data-theme="${theme}"]`).click();
    await this.page.keyboard.press('Escape');
  }

  async #menu(name: string): Promise<void> {
    await this.thread(name).hover();
    await this.page.getByRole('button', { name: `Options for ${name}` }).click();
  }
}
