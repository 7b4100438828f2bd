/** Several people in one note, in browsers of their own; one of them without a connection for a while. */

import { connect } from '@parlour/sdk';
import { DocumentProvider, type DocumentStatus } from '@parlour/sdk/documents';
import type { BrowserContext } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import * as Y from 'yjs';

import { accessFaults } from './accessibility';
import { Visitors } from './browser';
import { NotePage } from './pages/note';
import { FaultProxy } from './proxy';
import { AppServer, PASSWORD } from './server';

let server: AppServer;
let proxy: FaultProxy;
let visitors: Visitors;
let ann: NotePage;
let bob: NotePage;
let path: string;

beforeAll(async () => {
  server = await AppServer.demo();
  proxy = await FaultProxy.before(server.port);
  visitors = await Visitors.open(server);
  bob = new NotePage((await visitors.person('Bob Baker', PASSWORD)).page);
  ann = new NotePage((await visitors.person('Ann Archer', PASSWORD)).page);
  // Ann's connection can be taken away.
  await ann.page.goto(proxy.url);
  path = await ann.create('Plan');
  await ann.page.keyboard.type('We meet on Tuesday.');
  await ann.saved();
  await ann.share('Bob Baker', 'write');
  await bob.open(`.${path}`);
});
afterAll(async () => {
  await visitors?.close();
  await proxy?.stop();
  await server?.stop();
});
afterEach(() => {
  expect(visitors.complaints.splice(0)).toEqual([]);
});

describe('two people', () => {
  test('write into one paragraph at once, and see each other’s place', async () => {
    await ann.caretAt('We meet', 'Home');
    await bob.caretAt('We meet', 'End');
    await Promise.all([
      ann.page.keyboard.type('Listen: '),
      bob.page.keyboard.type(' Bring the minutes.'),
    ]);
    const wanted = 'Listen: We meet on Tuesday. Bring the minutes.';
    const texts = await Promise.all(
      [ann, bob].map((one) => one.textWhere((text) => text.startsWith(wanted))),
    );
    const carets = [await ann.carets.allInnerTexts(), await bob.carets.allInnerTexts()];

    await Promise.all([ann.saved(), bob.saved()]);

    expect(texts[0]).toBe(texts[1]);
    expect(carets).toEqual([['Bob Baker'], ['Ann Archer']]);
  });

  test('ask the server nothing but the socket while they write', async () => {
    // The page once asked for the note again with every letter.
    const asked: string[] = [];
    const hear = (request: { url(): string }) => asked.push(request.url());
    await bob.caretAt('We meet', 'End');
    bob.page.on('request', hear);

    await bob.page.keyboard.type(' And the cake.');
    await bob.saved();

    bob.page.off('request', hear);
    expect(asked).toEqual([]);
  });

  test('undo what they wrote themselves, and nothing of the other', async () => {
    await ann.caretAt('We meet', 'End');
    await ann.page.keyboard.type(' (Ann)');
    await bob.textWhere((text) => text.includes('(Ann)'));
    await bob.caretAt('We meet', 'End');
    await bob.page.keyboard.type(' (Bob)');
    await ann.textWhere((text) => text.includes('(Bob)'));

    await ann.page.getByTestId('tool-undo').click();

    const text = await bob.textWhere((text) => !text.includes('(Ann)'));
    expect(text).toContain('(Bob)');
  });

  test('change the title together', async () => {
    await ann.title.press('End');
    await ann.page.keyboard.type(' for the spring');
    await bob.title.press('Home');
    await bob.page.keyboard.type('Our ');

    await ann.page.waitForFunction(
      () => document.querySelector('textarea')?.value === 'Our Plan for the spring',
    );

    expect(await bob.title.inputValue()).toBe('Our Plan for the spring');
  });

  test('format with the toolbar what the other one reads', async () => {
    await ann.page.keyboard.press('Escape');
    await ann.body.click();
    await ann.page.keyboard.press('Control+End');
    await ann.page.keyboard.press('Enter');
    await ann.page.getByTestId('tool-tasks').click();
    await ann.page.keyboard.type('Book the room');

    await bob.body.locator('li[data-checked="false"] input').check();
    await ann.body.locator('li[data-checked="true"]').waitFor();

    // Whether the caret was at the end is not asked here: another one's may move in the same moment.
    const task = await ann.body.locator('li[data-checked="true"] p').innerText();
    expect(task).toContain('Book the room');
  });
});

