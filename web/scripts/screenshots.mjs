#!/usr/bin/env node
// Takes a picture of every page and state, light and dark, wide and phone, of a server with the demo app.
//
//   node web/scripts/screenshots.mjs --url http://127.0.0.1:8000 --out docs/images --login demo --password …
//
// CHROMIUM names another browser than /usr/bin/chromium.

import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { chromium } from 'playwright-core';

const { values: options } = parseArgs({
  options: {
    url: { type: 'string', default: 'http://127.0.0.1:8000' },
    out: { type: 'string', default: 'docs/images' },
    login: { type: 'string', default: 'demo' },
    password: { type: 'string', default: 'demo' },
    only: { type: 'string' },
  },
});

const DEVICES = {
  wide: { viewport: { width: 1280, height: 800 } },
  phone: { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true },
};
const THEMES = ['light', 'dark'];
/** One for each device and theme. */
const PEOPLE = ['Ada', 'Grace', 'Barbara', 'Frances'];
/** Long enough for fonts, colours and the fade of a dialog. */
const SETTLE_MS = 450;

class Visit {
  constructor(page, device, person) {
    this.page = page;
    this.device = device;
    this.person = person;
  }

  id(name) {
    return this.page.getByTestId(name);
  }

  async open(path) {
    await this.page.goto(options.url + path);
  }

  /** As a person who is new here, so that the list shows nothing but this visit; where there is no sign-up,
   * or the name is taken, as the given user. */
  async enter() {
    const signUp = await this.fill('/sign-up', this.person);
    const entered = this.id('welcome').or(this.id('sign-in-problem'));
    if (signUp) await entered.waitFor();
    if (!signUp || (await this.id('sign-in-problem').isVisible())) {
      await this.fill('/sign-in', options.login);
      await this.id('welcome').waitFor();
    }
  }

  /** Send the form of a page; false where the page has no such form. */
  async fill(path, name) {
    await this.open(path);
    await this.id('sign-in-login').waitFor();
    if (path === '/sign-up' && !(await this.id('sign-up-email').isVisible())) return false;
    await this.id('sign-in-login').fill(name);
    await this.id('sign-in-password').fill(options.password);
    await this.id('sign-in-submit').click();
    return true;
  }

  async newChat() {
    await this.open('/');
    await this.page.evaluate(() => sessionStorage.clear());
    await this.page.reload();
    await this.id('welcome').waitFor();
  }

  async say(text) {
    await this.id('composer').fill(text);
    await this.page.keyboard.press('Enter');
    await this.page
      .locator('[data-testid="message"][data-role="user"]')
      .filter({ hasText: text })
      .last()
      .waitFor();
  }

  /** Say something and wait for the end of the answer. */
  async converse(text) {
    const answers = this.page.locator('[data-testid="message"][data-role="assistant"]');
    const before = await answers.count();
    await this.say(text);
    await answers.nth(before).waitFor();
    await this.settled();
  }

  async settled() {
    await this.page.locator('[data-streaming="true"]').waitFor({ state: 'detached' });
    await this.id('stop').waitFor({ state: 'detached' });
  }

  async ask(command) {
    await this.newChat();
    await this.say(command);
    await this.id('ask').waitFor();
  }

  async leaveAsk() {
    await this.id('stop').click();
    await this.id('ask').waitFor({ state: 'detached' });
  }

  async sidebar() {
    if (this.device === 'phone') await this.id('open-sidebar').click();
    await this.id('search').waitFor();
  }

  async escape() {
    await this.page.keyboard.press('Escape');
    if (this.device === 'phone') await this.page.keyboard.press('Escape');
  }

  /** The end of the page, wherever the person was. */
  async toEnd() {
    await this.id('messages').evaluate((node) => node.scrollTo(0, node.scrollHeight));
  }
}

