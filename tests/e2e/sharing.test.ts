/** One conversation, two people in browsers of their own: to look on, to take part, and to be shut out. */

import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';

import { accessFaults } from './accessibility';
import { PHONE, Visitors } from './browser';
import { ChannelPage } from './pages/channel';
import { ChatPage } from './pages/chat';
import { ShareDialog } from './pages/share';
import { AppServer, PASSWORD } from './server';

/** What must not be found with somebody who may not read it any more. */
const SECRET = 'tangerine-4711';

let server: AppServer;
let visitors: Visitors;
let ann: ChatPage;
let bob: ChatPage;
let sharing: ShareDialog;
let path: string;
/** What the server sent to Bob. */
const heard: string[] = [];

beforeAll(async () => {
  server = await AppServer.demo();
  visitors = await Visitors.open(server);
  // What a worker keeps is looked through as well.
  bob = await visitors.person('Bob Baker', PASSWORD, { serviceWorkers: 'allow' });
  bob.page.on('websocket', (socket) =>
    socket.on('framereceived', ({ payload }) => heard.push(String(payload))),
  );
  ann = await visitors.person('Ann Archer', PASSWORD);
  sharing = new ShareDialog(ann.page, 'share-thread');
});
afterAll(async () => {
  await visitors?.close();
  await server?.stop();
});
afterEach(() => {
  expect(visitors.complaints.splice(0)).toEqual([]);
});

const row = (chat: ChatPage) => chat.page.getByTestId('shared-section').getByTestId('thread-item');
const here = (chat: ChatPage, name: string) =>
  chat.page.getByTestId('person-here').filter({ hasText: name });
const readerLine = (chat: ChatPage) => chat.page.getByTestId('reader-line');

/** Resolves when the newest answer goes on past `length` characters. */
async function grows(chat: ChatPage, length: number): Promise<void> {
  const longer = (least: number): boolean => {
    const answers = document.querySelectorAll('[data-role="assistant"] .prose');
    return ([...answers].at(-1)?.textContent?.length ?? 0) > least;
  };
  await chat.page.waitForFunction(longer, length);
}

test('a reader is told, follows a streaming answer live, is seen, and can do nothing', async () => {
  await ann.say('count to 6000');
  await ann.lastAnswer.waitFor();
  path = new URL(ann.page.url()).pathname;
  await sharing.share('Bob Baker', 'read');

  await row(bob).waitFor();
  await bob.page.getByText('Ann Archer shared a conversation with you').waitFor();
  const told = [await row(bob).getAttribute('data-unseen'), await bob.page.title()];
  await row(bob).click();
  await readerLine(bob).waitFor();
  await grows(bob, ((await bob.lastAnswer.textContent()) ?? '').length + 20);
  await here(ann, 'Bob Baker').waitFor();
  await here(bob, 'Ann Archer').waitFor();
  const live = await bob.lastAnswer.getAttribute('data-streaming');
  const faults: string[] = [];
  for (const colorScheme of ['light', 'dark'] as const) {
    await bob.page.emulateMedia({ colorScheme });
    faults.push(...(await accessFaults(bob.page)));
  }

  expect(told[0]).toBe('true');
  expect(told[1]).toMatch(/^\(1\) /);
  expect(live).toBe('true');
  expect(await readerLine(bob).textContent()).toContain('Ann Archer can let you write');
  expect(await bob.composer.count()).toBe(0);
  expect(await bob.page.getByTestId('share-thread').count()).toBe(0);
  expect(await bob.spoken('count to').getByTestId('author').textContent()).toBe('Ann Archer');
  expect(await row(bob).getAttribute('data-unseen')).toBeNull();
  expect(await bob.page.title()).toBe(await ann.page.title());
  expect(faults).toEqual([]);
});

test('the dialog names who has access, and has no fault', async () => {
  await ann.stop.click();
  await ann.settled();
  await sharing.open();
  const faults: string[] = [];
  for (const colorScheme of ['light', 'dark'] as const) {
    await ann.page.emulateMedia({ colorScheme });
    faults.push(...(await accessFaults(ann.page)));
  }
  const people = await sharing.people.allInnerTexts();
  await ann.page.getByTestId('people-input').fill('Nobody At All');
  await ann.page.getByTestId('people-add').click();

  const problem = ann.page.getByText('Nobody here is called “Nobody At All”.');
  await problem.waitFor();
  await sharing.close();

  expect(people.map((text) => text.split('\n')[1])).toEqual(['Bob Baker']);
  expect(faults).toEqual([]);
});

test('who may write is seen writing, and both see who said what', async () => {
  await sharing.allow('write');
  await bob.composer.waitFor();
  await bob.composer.pressSequentially('count to 3');
  await ann.page.getByText('Bob Baker is writing…').waitFor();
  await bob.composer.press('Enter');
  await ann.spoken('count to 3').waitFor();
  await expect.poll(() => ann.answerText(), { timeout: 20_000 }).toBe('1 2 3');
  await bob.settled();
  await ann.settled();

  const authors = (chat: ChatPage) => chat.page.getByTestId('author').allTextContents();

  expect(await authors(ann)).toEqual(['You', 'Bob Baker']);
  expect(await authors(bob)).toEqual(['Ann Archer', 'You']);
  expect(await ann.page.getByTestId('header-line').textContent()).toBe('');
});

