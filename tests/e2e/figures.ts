/** What the page weighs and how quick it is: `make figures`, with JSON=file also for machines. */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { Visitors } from './browser';
import type { ChatPage } from './pages/chat';
import { AppServer, PASSWORD, ROOT } from './server';

const STATIC = join(ROOT, 'src/parlour/transports/http/static');
const ROUNDS = 10;

let server: AppServer;
let visitors: Visitors;
let chat: ChatPage;
const figures: Record<string, number> = {};

beforeAll(async () => {
  // The demo's own pace is not what is measured.
  server = await AppServer.demo({ PARLOUR_DEMO_TOKENS_PER_SECOND: '1000' });
  visitors = await Visitors.open(server);
  chat = await visitors.person('runner', PASSWORD);
});
afterAll(async () => {
  await visitors?.close();
  await server?.stop();
  for (const [name, value] of Object.entries(figures)) {
    console.log(`${String(value).padStart(9)}  ${name}`);
  }
  if (process.env['JSON']) writeFileSync(process.env['JSON'], JSON.stringify(figures, null, 2));
});

const median = (values: number[]): number =>
  Math.round([...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!);
const gzip = (file: string): number => gzipSync(readFileSync(file), { level: 9 }).length;

test('sizes', () => {
  const index = readFileSync(join(STATIC, 'index.html'), 'utf8');
  const first = [...index.matchAll(/(?:src|href)="[./]*(assets\/[^"]+)"/g)].map(
    ([, name]) => name!,
  );
  const all = readdirSync(join(STATIC, 'assets')).filter((name) => name.endsWith('.js'));

  figures['bytes, page: first load (scripts and styles, gzip)'] = first
    .filter((name) => /\.(js|css)$/.test(name))
    .reduce((sum, name) => sum + gzip(join(STATIC, name)), 0);
  figures['bytes, page: all scripts (gzip)'] = all.reduce(
    (sum, name) => sum + gzip(join(STATIC, 'assets', name)),
    0,
  );
  figures['bytes, SDK: parlour.min.js (gzip)'] = gzip(join(ROOT, 'sdk/dist/parlour.min.js'));

  expect(first.length).toBeGreaterThan(0);
});

/** Milliseconds from the key that sends to the frame that shows the first word of the answer. */
function toFirstWord(page: Page): Promise<number> {
  return page.evaluate(
    () =>
      new Promise<number>((resolve) => {
        const answers = '[data-testid="message"][data-role="assistant"]';
        const before = document.querySelectorAll(answers).length;
        let sent = 0;
        addEventListener('keydown', () => (sent = performance.now()), {
          once: true,
          capture: true,
        });
        const look = (): void => {
          const found = document.querySelectorAll(answers);
          const shown = found.length > before && found[found.length - 1]!.textContent?.trim();
          if (shown) requestAnimationFrame(() => resolve(performance.now() - sent));
          else requestAnimationFrame(look);
        };
        look();
      }),
  );
}

test('the first word on the screen', async () => {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    await chat.composer.fill('count to 20');
    const shown = toFirstWord(chat.page);
    await chat.composer.press('Enter');
    times.push(await shown);
    await chat.settled();
  }

  figures['ms, from sending to the first word on the screen (median of 10)'] = median(times);
  expect(times).toHaveLength(ROUNDS);
});

test('from the network’s return to a current page', async () => {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS / 2; round += 1) {
    await chat.page.context().setOffline(true);
    await chat.banner.waitFor();
    const current = chat.page.evaluate(
      () =>
        new Promise<number>((resolve) => {
          addEventListener(
            'online',
            () => {
              const back = performance.now();
              const look = (): void => {
                if (document.querySelector('[data-testid="connection-banner"]')) {
                  requestAnimationFrame(look);
                } else resolve(performance.now() - back);
              };
              look();
            },
            { once: true },
          );
        }),
    );
    await chat.page.context().setOffline(false);
    times.push(await current);
  }

  figures['ms, from `online` to all streams current (median of 5)'] = median(times);
  expect(times.length).toBeGreaterThan(0);
});