/** What is shown, in the order in which it is visited. `after` puts the page back. */
const SCENES = [
  {
    name: 'sign-in',
    title: 'Sign in',
    go: async (visit) => {
      await visit.open('/sign-in');
      await visit.id('sign-in-login').waitFor();
    },
  },
  {
    name: 'sign-in-problem',
    title: 'A wrong password',
    go: async (visit) => {
      await visit.id('sign-in-login').fill('somebody');
      await visit.id('sign-in-password').fill('not the password');
      await visit.id('sign-in-submit').click();
      await visit.id('sign-in-problem').waitFor();
    },
  },
  {
    name: 'sign-up',
    title: 'Create an account',
    go: async (visit) => {
      await visit.open('/sign-up');
      await visit.id('sign-up-email').waitFor();
    },
  },
  { name: 'welcome', title: 'A new conversation', go: (visit) => visit.enter() },
  {
    name: 'answer',
    title: 'An answer with headings, lists and links',
    go: (visit) => visit.converse('markdown'),
  },
  {
    name: 'code',
    title: 'Code',
    go: async (visit) => {
      await visit.newChat();
      await visit.converse('code');
    },
  },
  {
    name: 'steps',
    title: 'Steps, opened',
    go: async (visit) => {
      await visit.newChat();
      await visit.converse('Show me the steps');
      await visit.id('step').first().click();
      await visit.toEnd();
    },
  },
  {
    name: 'question',
    title: 'A question for a text',
    go: (visit) => visit.ask('Ask me something'),
    after: (visit) => visit.leaveAsk(),
  },
  {
    name: 'choice',
    title: 'A question with answers to choose from',
    go: (visit) => visit.ask('choose'),
    after: (visit) => visit.leaveAsk(),
  },
  {
    name: 'file-question',
    title: 'A question for files',
    go: async (visit) => {
      await visit.ask('upload');
      await visit.id('ask-file').setInputFiles(textFile('observations.txt'));
      await visit.page.locator('[data-testid="upload"][data-state="done"]').waitFor();
    },
    after: (visit) => visit.leaveAsk(),
  },
  {
    name: 'actions',
    title: 'Buttons under a message, and a file to download',
    go: async (visit) => {
      await visit.newChat();
      await visit.converse('actions');
      await visit.converse('file');
    },
  },
  {
    name: 'attachment',
    title: 'Writing a message with an attachment',
    go: async (visit) => {
      await visit.id('attach-input').setInputFiles(textFile('minutes.txt'));
      await visit.page.locator('[data-testid="upload"][data-state="done"]').waitFor();
      await visit.id('composer').fill('Here are the minutes of Tuesday.\nWhat is still open?');
    },
    after: (visit) => visit.id('composer').fill(''),
  },
  {
    name: 'failure',
    title: 'A handler that failed',
    go: async (visit) => {
      await visit.newChat();
      await visit.say('error');
      await visit.page.locator('[data-role="error"]').waitFor();
    },
  },
  {
    name: 'settings',
    title: 'Settings of the conversation',
    go: async (visit) => {
      await visit.id('chat-settings').click();
      await visit.page.getByRole('dialog').waitFor();
    },
    after: (visit) => visit.page.keyboard.press('Escape'),
  },
  {
    name: 'profiles',
    title: 'Choosing a profile',
    go: async (visit) => {
      await visit.id('profile-picker').click();
      await visit.page.getByRole('menu').waitFor();
    },
    after: (visit) => visit.page.keyboard.press('Escape'),
  },
  {
    name: 'search',
    title: 'Searching the conversations',
    go: async (visit) => {
      await visit.sidebar();
      await visit.id('search').fill('steps');
      await visit.id('thread-item').filter({ hasText: 'error' }).waitFor({ state: 'detached' });
    },
    after: async (visit) => {
      await visit.id('search').fill('');
      await visit.escape();
    },
  },
  {
    name: 'menu',
    title: 'Account and theme',
    go: async (visit) => {
      await visit.sidebar();
      await visit.id('user-menu').click();
      await visit.page.getByRole('menu').waitFor();
    },
    after: (visit) => visit.escape(),
  },
  {
    name: 'offline',
    title: 'Without a connection: what is written waits',
    go: async (visit) => {
      await visit.newChat();
      await visit.converse('table');
      await visit.page.context().setOffline(true);
      await visit.id('connection-banner').waitFor({ timeout: 60_000 });
      await visit.id('composer').fill('Send this when you can');
      await visit.page.keyboard.press('Enter');
      await visit.id('pending-message').waitFor();
    },
    after: async (visit) => {
      await visit.page.context().setOffline(false);
      await visit.id('pending-message').waitFor({ state: 'detached' });
      await visit.settled();
    },
  },
  {
    name: 'not-here',
    title: 'A conversation that is not here',
    go: async (visit) => {
      await visit.open('/c/no-such-page/at-all');
      await visit.page.getByText('There is nothing here').waitFor();
    },
  },
];

function textFile(name) {
  return { name, mimeType: 'text/plain', buffer: Buffer.from('First line\nSecond line\n') };
}

const scenes = options.only ? wanted(options.only.split(',')) : SCENES;

/** The named scenes; signing in stays, since the others need it. */
function wanted(names) {
  return SCENES.filter(({ name }) => name === 'welcome' || names.includes(name));
}

async function visitAll(browser, device, theme, progress) {
  const context = await browser.newContext({
    ...DEVICES[device],
    colorScheme: theme,
    locale: 'en-GB',
  });
  context.setDefaultTimeout(30_000);
  const visit = new Visit(await context.newPage(), device, PEOPLE.shift());
  for (const scene of scenes) {
    progress(scene.name);
    await scene.go(visit);
    await visit.page.mouse.move(0, 0);
    await visit.page.waitForTimeout(SETTLE_MS);
    const path = join(options.out, `${scene.name}-${device}-${theme}.png`);
    await visit.page.screenshot({ path, animations: 'disabled', caret: 'hide' });
    await scene.after?.(visit);
  }
  await context.close();
}

/** A line that is written over, where there is somebody to see it. */
function progressOf(total) {
  let done = 0;
  return (device, theme) => (name) => {
    done += 1;
    const line = `${String(done).padStart(3)}/${total}  ${name} (${device}, ${theme})`;
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[2K${line}${done === total ? '\n' : ''}`);
    else process.stderr.write(`${line}\n`);
  };
}

function gallery() {
  const rows = SCENES.map(({ name, title }) => {
    const picture = (device, theme, width) =>
      `<img src="${name}-${device}-${theme}.png" width="${width}" alt="${title}, ${device}, ${theme}">`;
    const pictures = THEMES.map(
      (theme) => `${picture('wide', theme, 420)} ${picture('phone', theme, 130)}`,
    );
    return `## ${title}\n\n${pictures.join('\n')}\n`;
  });
  return `# The pages\n\nMade by \`make screenshots\`.\n\n${rows.join('\n')}`;
}

await mkdir(options.out, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
});
try {
  const devices = Object.keys(DEVICES);
  const progress = progressOf(scenes.length * devices.length * THEMES.length);
  for (const device of devices) {
    for (const theme of THEMES) await visitAll(browser, device, theme, progress(device, theme));
  }
  if (!options.only) {
    await rm(join(options.out, 'README.md'), { force: true });
    await writeFile(join(options.out, 'README.md'), gallery());
  }
} finally {
  await browser.close();
}
