/** Two people in one channel, each in a browser of their own; a third who is not let in. */

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { accessFaults } from './accessibility';
import { PHONE, Visitors } from './browser';
import { ChannelPage } from './pages/channel';
import { AppServer, PASSWORD } from './server';

let server: AppServer;
let visitors: Visitors;
let ann: ChannelPage;
let bob: ChannelPage;

beforeAll(async () => {
  server = await AppServer.demo();
  visitors = await Visitors.open(server);
  bob = new ChannelPage((await visitors.person('Bob Baker', PASSWORD)).page);
  ann = new ChannelPage((await visitors.person('Ann Archer', PASSWORD)).page);
  await ann.create('group', 'Plans', ['Bob Baker']);
  // He was told of it, without asking.
  await bob.open('Plans');
});
afterAll(async () => {
  await visitors?.close();
  await server?.stop();
});

describe('what one does, the other sees', () => {
  test('a message, shown as text and never as a part of the page', async () => {
    await ann.say('hello <img src=x onerror=alert(1)>');

    await bob.message('hello').waitFor();

    const markup = bob.message('hello').getByTestId('channel-text');
    expect(await markup.textContent()).toContain('<img src=x onerror=alert(1)>');
    expect(await markup.locator('img').count()).toBe(0);
  });

  test('a reply, counted at its message and shown in the panel', async () => {
    await ann.openReplies('hello');
    await bob.openReplies('hello');
    await bob.reply('good morning');

    await ann.answer('good morning').waitFor();
    await ann.message('hello').getByText('1 reply').waitFor();

    expect(await ann.message('good morning').count()).toBe(0);
    for (const one of [ann, bob]) await one.page.getByTestId('close-panel').click();
  });

  test('a reaction, and its end', async () => {
    await bob.react('hello', '🎉');
    const reaction = ann.message('hello').getByTestId('reaction');
    await reaction.waitFor();
    const told = await reaction.getAttribute('aria-label');

    await bob.message('hello').getByTestId('reaction').click();
    await reaction.waitFor({ state: 'detached' });

    expect(told).toBe('🎉, 1: Bob Baker');
  });

  test('an edit', async () => {
    await ann.say('a draft');
    await bob.message('a draft').waitFor();
    await ann.edit('a draft', 'the final text');

    await bob.message('the final text').getByTestId('edited').waitFor();

    expect(await bob.message('a draft').count()).toBe(0);
  });

  test('a quotation and a mention that was completed', async () => {
    await bob.choose('the final text', 'quote-message');
    await bob.composer.pressSequentially('well said @an');
    await bob.page.getByTestId('mention-list').getByRole('option').waitFor();
    await bob.composer.press('Enter');
    await bob.composer.press('Enter');

    const got = ann.message('well said');
    await got.waitFor();

    expect(await got.getByTestId('quote').textContent()).toContain('the final text');
    expect(await got.getByTestId('channel-text').textContent()).toContain('Ann Archer');
  });

  test('a pin', async () => {
    await bob.choose('the final text', 'pin-message');
    await ann.message('the final text').getByTestId('pinned').waitFor();
    await ann.page.getByTestId('show-pins').click();

    await ann.panel.getByTestId('channel-message').waitFor();

    expect(await ann.panel.textContent()).toContain('the final text');
    await ann.page.getByTestId('close-panel').click();
  });

  test('that somebody is writing, and no longer once it is sent', async () => {
    await bob.composer.pressSequentially('wait');
    await ann.page.getByText('Bob Baker is writing…').waitFor();
    await bob.composer.press('Enter');

    await ann.message('wait').waitFor();

    expect(await ann.typing.textContent()).toBe('');
  });

  test('who is there, and who has left', async () => {
    await ann.showMembers();
    await ann.presence('Bob Baker', 'online').waitFor();
    await bob.page.goto('about:blank');

    await ann.presence('Bob Baker', 'offline').waitFor();
    await bob.page.goBack();
    await ann.presence('Bob Baker', 'online').waitFor();

    expect(await ann.presence('Ann Archer', 'online').count()).toBe(1);
    await ann.page.getByTestId('close-panel').click();
  });

  test('a deletion', async () => {
    await ann.say('gone in a moment');
    await bob.message('gone in a moment').waitFor();
    await ann.choose('gone in a moment', 'delete-message');
    await ann.page.getByTestId('confirm').click();

    await bob.message('gone in a moment').waitFor({ state: 'detached' });

    expect(await ann.message('gone in a moment').count()).toBe(0);
  });
});

test('what is unread is counted live, is the same after a reload, and ends with reading', async () => {
  await bob.page.getByTestId('new-chat').click();
  // Until the channel is off his screen, what is said there counts as seen.
  await bob.composer.waitFor({ state: 'detached' });
  await ann.say('one');
  await ann.say('two');
  await bob.unread('Plans').filter({ hasText: '2' }).waitFor();
  await bob.page.reload();
  await bob.unread('Plans').waitFor();
  const reloaded = await bob.unread('Plans').textContent();

  await bob.open('Plans');
  await bob.page.getByTestId('unread-line').waitFor();
  await bob.unread('Plans').waitFor({ state: 'detached' });
  await bob.page.reload();
  await bob.message('two').waitFor();

  expect(reloaded).toContain('2');
  expect(await bob.unread('Plans').count()).toBe(0);
});