/** Pages of the context can be loaded, but get no socket, until the returned function is called. */
async function withoutSockets(context: BrowserContext): Promise<() => Promise<void>> {
  let away = true;
  await context.routeWebSocket(/\/ws\//, (socket) => {
    if (away) void socket.close();
    else socket.connectToServer();
  });
  await context.route(/\/ws\//, (route) => (away ? route.abort() : route.continue()));
  return async () => {
    away = false;
    await context.unroute(/\/ws\//);
  };
}

test('what is written offline survives a reload and a killed server, and both end equal', async () => {
  // Every edit of one side hung on an update that the other never got, so whoever came back from a tunnel
  // wrote into a note of their own.
  await ann.caretAt('We meet', 'End');
  await proxy.away();
  await ann.page.keyboard.type(' Written in a tunnel.');
  await ann.phase('offline').waitFor();
  await bob.caretAt('We meet', 'Home');
  await bob.page.keyboard.type('Now: ');
  await bob.saved();
  await server.kill();
  await bob.page.keyboard.type('really, ');
  await server.begin();
  await bob.saved();
  await ann.page.keyboard.type(' Twice.');
  const pending = await ann.phase('offline').getAttribute('data-pending');
  await ann.page.goto('about:blank');
  const back = await withoutSockets(ann.page.context());
  await proxy.back();

  await ann.open(new URL(path, proxy.url).href);
  const reloaded = await ann.textWhere((text) => text.includes('Twice.'));
  await back();
  await ann.page.evaluate(() => dispatchEvent(new Event('online')));
  await ann.saved();

  const all = ['Now: really, ', 'Written in a tunnel. Twice.'];
  const texts = await Promise.all(
    [ann, bob].map((one) => one.textWhere((text) => all.every((part) => text.includes(part)))),
  );
  expect(Number(pending)).toBeGreaterThan(0);
  expect(reloaded).not.toContain('Now: ');
  expect(texts[0]).toBe(texts[1]);
  expect(texts[0]!.split('tunnel')).toHaveLength(2);
  expect(texts[0]!.split('We meet')).toHaveLength(2);
});

test('a reader sees live changes and cannot write, from the moment on that says so', async () => {
  await ann.allow('read');
  await bob.phase('readonly').waitFor();
  const before = await bob.text();
  await bob.block('We meet').click();
  await bob.page.keyboard.type('not me');

  await ann.caretAt('We meet', 'End');
  await ann.page.keyboard.type(' Live.');

  const seen = await bob.textWhere((text) => text.includes('Live.'));
  expect(seen).toBe(before.replace('Twice.', 'Twice. Live.'));
  expect(await bob.body.getAttribute('contenteditable')).toBe('false');
  expect(await bob.toolbar.count()).toBe(0);
});

test('an earlier version is compared and brought back as an edit that the other sees', async () => {
  await ann.page.getByTestId('note-history').click();
  await ann.page.getByTestId('version-name').fill('Good');
  await ann.page.getByTestId('keep-version').click();
  const kept = ann.versions.filter({ hasText: 'Good' });
  await kept.waitFor();
  const good = await ann.text();
  await ann.caretAt('We meet', 'End');
  await ann.page.keyboard.type(' Spoiled.');
  await ann.saved();
  await bob.textWhere((text) => text.includes('Spoiled.'));

  await kept.click();
  await ann.page.locator('[data-testid="version-mode"] [data-value="changes"]').click();
  const inserted = ann.page.getByTestId('version-changes').locator('ins');
  await inserted.first().waitFor();
  const added = await inserted.allInnerTexts();
  await ann.page.getByTestId('restore-version').click();

  const restored = await bob.textWhere((text) => !text.includes('Spoiled.'));
  expect(added.join('')).toContain('Spoiled.');
  expect(restored).toBe(good);
  await ann.page.getByTestId('close-panel').click();
});

test('a picture is kept by reference, for those who may read the note', async () => {
  const png =
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
  await ann.page.getByTestId('note-file').setInputFiles({
    ...{ name: 'dot.png', mimeType: 'image/png' },
    buffer: Buffer.from(png, 'base64'),
  });
  const picture = bob.body.locator('img[alt="dot.png"]');
  await picture.waitFor();

  await bob.page.waitForFunction(
    () => document.querySelector<HTMLImageElement>('img[alt="dot.png"]')?.naturalWidth === 1,
  );

  expect(await picture.getAttribute('src')).toMatch(/\/api\/files\/[\w-]+$/);
});

test('what another client writes into a note does not act in the page', async () => {
  const context = ann.page.context();
  const answer = await context.request.post('api/auth/sign-in', {
    data: { login: 'Ann Archer', password: PASSWORD },
  });
  const { token } = (await answer.json()) as { token: string };
  const connection = connect({ url: server.url, token });
  const documentId = `note:${path.split('/').at(-1)}`;
  const provider = new DocumentProvider({ connection, documentId });
  await reached(provider, ({ permission }) => permission === 'write');
  const requests: string[] = [];
  for (const { page } of [ann, bob]) page.on('request', (request) => requests.push(request.url()));

  writeHostile(provider.replica.get().doc.getXmlFragment('default'));
  await reached(provider, ({ pending }) => pending === 0);
  await bob.block('the end').waitFor();

  provider.close();
  connection.close();
  const links = await bob.body
    .locator('a')
    .evaluateAll((all) => all.map((link) => link.getAttribute('href') ?? ''));
  const bad = links.filter((href) => href && !/^(https?:|mailto:|\/api\/files\/)/.test(href));
  expect(bad).toEqual([]);
  expect(await bob.body.locator('script, iframe, [onerror], [style*="fixed"]').count()).toBe(0);
  expect(requests.filter((url) => url.includes('127.0.0.1:9'))).toEqual([]);
  expect(await bob.page.evaluate(() => 'acted' in window)).toBe(false);
});

function writeHostile(body: Y.XmlFragment): void {
  const act = 'window.acted=1';
  const link = (href: string) => {
    const text = new Y.XmlText();
    text.insert(0, 'press', { link: { href, target: '_self', class: 'x" onclick="' } });
    return text;
  };
  const block = (name: string, attributes: Record<string, string>, ...children: Y.XmlText[]) => {
    const element = new Y.XmlElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.insert(0, children);
    return element;
  };
  const markup = new Y.XmlText(`<img src=x onerror="${act}"><script>${act}</script>`);
  body.insert(body.length, [
    block('paragraph', {}, link(`javascript:${act}`)),
    block('paragraph', {}, link(`java\u0000script:${act}`)),
    block('paragraph', {}, link(`data:text/html,<script>${act}</script>`)),
    block('paragraph', {}, markup),
    block('image', { src: 'http://127.0.0.1:9/pixel.png', alt: 'from elsewhere' }),
    block('image', { src: `javascript:${act}` }),
    block('script', { src: 'http://127.0.0.1:9/script.js' }, new Y.XmlText(act)),
    block('iframe', { srcdoc: `<script>parent.${act}</script>` }),
    block('paragraph', { style: 'position: fixed', onerror: act }, new Y.XmlText('the end')),
  ]);
}

function reached(
  { status }: DocumentProvider,
  wanted: (status: DocumentStatus) => boolean,
): Promise<void> {
  return new Promise((resolve) => status.subscribe((value) => wanted(value) && resolve()));
}

test('the note and its dialogs have no faults of accessibility', async () => {
  const note = await accessFaults(ann.page);
  await ann.page.getByTestId('share-note').click();
  await ann.page.getByTestId('share-person').waitFor();
  const dialog = await accessFaults(ann.page);
  await ann.page.keyboard.press('Escape');

  expect([...note, ...dialog]).toEqual([]);
});

test('somebody whose access ends sees that, and keeps nothing in the browser', async () => {
  await ann.allow('none');

  await bob.page.getByTestId('to-notes').click();
  await bob.page.getByTestId('search-notes').waitFor();

  expect(await bob.page.getByTestId('note-item').count()).toBe(0);
  const kept = await bob.page.evaluate(async () => {
    const databases = await indexedDB.databases();
    const name = databases.find((one) => one.name?.startsWith('parlour.documents@'))!.name!;
    const open = indexedDB.open(name);
    await new Promise((resolve) => (open.onsuccess = resolve));
    const count = open.result.transaction('updates').objectStore('updates').count();
    await new Promise((resolve) => (count.onsuccess = resolve));
    open.result.close();
    return count.result;
  });
  expect(kept).toBe(0);
});

test('a note is found by its text, and deleted from the list', async () => {
  await ann.page.getByTestId('all-notes').click();
  const items = ann.page.getByTestId('note-item');
  await items.first().waitFor();
  await ann.page.getByTestId('search-notes').fill('nothing like this');
  await items.first().waitFor({ state: 'detached' });
  await ann.page.getByTestId('search-notes').fill('tunnel');
  await items.first().waitFor();

  await items.first().hover();
  await ann.page.getByTestId('delete-note').click();
  await ann.page.getByTestId('confirm').click();
  await items.first().waitFor({ state: 'detached' });

  expect(await items.count()).toBe(0);
});
