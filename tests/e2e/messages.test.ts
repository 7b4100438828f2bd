/** What can be done to messages, finding them, and being told of them. */

import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { accessFaults } from './accessibility';
import { Visitors } from './browser';
import { ChannelPage } from './pages/channel';
import type { ChatPage } from './pages/chat';
import { AppServer, PASSWORD } from './server';

let server: AppServer;
let visitors: Visitors;
let chat: ChatPage;

beforeAll(async () => {
  server = await AppServer.demo();
  visitors = await Visitors.open(server);
  chat = await visitors.person('Ann Archer', PASSWORD);
});
afterAll(async () => {
  await visitors?.close();
  await server?.stop();
});

const id = (name: string) => chat.page.getByTestId(name);

describe('one’s own message', () => {
  test('is changed, here and in another tab, and stays changed', async () => {
    await chat.converse('tabel');
    const other = await visitors.tab(chat, new URL(chat.page.url()).pathname);
    await other.spoken('tabel').waitFor();
    await chat.composer.press('ArrowUp');
    await id('edit-input').fill('table, please');
    await id('edit-input').press('Enter');

    await other.spoken('table, please').waitFor();
    await other.page.reload();
    await other.spoken('table, please').waitFor();

    expect(await other.spoken('tabel').count()).toBe(0);
    expect(await other.spoken('table').locator('time').textContent()).toMatch(/edited/);
    await other.page.close();
  });

  test('keeps its text where one thinks better of it', async () => {
    await chat.spoken('table, please').hover();
    await id('message-edit').click();
    await id('edit-input').fill('something else');
    const faults = await accessFaults(chat.page);
    await id('edit-input').press('Escape');

    await id('edit-input').waitFor({ state: 'detached' });

    expect(faults).toEqual([]);
    expect(await chat.spoken('table, please').count()).toBe(1);
  });

  test('is deleted after a question, for good', async () => {
    await chat.spoken('table, please').hover();
    await id('message-delete').click();
    await id('confirm').click();
    await chat.spoken('table, please').waitFor({ state: 'detached' });

    await chat.page.reload();
    await chat.lastAnswer.waitFor();

    expect(await chat.spoken('table, please').count()).toBe(0);
  });

  test('is said once more after an answer that failed', async () => {
    await chat.newChat();
    await chat.say('error');
    await id('ask-again').click();

    await chat.page.locator('[data-testid="message"][data-role="error"]').nth(1).waitFor();

    expect(await chat.page.locator('[data-role="user"]').allTextContents()).toHaveLength(2);
  });
});

describe('in a channel', () => {
  let ann: ChannelPage;
  let bob: ChannelPage;

  beforeAll(async () => {
    bob = new ChannelPage((await visitors.person('Bob Baker', PASSWORD)).page);
    ann = new ChannelPage(chat.page);
    await ann.create('group', 'Plans', ['Bob Baker']);
    await bob.item('Plans').waitFor();
    await ann.page.evaluate(async () => {
      const channel = location.pathname.split('/').at(-1)!;
      for (let number = 1; number <= 70; number += 1) {
        const content = number === 3 ? 'the **needle** is here' : `line ${number}.`;
        await fetch(`/api/channels/${channel}/messages`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ content }),
        });
      }
    });
  });

  test('what was said long ago is found, and shown where it was said', async () => {
    await ann.page.reload();
    await ann.message('line 70.').waitFor();
    await ann.page.keyboard.press('Control+Shift+F');
    await id('search-messages').fill('needle');
    await id('found-message').click();

    await ann.message('the needle is here').waitFor();

    const seen = await ann.message('the needle is here').evaluate((node) => {
      const { top, bottom } = node.getBoundingClientRect();
      return top >= 0 && bottom <= innerHeight;
    });
    expect(seen).toBe(true);
    expect(await accessFaults(ann.page)).toEqual([]);
    expect(await id('found-message').locator('mark').allTextContents()).toEqual(['needle']);
    await id('close-panel').click();
  });

  test('what nobody said is not found', async () => {
    await id('show-search').click();
    await id('search-messages').fill('100%_');

    await ann.panel.getByText('Nothing found for “100%_”.').waitFor();

    expect(await id('found-message').count()).toBe(0);
    await id('close-panel').click();
  });

  test('unread messages are counted in the tab’s title until they are read', async () => {
    await bob.open('Plans');
    await ann.page.goto('settings');
    await bob.say('are you there?');

    await ann.page.waitForFunction(() => document.title.startsWith('(1) '));
    await ann.open('Plans');
    await ann.page.waitForFunction(() => !document.title.startsWith('('));

    expect(await ann.page.title()).toBe('Plans · Parlour demo');
  });

  test('a mention is told to whoever looks elsewhere, and nothing else is', async () => {
    await ann.page.context().grantPermissions(['notifications']);
    await listen(ann.page);
    await ann.page.goto('settings');
    await ann.page.locator('#desktop').click();
    await hide(ann.page, true);
    await bob.say('a word to everybody');
    await bob.composer.pressSequentially('and one to you, @ann');
    await bob.page.getByTestId('mention-list').getByRole('option').waitFor();
    await bob.composer.press('Enter');
    await bob.composer.press('Enter');

    await ann.page.waitForFunction(() => (window as unknown as Told).told.length > 0);

    const told = await ann.page.evaluate(() => (window as unknown as Told).told);
    expect(told).toEqual([['Bob Baker in #Plans', 'and one to you, @Ann Archer']]);
    await hide(ann.page, false);
    expect(visitors.complaints).toEqual([]);
  });
});

interface Told {
  told: [title: string, body: string][];
}

/** Write down what the page hands to the operating system, which has no screen here. */
async function listen(page: Page): Promise<void> {
  await page.addInitScript(() => {
    const told: Told['told'] = [];
    Object.assign(window, { told });
    window.Notification = class extends Notification {
      constructor(title: string, options?: NotificationOptions) {
        super(title, options);
        told.push([title, options?.body ?? '']);
      }
    };
  });
}

/** A window without a screen is always visible: say that nobody looks. */
async function hide(page: Page, hidden: boolean): Promise<void> {
  await page.evaluate(
    (state) => {
      Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => state });
      Object.defineProperty(document, 'hidden', {
        configurable: true,
        get: () => state === 'hidden',
      });
      document.dispatchEvent(new Event('visibilitychange'));
    },
    hidden ? 'hidden' : 'visible',
  );
}