test('a direct message reaches the one person, and shows whether they are there', async () => {
  await ann.startDirect('Bob Baker');
  await ann.say('just for you');

  await bob.open('Ann Archer');
  await bob.message('just for you').waitFor();

  const dot = ann.item('Bob Baker').getByTestId('presence');
  expect(await dot.getAttribute('data-status')).toBe('online');
});

test('a person without access gets an error and no data', async () => {
  await ann.open('Plans');
  const address = new URL(ann.page.url()).pathname;
  const carl = new ChannelPage((await visitors.person('Carl', PASSWORD)).page);
  const heard: string[] = [];
  carl.page.on('websocket', (socket) =>
    socket.on('framereceived', ({ payload }) => heard.push(String(payload))),
  );
  await carl.page.goto(address);

  await carl.page.getByText('This channel is not open to you').waitFor();

  expect(await carl.items.count()).toBe(0);
  expect(await carl.page.getByTestId('channel-message').count()).toBe(0);
  expect(heard.length).toBeGreaterThan(0);
  expect(heard.filter((frame) => /the final text|Plans/.test(frame))).toEqual([]);
});

test('somebody who is removed loses the page at once', async () => {
  await ann.create('group', 'Short', ['Bob Baker']);
  await bob.open('Short');
  await ann.say('for your eyes');
  await bob.message('for your eyes').waitFor();
  await ann.showMembers();
  await ann.panel
    .getByTestId('member')
    .filter({ hasText: 'Bob' })
    .getByTestId('member-menu')
    .click();
  await ann.page.getByTestId('member-remove').click();

  await bob.page.getByText('This channel is not open to you').waitFor();
  await bob.item('Short').waitFor({ state: 'detached' });

  expect(await bob.page.getByText('for your eyes').count()).toBe(0);
  await bob.open('Plans');
});

test('an open channel is found, read and joined', async () => {
  await ann.create('standard', 'Garden');
  await ann.say('roses');
  await bob.page.getByTestId('browse-channels').click();
  await bob.page.getByTestId('open-channel').filter({ hasText: 'Garden' }).click();
  await bob.message('roses').waitFor();
  await bob.page.getByTestId('join-channel').click();
  await bob.say('tulips');

  await ann.message('tulips').waitFor();

  expect(await bob.item('Garden').count()).toBe(1);
});

test('earlier messages come when the reader scrolls up, each once', async () => {
  await ann.create('group', 'Long', ['Bob Baker']);
  const { id } = (await ann.page.evaluate(async () => {
    const id = location.pathname.split('/').at(-1)!;
    for (let number = 1; number <= 70; number += 1) {
      await fetch(`/api/channels/${id}/messages`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ content: `line ${number}.` }),
      });
    }
    return { id };
  })) as { id: string };
  await bob.page.goto(`channels/${id}`);
  await bob.message('line 70.').waitFor();

  await bob.page.getByTestId('channel-messages').evaluate((node) => node.scrollTo(0, 0));
  await bob.page.getByText('line 1.', { exact: true }).waitFor();

  const texts = await bob.page.getByTestId('channel-text').allTextContents();
  expect(texts.map((text) => text.trim())).toEqual(
    Array.from({ length: 70 }, (_, index) => `line ${index + 1}.`),
  );
});

test('an administrator sees what is live and disconnects it; nobody else does', async () => {
  const admin = await visitors.stranger();
  await admin.signIn('demo', PASSWORD);
  await admin.page.getByTestId('user-menu').click();
  await admin.page.getByTestId('open-admin').click();
  const row = admin.page.getByTestId('live-connection').filter({ hasText: 'Carl' });
  await row.waitFor();
  const faults: string[] = [];
  for (const colorScheme of ['light', 'dark'] as const) {
    await admin.page.emulateMedia({ colorScheme });
    faults.push(...(await accessFaults(admin.page)));
  }
  await row.getByTestId('disconnect').click();
  await admin.page.getByTestId('confirm').click();

  await admin.page.getByText('Carl was disconnected.').waitFor();
  await ann.page.goto('admin');
  await ann.page.getByText('Only an administrator may see what is live.').waitFor();

  expect(faults).toEqual([]);
  expect((await ann.page.request.get('api/admin/overview')).status()).toBe(403);
  expect(visitors.complaints).toEqual([]);
});

describe.each(['light', 'dark'] as const)('in %s', (theme) => {
  test('a channel with its panel has no fault', async () => {
    await ann.page.goto('./');
    await ann.page.emulateMedia({ colorScheme: theme });
    await ann.open('Plans');
    await ann.openReplies('hello');
    await ann.answer('good morning').waitFor();

    expect(await accessFaults(ann.page)).toEqual([]);
  });
});

test('on a phone nothing sticks out and the panel covers the channel', async () => {
  const phone = new ChannelPage((await visitors.person('Walker', PASSWORD, PHONE)).page);
  await phone.page.goto('channels');
  await phone.page.getByTestId('open-channel').filter({ hasText: 'Garden' }).click();
  await phone.message('roses').waitFor();
  await phone.showMembers();
  await phone.presence('Ann Archer', 'online').waitFor();

  const wide = await phone.page.evaluate(
    () => document.documentElement.scrollWidth > document.documentElement.clientWidth,
  );

  expect(wide).toBe(false);
  expect(await accessFaults(phone.page)).toEqual([]);
});
