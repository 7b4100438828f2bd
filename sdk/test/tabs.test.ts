/** One leader among the tabs of a person, on a clock of its own. `tests/e2e/tabs.test.ts` does it in a browser. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { TabbedBrowser, type Tab } from './browser-tabs.js';

const HANDED_OVER_MS = 2_000;

let browser: TabbedBrowser;
let first: Tab;
let second: Tab;
let third: Tab;

beforeEach(async () => {
  vi.useFakeTimers();
  browser = new TabbedBrowser();
  [first, second, third] = [browser.open(), browser.open(), browser.open()];
  browser.look(first);
  await pass(3_000);
});
afterEach(() => {
  for (const tab of browser.tabs) tab.close();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

test('the tab that is looked at leads, and only it', () => {
  expect(browser.leaders).toEqual([first]);
});

test('looking at another tab makes that one lead', async () => {
  browser.look(third);
  await pass(HANDED_OVER_MS);

  expect(browser.leaders).toEqual([third]);
});

test('a tab that ends is followed by one of the others', async () => {
  first.end();
  await pass(0);

  expect(browser.leaders).toHaveLength(1);
});

test('a leader that closes its part is followed by one of the others', async () => {
  first.close();
  await pass(0);

  expect(browser.leaders).toHaveLength(1);
  expect(browser.leaders).not.toContain(first);
});

test('a leader that is frozen lets go at once', async () => {
  first.freeze();
  await pass(0);

  expect(browser.leaders).toHaveLength(1);
  expect(browser.leaders).not.toContain(first);
});

test('a leader that hangs with the lock in its hand is replaced, though all others are in the background', async () => {
  first.hang();
  await pass(HANDED_OVER_MS);

  expect([second.leads, third.leads].filter(Boolean)).toHaveLength(1);
});

test('a leader that hung learns that it lost, before it does anything else', async () => {
  first.hang();
  await pass(HANDED_OVER_MS);
  browser.look(second);
  await pass(HANDED_OVER_MS);

  first.go();
  await pass(0);

  expect(browser.leaders).toEqual([second]);
});

test('a leader that hung leads again when it is still the one that is looked at', async () => {
  first.hang();
  await pass(10_000);

  first.go();
  await pass(HANDED_OVER_MS);

  expect(browser.leaders).toEqual([first]);
});

test('a frozen tab that wakes in the background follows', async () => {
  first.freeze();
  browser.look(second);
  await pass(60_000);

  first.resume();
  await pass(HANDED_OVER_MS);

  expect(browser.leaders).toEqual([second]);
});

test('a frozen tab that wakes and is looked at leads', async () => {
  first.freeze();
  await pass(60_000);

  first.resume();
  browser.look(first);
  await pass(HANDED_OVER_MS);

  expect(browser.leaders).toEqual([first]);
});

test('tabs that were asleep all together keep their leader', async () => {
  for (const tab of browser.tabs) tab.hang();
  await pass(3_600_000);

  // The followers wake first.
  for (const tab of [third, second]) tab.go();
  await pass(500);
  first.go();
  await pass(HANDED_OVER_MS);

  expect(browser.leaders).toEqual([first]);
});

test('nobody takes the lock from a leader that answers', async () => {
  const led = vi.fn();
  first.tabs.leads.subscribe(led);

  await pass(600_000);

  expect(led.mock.calls).toEqual([[true]]);
});
