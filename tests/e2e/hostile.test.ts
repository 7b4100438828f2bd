/** What other people and models write must not act in the reader's page. */

import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';

import { Visitors } from './browser';
import { AppServer, PASSWORD } from './server';

let server: AppServer;
let visitors: Visitors;

beforeAll(async () => {
  server = await AppServer.app('echo.py');
  visitors = await Visitors.open(server);
});
afterAll(async () => {
  await visitors?.close();
  await server?.stop();
});
afterEach(() => {
  expect(visitors.complaints.splice(0)).toEqual([]);
});

const ACT = 'window.acted=1';
const MARKUP = [
  `<script>${ACT}</script>`,
  `<img src=x onerror="${ACT}">`,
  `<svg onload="${ACT}"><animate onbegin="${ACT}"></svg>`,
  `<iframe srcdoc="<script>parent.${ACT}</script>"></iframe>`,
  `<a href="javascript:${ACT}">press</a>`,
  `<details open ontoggle="${ACT}">more</details>`,
  '<style>* { display: none !important }</style>',
  '<base href="http://127.0.0.1:9/">',
  '<form action="http://127.0.0.1:9/"><button>Sign in</button></form>',
];
const MARKDOWN = [
  `[press](javascript:${ACT})`,
  `[press](JaVa\u0000ScRiPt:${ACT})`,
  `[press](&#x6A;avascript:${ACT})`,
  `[press](vbscript:${ACT})`,
  `[press](data:text/html,<script>${ACT}</script>)`,
  `<javascript:${ACT}>`,
  `[press][reference]\n\n[reference]: javascript:${ACT}`,
  `[press](https://example.org '" onmouseover="${ACT}')`,
  `![picture](javascript:${ACT})`,
  '![picture](http://127.0.0.1:9/pixel.png)',
  '![picture](//127.0.0.1:9/pixel.png)',
  '![picture](/api/auth/sign-out)',
  `\`\`\`"><img/src=x/onerror=${ACT}>\ncode\n\`\`\``,
  `| a |\n| --- |\n| <img src=x onerror="${ACT}"> |`,
];

/** Addresses that a page asks for outside its own server. */
function foreignRequests(page: Page): string[] {
  const found: string[] = [];
  page.on('request', (request) => {
    const url = request.url();
    if (!url.startsWith(server.url) && !/^(data|blob):/.test(url)) found.push(url);
  });
  return found;
}

/** Everything in the page that could act or leads where it must not. */
function dangers(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const found: string[] = [];
    if ('acted' in window) found.push('a script ran');
    const root = document.querySelector('main') ?? document.body;
    for (const node of root.querySelectorAll('script, iframe, object, embed, style, base')) {
      found.push(node.outerHTML);
    }
    for (const node of root.querySelectorAll('*')) {
      for (const { name, value } of node.attributes) {
        const leads = ['href', 'src', 'action', 'formaction', 'xlink:href'].includes(name);
        const address = leads ? new URL(value, location.href) : undefined;
        const harmless = ['http:', 'https:', 'mailto:', 'blob:'].includes(address?.protocol ?? '');
        if (name.startsWith('on') || (leads && !harmless)) found.push(node.outerHTML);
        if (name === 'src' && address?.origin !== location.origin) found.push(node.outerHTML);
      }
    }
    return found;
  });
}

test.each([
  ['markup', MARKUP],
  ['Markdown', MARKDOWN],
])('%s in an answer does nothing, also while it is being written', async (_, hostile) => {
  const chat = await visitors.person(`reader-${hostile.length}`, PASSWORD);
  const requests = foreignRequests(chat.page);

  await chat.composer.fill(`Look:\n\n${hostile.join('\n\n')}\n\nThat is all.`);
  await chat.composer.press('Enter');
  await chat.lastAnswer.getByText('That is all.').waitFor();
  await chat.settled();
  const live = await dangers(chat.page);
  await chat.page.reload();
  await chat.lastAnswer.getByText('That is all.').waitFor();

  expect(live).toEqual([]);
  expect(await dangers(chat.page)).toEqual([]);
  expect(requests).toEqual([]);
  expect(await chat.signedIn()).toBe(true);
});

test('a link in an answer opens a page that knows nothing of this one', async () => {
  const chat = await visitors.person('clicker', PASSWORD);
  await chat.converse(`[press](${server.url}health/live)`);

  const link = chat.lastAnswer.getByRole('link', { name: 'press' });

  expect(await link.getAttribute('rel')).toBe('noopener noreferrer');
  expect(await link.getAttribute('target')).toBe('_blank');
});

test('a picture from elsewhere is a link until the reader follows it', async () => {
  const chat = await visitors.person('watcher', PASSWORD);
  const requests = foreignRequests(chat.page);

  await chat.converse('![a chart](http://127.0.0.1:9/chart.png)');

  expect(await chat.lastAnswer.getByRole('link', { name: 'a chart' }).count()).toBe(1);
  expect(requests).toEqual([]);
});

test('names, titles, steps, buttons, files and questions are shown as text', async () => {
  const name = '<img src=x onerror="window.acted=1">';
  const chat = await visitors.person(name, PASSWORD);
  const requests = foreignRequests(chat.page);

  await chat.say(`everywhere ${name}`);
  await chat.ask.waitFor();
  await chat.page.getByTestId('step').first().click();
  await chat.page.getByTestId('user-menu').click();
  await chat.page.getByRole('menu').waitFor();
  const open = await dangers(chat.page);
  await chat.page.keyboard.press('Escape');
  await chat.rename('everywhere', name);
  await chat.page.reload();
  await chat.ask.waitFor();

  expect(open).toEqual([]);
  expect(await dangers(chat.page)).toEqual([]);
  expect(await chat.page.title()).toContain('<img');
  expect(await chat.page.locator('img[src="x"]').count()).toBe(0);
  expect(await chat.thread(name).count()).toBe(1);
  expect(requests).toEqual([]);
});

test('addresses that were made up show where nothing is', async () => {
  const chat = await visitors.person('explorer', PASSWORD);

  for (const path of ['c/short', 'c/%3Cscript%3E', 'c/unknown-conversation/x', 'no/such/page']) {
    await chat.page.goto(path);
    await chat.page
      .getByText(/nothing here|not found/i)
      .first()
      .waitFor();
  }

  expect(await chat.signedIn()).toBe(true);
});
