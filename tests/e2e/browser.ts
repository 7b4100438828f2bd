/** One headless Chromium for a test file; each person gets a context of their own. */

import { existsSync } from 'node:fs';

import {
  chromium,
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  type Page,
} from 'playwright-core';

import { freePort, type AppServer } from './server';
import { ChatPage } from './pages/chat';
import { SignInPage } from './pages/sign-in';

const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium';

const ARGUMENTS = [
  ...['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-quic'],
  // The browser's own errands: nothing leaves this machine.
  ...['--no-first-run', '--disable-background-networking', '--disable-component-update'],
  '--disable-sync',
];

export const PHONE: BrowserContextOptions = {
  viewport: { width: 360, height: 740 },
  hasTouch: true,
  isMobile: true,
};

/** A browser whose tabs are hidden, frozen and woken up as for a person. Otherwise every tab counts as the
 * one that is looked at, which is handy elsewhere. */
export async function plainBrowser(): Promise<{
  context: BrowserContext;
  close: () => Promise<void>;
}> {
  const port = await freePort();
  const args = [...ARGUMENTS, '--window-size=1280,900', `--remote-debugging-port=${port}`];
  const browser = await chromium.launch({ executablePath: CHROMIUM, args });
  const attached = await chromium.connectOverCDP(`http://127.0.0.1:${port}`, { noDefaults: true });
  const [context] = attached.contexts();
  context!.setDefaultTimeout(30_000);
  return { context: context!, close: () => browser.close() };
}

/** As a browser that saves power does it: the page is hidden, hears `freeze`, and then nothing more. */
export async function freeze(page: Page): Promise<void> {
  const session = await page.context().newCDPSession(page);
  await session.send('Page.setWebLifecycleState', { state: 'frozen' });
}

/** Somebody comes back to a frozen page. To make it active does not show it, nor does bringing to the front
 * what the browser holds to be there still: so another tab comes first, as for a person. */
export async function wake(page: Page): Promise<void> {
  const session = await page.context().newCDPSession(page);
  await session.send('Page.setWebLifecycleState', { state: 'active' });
  const other = page
    .context()
    .pages()
    .find((one) => one !== page);
  await other?.bringToFront();
  await page.bringToFront();
}

export class Visitors {
  readonly #browser: Browser;
  readonly #server: AppServer;
  /** What the pages complained about on their consoles. */
  readonly complaints: string[] = [];

  static async open(server: AppServer): Promise<Visitors> {
    if (!existsSync(CHROMIUM)) throw new Error(`There is no Chromium at ${CHROMIUM}.`);
    const browser = await chromium.launch({ executablePath: CHROMIUM, args: ARGUMENTS });
    return new Visitors(browser, server);
  }

  private constructor(browser: Browser, server: AppServer) {
    this.#browser = browser;
    this.#server = server;
  }

  /** A stranger in a fresh browser, before the sign-in page. */
  async stranger(options: BrowserContextOptions = {}): Promise<SignInPage> {
    const context = await this.#browser.newContext({
      baseURL: this.#server.url,
      viewport: { width: 1280, height: 800 },
      // The tests of the worker ask for it; elsewhere nothing stands between page and server.
      serviceWorkers: 'block',
      ...options,
    });
    context.setDefaultTimeout(20_000);
    const page = await context.newPage();
    this.#watch(page);
    const signIn = new SignInPage(page);
    await signIn.open();
    return signIn;
  }

  /** Somebody with an account, made for this test. */
  async person(name: string, password: string, options?: BrowserContextOptions): Promise<ChatPage> {
    return this.enter(await this.stranger(options), name, password);
  }

  /** A stranger gets an account. */
  async enter(stranger: SignInPage, name: string, password: string): Promise<ChatPage> {
    await stranger.signUp(name, password);
    return new ChatPage(stranger.page);
  }

  /** Another tab of the same person. */
  async tab(chat: ChatPage, path = './'): Promise<ChatPage> {
    const page = await chat.page.context().newPage();
    this.#watch(page);
    await page.goto(path);
    return new ChatPage(page);
  }

  async close(): Promise<void> {
    await this.#browser.close();
  }

  #watch(page: Page): void {
    page.on('pageerror', (error) => this.complaints.push(error.message));
    page.on('dialog', (dialog) => {
      this.complaints.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
  }
}
