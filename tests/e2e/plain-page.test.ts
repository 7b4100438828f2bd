/** The SDK in a page without a framework, from another origin than the server's. */

import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

import type { BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { plainBrowser } from './browser';
import { AppServer, PASSWORD, ROOT } from './server';

const FILES: Record<string, [string, string]> = {
  '/': ['text/html', join(ROOT, 'examples/plain-page/index.html')],
  '/parlour.min.js': ['text/javascript', join(ROOT, 'sdk/dist/parlour.min.js')],
};

let host: Server;
let server: AppServer;
let context: BrowserContext;
let close: () => Promise<void>;
let page: Page;

beforeAll(async () => {
  host = createServer((request, response) => {
    const found = FILES[new URL(request.url!, 'http://x').pathname];
    if (!found) return void response.writeHead(404).end();
    response.setHeader('content-type', found[0]);
    readFile(found[1]).then((text) => response.end(text));
  });
  await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${(host.address() as AddressInfo).port}`;
  server = await AppServer.demo({ PARLOUR_ALLOWED_ORIGINS: origin });
  ({ context, close } = await plainBrowser());
  page = await context.newPage();
  await page.goto(`${origin}/?server=${server.url.replace(/\/$/, '')}`);
});
afterAll(async () => {
  await close?.();
  await server?.stop();
  host?.close();
});

test('signs in, shows an answer, and keeps what is typed offline over a reload', async () => {
  const items = page.locator('#messages li');
  const enter = async (): Promise<void> => {
    await page.locator('[name=login]').fill('demo');
    await page.locator('[name=password]').fill(PASSWORD);
    await page.locator('#sign-in button').click();
  };
  const say = async (text: string): Promise<void> => {
    await page.locator('[name=text]').fill(text);
    await page.locator('#say button').click();
  };

  await enter();
  await page.getByText('live', { exact: true }).waitFor();
  await say('count to 5');
  await items.getByText('1 2 3 4 5', { exact: true }).waitFor();
  await server.kill();
  await say('count to 6');
  await page.locator('li[data-who=waiting]').waitFor();
  await page.reload();
  await server.begin();
  await enter();
  await items.getByText('1 2 3 4 5 6', { exact: true }).waitFor();

  expect(await items.allTextContents()).toEqual([
    ...['count to 5', '1 2 3 4 5'],
    ...['count to 6', '1 2 3 4 5 6'],
  ]);
});
