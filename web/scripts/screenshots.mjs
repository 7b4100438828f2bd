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

  /** Another person in the same browser. */
  async become(login) {
    const credentials = { login, password: options.password };
    const answer = await this.page.request.post(`${options.url}/api/auth/sign-in`, {
      data: credentials,
    });
    if (!answer.ok()) throw new Error(`Signing in as ${login}: ${await answer.text()}`);
  }

  /** Colleagues, and what they said to this person. */
  async company() {
    const [ann, bob] = await Promise.all(['Ann Archer', 'Bob Baker'].map((name) => caller(name)));
    const me = await this.post('/api/auth/refresh', {});
    const own = (path, data) => this.post(path, data);
    const both = [ann.id, bob.id];
    const mine = { kind: 'group', name: 'Plans', description: 'What comes next', user_ids: both };
    const { channel } = await own('/api/channels', mine);
    const place = `/api/channels/${channel.id}`;
    this.channel = channel.id;
    const first = await ann.post(`${place}/messages`, {
      content: 'Good morning! The release is on **Thursday**. Who writes the notes?',
    });
    await own(`${place}/messages/${first.message.id}/pin`, {});
    await bob.post(`${place}/messages`, { content: 'I can do it. What is still open:' });
    await bob.post(`${place}/messages`, {
      content: '- the settings page\n- German texts\n- pictures for the docs',
    });
    const said = await own(`${place}/messages`, {
      content: 'Settings and texts are done. I make the pictures this afternoon.',
    });
    const asked = `${place}/messages/${said.message.id}`;
    await ann.post(`${asked}/reactions`, { emoji: '🎉' });
    await bob.post(`${asked}/reactions`, { emoji: '🎉' });
    await bob.post(`${place}/messages`, { content: 'Which sizes?', parent_id: said.message.id });
    await own(`${place}/messages`, { content: 'Wide and phone.', parent_id: said.message.id });
    await ann.post(`${place}/messages`, {
      content: `@[${me.user.name}](user:${me.user.id}) could you look at the phone pictures too?`,
    });
    if (!(await ann.get('/api/channels/open?search=garden')).items.length) {
      const open = { kind: 'standard', name: 'garden', description: 'Roses and the watering rota' };
      await ann.post('/api/channels', open);
      await bob.post('/api/channels', { kind: 'standard', name: 'announcements' });
    }
    const direct = await ann.post('/api/channels', { kind: 'direct', user_ids: [me.user.id] });
    await ann.post(`/api/channels/${direct.channel.id}/messages`, {
      content: 'Do you have five minutes?',
    });
  }

  /** A task for the demo's agent, which another person follows and steers; ends at the second question. */
  async agentWork() {
    const bob = await caller('Bob Baker');
    await this.open('/agents');
    await this.id('agent-task').fill('Write a function that counts words, with a test');
    await this.id('agent-start').click();
    await this.id('agent-ask').waitFor();
    this.agent = new URL(this.page.url()).pathname;
    const place = `/api${this.agent}`;
    await this.page.request.put(`${options.url}${place}/members/${bob.id}`, {
      data: { role: 'drive' },
    });
    await bob.post(`${place}/actions`, { action: 'comment', args: { content: 'I look on.' } });
    const content = 'Punctuation may stay part of a word.';
    await bob.post(`${place}/actions`, { action: 'message', args: { content } });
  }

  /** Say yes, and wait for what comes next. */
  async agree(next) {
    await this.id('agent-confirm').click();
    await this.id('agent-ask').waitFor({ state: 'detached' });
    await this.id(next).waitFor();
  }

  async post(path, data) {
    const answer = await this.page.request.post(options.url + path, { data });
    if (!answer.ok()) throw new Error(`${path}: ${await answer.text()}`);
    return answer.json();
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
      // It is chosen before a conversation begins; a phone shows it only there.
      await visit.newChat();
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
    name: 'notes-editor',
    title: 'A note that two people write',
    go: async (visit) => {
      const katherine = await colleague(visit, 'Katherine');
      const note = await makeNote(visit, katherine.id);
      await visit.open(`/notes/${note}`);
      await visit.id('note-body').getByText('What we know').waitFor();
      await katherine.write(`/notes/${note}`, 'What we know');
      await visit.page.locator('.caret-name').waitFor();
      await visit.page.locator('[data-testid="note-status"][data-phase="saved"]').waitFor();
    },
  },
  {
    name: 'notes-sharing',
    title: 'Sharing a note',
    go: async (visit) => {
      await visit.id('share-note').click();
      await visit.id('share-person').getByText('Katherine').waitFor();
    },
    after: (visit) => visit.page.keyboard.press('Escape'),
  },
  {
    name: 'notes-versions',
    title: 'Versions of a note: what has changed since one of them',
    go: async (visit) => {
      await visit.id('note-history').click();
      await visit.id('version').filter({ hasText: 'First draft' }).click();
      await visit.page.locator('[data-testid="version-mode"] [data-value="changes"]').click();
      await visit.id('version-changes').locator('ins').first().waitFor();
    },
  },
  {
    name: 'notes-list',
    title: 'All notes',
    go: async (visit) => {
      await visit.open('/notes');
      await visit.id('note-item').first().waitFor();
      await visit.leaveColleague();
    },
  },
  {
    name: 'agent-ask',
    title: 'An agent asks before it runs a command',
    go: (visit) => visit.agentWork(),
  },
  {
    name: 'agent-difference',
    title: 'An agent’s work: a test that fails, and the change that mends it',
    go: async (visit) => {
      await visit.agree('agent-ask');
      const edit = visit.page.locator('[data-testid="agent-step"][data-action="edit"]');
      const place = await edit.evaluate((node) => node.offsetTop + node.offsetHeight);
      await visit
        .id('agent-timeline')
        .evaluate((node, end) => node.scrollTo(0, end - node.clientHeight + 24), place);
    },
  },
  {
    name: 'agent-finished',
    title: 'The end of an agent’s task',
    go: (visit) => visit.agree('agent-end'),
  },
  {
    name: 'agent-files',
    title: 'The files of an agent’s workspace',
    go: async (visit) => {
      await visit.id('agent-files').click();
      await visit.page.locator('[data-testid="agent-file-row"][data-path="words.py"]').waitFor();
    },
  },
  {
    name: 'agent-file',
    title: 'One of them',
    go: async (visit) => {
      await visit.page.locator('[data-testid="agent-file-row"][data-path="words.py"]').click();
      await visit.id('agent-file').waitFor();
    },
    after: (visit) => visit.id('close-panel').click(),
  },
  {
    name: 'agent-people',
    title: 'Who takes part in an agent’s session',
    go: async (visit) => {
      await visit.id('agent-people').click();
      await visit.id('agent-member').nth(1).waitFor();
    },
    after: (visit) => visit.id('close-panel').click(),
  },
  {
    name: 'agent-replay',
    title: 'An agent’s session, played back from its events',
    go: async (visit) => {
      await visit.id('agent-replay').click();
      const range = visit.id('scrubber-range');
      const total = Number(await range.getAttribute('max'));
      await range.fill(String(Math.round(total * 0.7)));
    },
    after: (visit) => visit.id('scrubber-live').click(),
  },
  {
    name: 'agent-home',
    title: 'A task for an agent',
    go: async (visit) => {
      await visit.open('/agents');
      await visit.id('agent-row').first().waitFor();
    },
  },
  {
    name: 'sharing',
    title: 'Sharing a conversation',
    go: async (visit) => {
      await visit.newChat();
      await visit.converse('table');
      visit.partner = await colleague(visit, 'Katherine');
      const place = new URL(visit.page.url()).pathname.replace('/c/', '/api/threads/');
      const data = { grants: { [`user:${visit.partner.id}`]: 'write' } };
      await visit.page.request.patch(`${options.url}${place}/grants`, { data });
      await visit.id('share-thread').click();
      await visit.id('share-person').getByText('Katherine').waitFor();
    },
    after: (visit) => visit.page.keyboard.press('Escape'),
  },
  {
    name: 'shared-together',
    title: 'Two people in a conversation; one of them is writing',
    go: async (visit) => {
      await visit.partner.talk(new URL(visit.page.url()).pathname, 'count to 12', 'And then');
      await visit.settled();
      await visit.page.locator('[data-testid="header-line"]:not(:empty)').waitFor();
    },
    after: (visit) => visit.leaveColleague(),
  },
  {
    name: 'shared-reader',
    title: 'A conversation that somebody shares for reading',
    go: async (visit) => {
      const ann = await caller('Ann Archer');
      const { user } = await visit.post('/api/auth/refresh', {});
      const id = crypto.randomUUID();
      visit.grant = (right) =>
        ann.patch(`/api/threads/${id}/grants`, { grants: { [`user:${user.id}`]: right } });
      await ann.post(`/api/threads/${id}/messages`, { content: 'code' });
      await visit.grant('read');
      await visit.open(`/c/${id}`);
      await visit.id('reader-line').getByText('Ann Archer').waitFor();
    },
  },
  {
    name: 'shared-closed',
    title: 'The end of access to it',
    go: async (visit) => {
      await visit.grant(null);
      await visit.page.getByText('This conversation is closed to you now').waitFor();
    },
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
    name: 'browse',
    title: 'Finding channels',
    go: async (visit) => {
      await visit.company();
      await visit.open('/channels');
      await visit.id('open-channel').filter({ hasText: 'garden' }).waitFor();
    },
  },
  {
    name: 'channel',
    title: 'A channel, with reactions, replies and a mention',
    go: async (visit) => {
      await visit.open(`/channels/${visit.channel}`);
      await visit.id('channel-message').last().waitFor();
    },
  },
  {
    name: 'replies',
    title: 'Replies to a message',
    go: async (visit) => {
      await visit.id('open-replies').click();
      await visit.id('replies').getByTestId('channel-message').last().waitFor();
    },
    after: (visit) => visit.id('close-panel').click(),
  },
  {
    name: 'members',
    title: 'Who is in a channel, and who is there now',
    go: async (visit) => {
      await visit.id('show-members').click();
      await visit.id('member').first().waitFor();
    },
    after: (visit) => visit.id('close-panel').click(),
  },
  {
    name: 'pins',
    title: 'Pinned messages',
    go: async (visit) => {
      await visit.id('show-pins').click();
      await visit.id('side-panel').getByTestId('channel-message').waitFor();
    },
    after: (visit) => visit.id('close-panel').click(),
  },
  {
    name: 'channel-search',
    title: 'Searching in a channel',
    go: async (visit) => {
      await visit.id('show-search').click();
      await visit.id('search-messages').fill('pictures');
      await visit.id('found-message').first().waitFor();
    },
    after: (visit) => visit.id('close-panel').click(),
  },
  {
    name: 'palette',
    title: 'The palette',
    go: async (visit) => {
      await visit.page.keyboard.press('Control+k');
      await visit.id('palette-item').first().waitFor();
    },
    after: async (visit) => {
      await visit.page.keyboard.press('Escape');
      await visit.id('palette').waitFor({ state: 'detached' });
    },
  },
  {
    name: 'shortcuts',
    title: 'Keyboard shortcuts',
    go: async (visit) => {
      await visit.page.evaluate(() => document.activeElement?.blur());
      await visit.page.keyboard.press('?');
      await visit.id('shortcuts').waitFor();
    },
    after: (visit) => visit.page.keyboard.press('Escape'),
  },
  {
    name: 'preferences',
    title: 'Settings of a person',
    go: async (visit) => {
      await visit.open('/settings');
      await visit.id('settings').waitFor();
    },
  },
  {
    name: 'preferences-german',
    title: 'The same in German',
    go: async (visit) => {
      await visit.id('choose-language').selectOption('de');
      await visit.page.getByText('Darstellung').waitFor();
    },
    after: (visit) => visit.id('choose-language').selectOption('system'),
  },
  {
    name: 'live',
    title: 'What is live, for administrators',
    go: async (visit) => {
      await visit.become(options.login);
      await visit.open('/admin');
      await visit.id('live-connection').first().waitFor();
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

/** Somebody who talks over HTTP alone; an account is made at the first call. */
async function caller(name) {
  const send = async (method, path, body, token) => {
    const answer = await fetch(options.url + path, {
      method,
      headers: {
        'content-type': 'application/json',
        ...(token ? { authorization: `Bearer ${token}` } : {}),
      },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    return { ok: answer.ok, data: await answer.json() };
  };
  const { password } = options;
  let entered = await send('POST', '/api/auth/sign-up', { name, password });
  if (!entered.ok) entered = await send('POST', '/api/auth/sign-in', { login: name, password });
  if (!entered.ok) throw new Error(`${name}: ${JSON.stringify(entered.data)}`);
  const { token, user } = entered.data;
  const call = async (method, path, body) => {
    const { ok, data } = await send(method, path, body, token);
    if (!ok) throw new Error(`${path}: ${JSON.stringify(data)}`);
    return data;
  };
  return {
    id: user.id,
    get: (path) => call('GET', path),
    post: (path, body) => call('POST', path, body),
    patch: (path, body) => call('PATCH', path, body),
  };
}

/** A note with a version, shared with somebody; gives back its id. */
async function makeNote(visit, userId) {
  const call = async (method, path, data) => {
    const answer = await visit.page.request.fetch(options.url + path, { method, data });
    if (!answer.ok()) throw new Error(`${method} ${path}: ${answer.status()}`);
    return answer.json();
  };
  const draft = [
    '## What we know',
    'The drift is **real**: three stations saw it, and so did the [buoy](https://example.org/buoy).',
    '- It begins at night\n- It follows the current',
    '## What is next',
    '- [x] Compare the clocks\n- [ ] Ask the harbour for its log',
  ];
  await call('POST', '/api/notes', {
    title: 'Reading list',
    markdown: 'Two papers on tides, and the manual of the new gauge.',
  });
  const note = await call('POST', '/api/notes', {
    title: 'Drift of the northern gauges',
    markdown: draft.join('\n\n'),
    grants: { [`user:${userId}`]: 'write' },
  });
  await call('POST', `/api/notes/${note.id}/versions`, { name: 'First draft' });
  const added =
    '> Whoever finds the old log gets a cake.\n\n```\ngauge --since 2024-03 | sort\n```';
  await call('PATCH', `/api/notes/${note.id}`, { append_markdown: added });
  return note.id;
}

/** Somebody else, in a browser of their own. */
async function colleague(visit, name) {
  const context = await visit.page.context().browser().newContext({
    baseURL: options.url,
    serviceWorkers: 'block',
  });
  visit.leaveColleague = () => context.close();
  const { password } = options;
  const signUp = await context.request.post('/api/auth/sign-up', { data: { name, password } });
  if (!signUp.ok()) {
    await context.request.post('/api/auth/sign-in', { data: { login: name, password } });
  }
  const { id } = await (await context.request.get('/api/auth/me')).json();
  const write = async (path, heading) => {
    const page = await context.newPage();
    await page.goto(path);
    await page.getByTestId('note-body').getByText(heading).click();
    for (const key of ['ArrowDown', 'End']) await page.keyboard.press(key);
    await page.keyboard.type(' We saw it, too.');
    for (let i = 0; i < 15; i += 1) await page.keyboard.press('Shift+ArrowLeft');
  };
  /** Say one thing in a conversation, and begin another. */
  const talk = async (path, said, begun) => {
    const page = await context.newPage();
    await page.goto(path);
    await page.getByTestId('composer').fill(said);
    await page.keyboard.press('Enter');
    await page.locator('[data-testid="message"]').filter({ hasText: said }).waitFor();
    await page.getByTestId('stop').waitFor({ state: 'detached' });
    await page.getByTestId('composer').pressSequentially(begun);
  };
  return { id, write, talk };
}

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
    serviceWorkers: 'block',
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
