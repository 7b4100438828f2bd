/** One leader among the tabs of a person, whatever becomes of it. */

import type { BrowserContext, Page, WebSocket } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { freeze, plainBrowser, wake } from './browser';
import { AppServer, PASSWORD } from './server';

/** What the page promises, and what two busy cores may add to it. */
const HANDED_OVER_MS = 2_000;
const SLACK_MS = 8_000;

let server: AppServer;
let context: BrowserContext;
let close: () => Promise<void>;
const tabs: Page[] = [];
const beats = new Map<Page, number>();

beforeAll(async () => {
  server = await AppServer.demo();
  ({ context, close } = await plainBrowser());
  const person = { name: 'juggler', password: PASSWORD };
  await context.request.post(`${server.url}api/auth/sign-up`, { data: person });
  for (let count = 0; count < 3; count += 1) tabs.push(await open());
});
afterAll(async () => {
  await close?.();
  await server?.stop();
});

/** Another tab; its heartbeats are counted. */
async function open(): Promise<Page> {
  const page = await context.newPage();
  beats.set(page, 0);
  page.on('websocket', (socket: WebSocket) => {
    socket.on('framesent', ({ payload }) => {
      if (String(payload).includes('"heartbeat"')) beats.set(page, beats.get(page)! + 1);
    });
  });
  await page.goto(server.url);
  await page.getByTestId('composer').waitFor();
  return page;
}

const leads = async (page: Page): Promise<boolean> =>
  (await page.locator('html').getAttribute('data-leads')) === 'true';

/** Resolves with the one of these that leads. */
async function leader(among: readonly Page[]): Promise<Page> {
  for (;;) {
    for (const page of among) if (await leads(page)) return page;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What happens once the leader is brought to an end: who leads next, how long that took, and that the
 * server hears of it from there. */
async function handOver(
  before: Page,
  end: (leader: Page) => Promise<unknown>,
): Promise<{ next: Page; ms: number }> {
  const others = tabs.filter((tab) => tab !== before);
  const known = new Map(beats);
  const began = Date.now();
  const ended = end(before);
  const next = await leader(others);
  const ms = Date.now() - began;
  // More than one where the tab is shown as well, which is told too.
  await expect
    .poll(() => beats.get(next)! - known.get(next)!, { timeout: 30_000 })
    .toBeGreaterThan(0);
  await ended;
  return { next, ms };
}

test('the tab that is looked at leads', async () => {
  const [first, , third] = tabs as [Page, Page, Page];

  await leader([third]);
  await first.bringToFront();
  await leader([first]);

  await expect.poll(() => leads(third), { timeout: 30_000 }).toBe(false);
});

test('a leader that hangs is replaced, and follows when it is there again', async () => {
  const before = await leader(tabs);

  const { next, ms } = await handOver(before, (page) =>
    page.evaluate(() => {
      const until = Date.now() + 6_000;
      while (Date.now() < until);
    }),
  );

  // It is still the one that is looked at, so it leads again; and only it.
  await leader([before]);
  await expect.poll(() => leads(next), { timeout: 30_000 }).toBe(false);
  expect(ms).toBeLessThan(HANDED_OVER_MS + SLACK_MS);
});

test('a leader that the browser freezes is replaced', async () => {
  const before = await leader(tabs);

  const { ms } = await handOver(before, freeze);

  await wake(before);
  await leader([before]);
  expect(ms).toBeLessThan(HANDED_OVER_MS + SLACK_MS);
});

test('a leader that is closed is replaced by one of the others', async () => {
  const before = await leader(tabs);
  const others = tabs.filter((tab) => tab !== before);

  const { next, ms } = await handOver(before, (page) => page.close());

  // The first one that leads may give the part to the one that the browser shows instead.
  const leading = async () => (await Promise.all(others.map(leads))).filter(Boolean).length;
  await expect.poll(leading, { timeout: 30_000 }).toBe(1);
  expect(others).toContain(next);
  expect(ms).toBeLessThan(HANDED_OVER_MS + SLACK_MS);
});
