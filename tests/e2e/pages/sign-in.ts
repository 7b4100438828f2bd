import type { Locator, Page } from 'playwright-core';

/** The page before one is signed in. */
export class SignInPage {
  readonly page: Page;
  readonly login: Locator;
  readonly password: Locator;
  readonly submit: Locator;
  readonly problem: Locator;

  constructor(page: Page) {
    this.page = page;
    this.login = page.getByTestId('sign-in-login');
    this.password = page.getByTestId('sign-in-password');
    this.submit = page.getByTestId('sign-in-submit');
    this.problem = page.getByTestId('sign-in-problem');
  }

  async open(): Promise<void> {
    await this.page.goto('./');
    await this.login.waitFor();
  }

  async signIn(login: string, password: string): Promise<void> {
    await this.login.fill(login);
    await this.password.fill(password);
    await this.submit.click();
  }

  /** Create an account; ends in the chat. */
  async signUp(name: string, password: string): Promise<void> {
    await this.page.goto('sign-up');
    await this.signIn(name, password);
    await this.page.getByTestId('composer').waitFor();
  }
}