test('who loses access in mid-answer keeps nothing of it, also after a reload', async () => {
  await ann.say(`repeat ${SECRET}`);
  await bob.page.getByText(SECRET).first().waitFor();
  await ann.settled();
  await ann.say('count to 6000');
  await grows(bob, 20);
  const before = await traces(bob.page, SECRET);

  await sharing.allow('none');
  await bob.page.getByText('This conversation is closed to you now').waitFor();
  const after = heard.length;
  await row(bob).waitFor({ state: 'detached' });
  const kept = [...(await traces(bob.page, SECRET)), ...(await held(bob.page, SECRET))];
  await grows(ann, ((await ann.lastAnswer.textContent()) ?? '').length + 100);
  const more = heard.slice(after).filter((frame) => frame.includes('message:delta'));
  await bob.page.reload();
  await bob.page.getByText('This conversation is not here').waitFor();
  const found = await traces(bob.page, SECRET);
  const asked = await Promise.all(
    [`api${path.replace('/c/', '/threads/')}`, `api${path.replace('/c/', '/threads/')}/messages`]
      .map((url) => bob.page.request.get(url))
      .map(async (answer) => (await answer).status()),
  );

  expect(before).toEqual(['page']);
  expect(kept).toEqual([]);
  expect(more).toEqual([]);
  expect(found).toEqual([]);
  expect(asked).toEqual([404, 404]);
  expect(heard.slice(after).filter((frame) => frame.includes(SECRET))).toEqual([]);
  expect(await bob.messages.count()).toBe(0);
});

test('who gets it back sees it again without doing anything', async () => {
  await sharing.share('Bob Baker', 'read');

  await readerLine(bob).waitFor();
  await bob.page.getByText(SECRET).first().waitFor();

  expect(await row(bob).count()).toBe(1);
  await ann.stop.click();
  await ann.settled();
});

test('an open channel that is closed and opened again comes back without a reload', async () => {
  const [hers, his] = [new ChannelPage(ann.page), new ChannelPage(bob.page)];
  await hers.create('standard', 'Garden');
  await hers.say('roses');
  const channel = new URL(ann.page.url()).pathname;
  const allow = (grants: Record<string, string>) =>
    ann.page.request.patch(`api${channel}`, { data: { grants } });
  await bob.page.goto(`.${channel}`);
  await his.message('roses').waitFor();

  await allow({});
  await bob.page.getByText('This channel is not open to you').waitFor();
  const meanwhile = await his.message('roses').count();
  const answer = await allow({ everyone: 'read' });
  await his.message('roses').waitFor();

  expect(answer.status()).toBe(200);
  expect(meanwhile).toBe(0);
});

test('what is opened to everybody comes into their lists, and goes, without a reload', async () => {
  const begun = await visitors.person('Cleo Carter', PASSWORD);
  await begun.converse('code');
  const open = new ShareDialog(begun.page, 'share-thread');
  const listed = row(bob).filter({ hasText: 'code' });

  await open.allowEveryone('read');
  await listed.waitFor();
  await listed.click();
  await readerLine(bob).waitFor();
  await open.allowEveryone('none');
  await listed.waitFor({ state: 'detached' });

  await bob.page.getByText('This conversation is closed to you now').waitFor();
  expect(await bob.messages.count()).toBe(0);
});

test('on a phone everything of a shared conversation has its place', async () => {
  await ann.page.goto(`.${path}`);
  const phone = await visitors.person('Walker Longname', PASSWORD, PHONE);
  await sharing.share('Walker Longname', 'read');
  await phone.page.goto(`.${path}`);
  await readerLine(phone).waitFor();
  await here(phone, 'Ann Archer').waitFor();

  const wide = await phone.page.evaluate(
    () => document.documentElement.scrollWidth > document.documentElement.clientWidth,
  );

  expect(wide).toBe(false);
  expect(await accessFaults(phone.page)).toEqual([]);
});

/** `['memory']` where a text is still held by the page's scripts. */
async function held(page: Page, text: string): Promise<string[]> {
  const session = await page.context().newCDPSession(page);
  const chunks: string[] = [];
  session.on('HeapProfiler.addHeapSnapshotChunk', ({ chunk }) => chunks.push(chunk));
  await session.send('HeapProfiler.collectGarbage');
  await session.send('HeapProfiler.takeHeapSnapshot', { reportProgress: false });
  await session.detach();
  return chunks.join('').includes(text) ? ['memory'] : [];
}

/** Where a text is still found in a page and in what its browser keeps. */
async function traces(page: Page, text: string): Promise<string[]> {
  const kept = await page.evaluate(async () => {
    const places: Record<string, string> = {
      page: document.documentElement.outerHTML + document.title,
      storage: JSON.stringify([{ ...localStorage }, { ...sessionStorage }]),
    };
    for (const { name = '' } of await indexedDB.databases()) {
      const opened = await new Promise<IDBDatabase>((resolve, reject) => {
        const request = indexedDB.open(name);
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error!);
      });
      for (const store of opened.objectStoreNames) {
        const all = opened.transaction(store).objectStore(store).getAll();
        await new Promise((resolve) => (all.onsuccess = resolve));
        places[`${name}/${store}`] = JSON.stringify(all.result);
      }
      opened.close();
    }
    for (const name of await caches.keys()) {
      const cache = await caches.open(name);
      for (const request of await cache.keys()) {
        if (/\/(api|ws)\//.test(request.url)) places[request.url] = 'the server’s answer';
      }
    }
    return places;
  });
  return Object.keys(kept).filter(
    (place) => kept[place]!.includes(text) || kept[place] === 'the server’s answer',
  );
}
