/** What a person sets for themselves; the palette and the keys; the page without a network. */

import { readFile } from 'node:fs/promises';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { accessFaults } from './accessibility';
import { PHONE, Visitors } from './browser';
import { ChatPage } from './pages/chat';
import { AppServer, PASSWORD } from './server';

let server: AppServer;
let visitors: Visitors;
let chat: ChatPage;

beforeAll(async () => {
  server = await AppServer.demo();
  visitors = await Visitors.open(server);
  chat = await visitors.person('Settler', PASSWORD);
  await chat.converse('table');
});
afterAll(async () => {
  await visitors?.close();
  await server?.stop();
});

const id = (name: string) => chat.page.getByTestId(name);
const html = (name: string) => chat.page.locator('html').getAttribute(name);

async function openSettings(): Promise<void> {
  await id('user-menu').click();
  await id('open-settings').click();
  await id('settings').waitFor();
}

describe('the settings', () => {
  test('change the language at once, and keep it', async () => {
    await openSettings();
    await id('choose-language').selectOption('de');
    await chat.page.getByRole('heading', { name: 'Einstellungen', level: 1 }).waitFor();
    const named = await html('lang');

    await chat.page.reload();
    await chat.page.getByRole('heading', { name: 'Darstellung' }).waitFor();
    await id('choose-language').selectOption('en');
    await chat.page.getByRole('heading', { name: 'Appearance' }).waitFor();

    expect(named).toBe('de');
    expect(await html('lang')).toBe('en');
  });

  test('change colours and density, and keep them', async () => {
    await id('choose-theme').locator('[data-value="dark"]').click();
    await id('choose-density').locator('[data-value="compact"]').click();

    await chat.page.reload();
    await id('settings').waitFor();

    expect([await html('class'), await html('data-density')]).toEqual(['dark', 'compact']);
    await id('choose-theme').locator('[data-value="light"]').click();
    await id('choose-density').locator('[data-value="comfortable"]').click();
  });

  test('follow the person to another device while both are open', async () => {
    const elsewhere = await visitors.stranger();
    await elsewhere.signIn('Settler', PASSWORD);
    await elsewhere.page.getByTestId('composer').waitFor();
    await id('choose-density').locator('[data-value="compact"]').click();

    await elsewhere.page.locator('html[data-density="compact"]').waitFor();

    await id('choose-density').locator('[data-value="comfortable"]').click();
    await elsewhere.page.locator('html[data-density="comfortable"]').waitFor();
    await elsewhere.page.context().close();
  });

  test('decide which key sends', async () => {
    await id('choose-send').locator('[data-value="mod-enter"]').click();
    await chat.newChat();
    await chat.composer.fill('two');
    await chat.composer.press('Enter');
    await chat.composer.pressSequentially('lines');
    const written = await chat.composer.inputValue();

    await chat.composer.press('Control+Enter');
    await chat.spoken('two').waitFor();

    expect(written).toBe('two\nlines');
    await openSettings();
    await id('choose-send').locator('[data-value="enter"]').click();
  });

  test('give a new name, by which one signs in and is seen', async () => {
    await id('own-name').fill('Settled');
    await id('own-name').press('Enter');
    await chat.page.getByText('From now on you are Settled.').waitFor();

    await id('user-menu').filter({ hasText: 'Settled' }).waitFor();

    const login = { login: 'Settled', password: PASSWORD };
    const answer = await chat.page.request.post('api/auth/sign-in', { data: login });
    expect(answer.status()).toBe(200);
  });

  test('hand over all conversations as one file', async () => {
    const [download] = await Promise.all([
      chat.page.waitForEvent('download'),
      id('export').click(),
    ]);

    const text = await readFile(await download.path(), 'utf8');

    const { threads } = JSON.parse(text) as {
      threads: { title: string; messages: { role: string }[] }[];
    };
    const table = threads.find(({ title }) => title === 'table');
    expect(table?.messages.map(({ role }) => role)).toEqual(['user', 'assistant']);
  });

  test('change the password: here one goes on, elsewhere one is signed out', async () => {
    const elsewhere = await visitors.stranger();
    await elsewhere.signIn('Settled', PASSWORD);
    await elsewhere.page.getByTestId('composer').waitFor();
    await chat.page.getByRole('button', { name: 'Change password' }).click();
    await chat.page.getByLabel('Present password').fill(PASSWORD);
    await chat.page.getByLabel('New password').fill('another horse battery');
    await chat.page.keyboard.press('Enter');
    await chat.page.getByText('The password was changed.').waitFor();

    await elsewhere.login.waitFor();
    await chat.newChat();
    await chat.say('table');

    expect(await chat.signedIn()).toBe(true);
    await chat.settled();
  });
});

