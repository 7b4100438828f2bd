import type { Locator, Page } from 'playwright-core';

/** The list of agent sessions, and the page of one. */
export class AgentPage {
  readonly page: Page;
  readonly items: Locator;
  readonly ask: Locator;
  readonly terminals: Locator;
  readonly end: Locator;
  readonly composer: Locator;
  readonly place: Locator;

  constructor(page: Page) {
    this.page = page;
    this.items = page.getByTestId('agent-item');
    this.ask = page.getByTestId('agent-ask');
    this.terminals = page.getByTestId('terminal');
    this.end = page.getByTestId('agent-end');
    this.composer = page.getByTestId('agent-composer');
    this.place = page.getByTestId('scrubber-place');
  }

  /** Give an agent a task; gives back the session's path below the application. */
  async begin(task: string): Promise<string> {
    await this.page.getByTestId('new-agent').click();
    await this.page.getByTestId('agent-task').fill(task);
    await this.page.getByTestId('agent-start').click();
    await this.open_();
    return new URL(this.page.url()).pathname;
  }

  async open(path: string): Promise<void> {
    await this.page.goto(path);
    await this.open_();
  }

  /** What the page says of the agent now. */
  state(...states: string[]): Locator {
    const wanted = states.map((state) => `[data-testid="agent-state"][data-state="${state}"]`);
    return this.page.getByTestId('agent-controls').locator(wanted.join(', '));
  }

  press(control: 'pause' | 'resume' | 'stop' | 'confirm' | 'reject'): Promise<void> {
    return this.page.getByTestId(`agent-${control}`).click();
  }

  async say(text: string): Promise<void> {
    await this.composer.fill(text);
    await this.page.getByTestId('agent-send').click();
  }

  /** Let somebody in, by name. */
  async invite(name: string, role: 'drive' | 'comment' | 'watch'): Promise<void> {
    await this.page.getByTestId('agent-people').click();
    await this.page.getByTestId('agent-invite').click();
    await this.page.getByTestId('people-input').fill(name);
    await this.page.getByTestId('people-add').click();
    await this.page.getByTestId('chosen-person').waitFor();
    await this.page.getByTestId('agent-invite-role').selectOption(role);
    await this.page.getByRole('dialog').locator('button[type="submit"]').click();
    await this.page.getByTestId('agent-member').filter({ hasText: name }).waitFor();
  }

  step(action: string, status: string): Locator {
    return this.page.locator(
      `[data-testid="agent-step"][data-action="${action}"][data-status="${status}"]`,
    );
  }

  /** The numbers of the events that are shown, in order. */
  shown(): Promise<number[]> {
    return this.items.evaluateAll((items) => items.map((one) => Number(one.dataset['event'])));
  }

  /** Look at a file of the workspace; the panel is open. */
  async file(path: string): Promise<string> {
    await this.page.locator(`[data-testid="agent-file-row"][data-path="${path}"]`).click();
    const file = this.page.locator(`[data-testid="agent-file"][data-path="${path}"]`);
    const text = await file.innerText();
    await this.page.getByTestId('panel-back').click();
    return text;
  }

  async scrubTo(at: number): Promise<void> {
    await this.page.getByTestId('scrubber-range').fill(String(at));
    await this.place.filter({ hasText: new RegExp(`^${at} /`) }).waitFor();
  }

  private async open_(): Promise<void> {
    await this.page.locator('[data-testid="agent-page"][data-phase="open"]').waitFor();
  }
}