describe('the palette and the keys', () => {
  test('find a conversation by a part of its title', async () => {
    await chat.newChat();
    await chat.page.keyboard.press('Control+k');
    await id('palette-input').fill('tab');
    await id('palette-item').filter({ hasText: 'table' }).first().waitFor();
    await chat.page.keyboard.press('Enter');

    await chat.spoken('table').waitFor();

    expect(await id('palette').count()).toBe(0);
  });

  test('do things, and close without doing anything', async () => {
    await chat.page.keyboard.press('Control+k');
    await id('palette-input').fill('settings');
    await chat.page.keyboard.press('Enter');
    await id('settings').waitFor();
    await chat.page.keyboard.press('Control+k');
    await id('palette').waitFor();
    await chat.page.keyboard.press('Escape');

    await id('palette').waitFor({ state: 'detached' });

    expect(new URL(chat.page.url()).pathname).toBe('/settings');
  });

  test('lead through the list, show what there is, and never take what one writes', async () => {
    await chat.newChat();
    await chat.composer.press('?');
    await chat.composer.press('/');
    const written = await chat.composer.inputValue();
    await chat.composer.fill('');
    await chat.page.keyboard.press('Alt+ArrowDown');
    await chat.page.waitForURL('**/c/*');
    await chat.composer.waitFor();
    await chat.page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
    await chat.page.keyboard.press('/');
    await chat.page.locator('[data-testid="composer"]:focus').waitFor();
    await chat.page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
    await chat.page.keyboard.press('?');

    await id('shortcuts').waitFor();

    expect(written).toBe('?/');
    await chat.page.keyboard.press('Escape');
    await id('shortcuts').waitFor({ state: 'detached' });
  });
});

describe.each(['light', 'dark'] as const)('in %s', (theme) => {
  test('the settings, the palette, the shortcuts and the list of channels have no fault', async () => {
    await chat.page.emulateMedia({ colorScheme: theme });
    await openSettings();
    await id('choose-theme').locator('[data-value="system"]').click();
    const settings = await accessFaults(chat.page);
    await chat.page.keyboard.press('Control+k');
    await id('palette-item').first().waitFor();
    const palette = await accessFaults(chat.page);
    await chat.page.keyboard.press('Escape');
    await id('palette').waitFor({ state: 'detached' });
    await chat.page.getByRole('button', { name: 'Show shortcuts' }).click();
    await id('shortcuts').waitFor();
    const shortcuts = await accessFaults(chat.page);
    await chat.page.keyboard.press('Escape');
    await id('browse-channels').click();
    await id('search-channels').waitFor();
    const browse = await accessFaults(chat.page);

    expect({ settings, palette, shortcuts, browse }).toEqual({
      settings: [],
      palette: [],
      shortcuts: [],
      browse: [],
    });
  });
});

test('on a phone nothing of the settings sticks out', async () => {
  const phone = (await visitors.person('Wanderer', PASSWORD, PHONE)).page;
  await phone.goto('settings');
  await phone.getByTestId('settings').waitFor();
  await phone.getByTestId('choose-language').selectOption('de');
  await phone.getByRole('heading', { name: 'Darstellung' }).waitFor();

  const wide = await phone.getByTestId('settings').evaluate((node) => {
    const page = document.documentElement;
    return node.scrollWidth > node.clientWidth || page.scrollWidth > page.clientWidth;
  });

  expect(wide).toBe(false);
  expect(await accessFaults(phone)).toEqual([]);
});

test('without a network the page opens, keeps nothing of anybody, and goes on by itself', async () => {
  const visitor = await visitors.person('Sailor', PASSWORD, { serviceWorkers: 'allow' });
  const { page } = visitor;
  await visitor.converse('table');
  await page.evaluate(async () => {
    await navigator.serviceWorker.ready;
    const controlled = () => navigator.serviceWorker.controller !== null;
    if (!controlled()) {
      await new Promise((done) => {
        navigator.serviceWorker.addEventListener('controllerchange', done, { once: true });
      });
    }
  });
  await page.reload();
  await visitor.lastAnswer.waitFor();

  await server.kill();
  await page.reload();
  await page.getByText('The server cannot be reached').waitFor();
  const kept = await page.evaluate(async () => {
    const caching = (await caches.keys()).map(async (name) => (await caches.open(name)).keys());
    return (await Promise.all(caching)).flat().map(({ url }) => new URL(url).pathname);
  });
  await server.begin();
  await visitor.lastAnswer.waitFor();

  expect(kept).toContain('/index.html');
  expect(kept.filter((path) => /^\/(api|ws|health)\b/.test(path))).toEqual([]);
  const manifest = await page.request.get('manifest.webmanifest');
  expect(manifest.headers()['content-type']).toMatch(/^application\/manifest\+json/);
});

test('signing out everywhere ends every session', async () => {
  const here = await visitors.person('Leaver', PASSWORD);
  const there = await visitors.stranger();
  await there.signIn('Leaver', PASSWORD);
  await there.page.getByTestId('composer').waitFor();
  await here.page.goto('settings');
  await here.page.getByTestId('sign-out-everywhere').click();
  await here.page.getByTestId('confirm').click();

  await here.page.getByTestId('sign-in-login').waitFor();
  await there.login.waitFor();

  expect(await here.signedIn()).toBe(false);
  expect(visitors.complaints).toEqual([]);
});
