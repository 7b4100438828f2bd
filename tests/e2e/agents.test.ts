/** An agent at a real task: it asks, is paused and steered by a second person, and is played back afterwards. */

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';

import { accessFaults } from './accessibility';
import { Visitors } from './browser';
import { AgentPage } from './pages/agent';
import { AppServer, PASSWORD } from './server';

let server: AppServer;
let visitors: Visitors;
let ann: AgentPage;
let bob: AgentPage;
let path: string;

beforeAll(async () => {
  // Slow enough that somebody can step in while it thinks.
  server = await AppServer.demo({ PARLOUR_DEMO_TOKENS_PER_SECOND: '6' });
  visitors = await Visitors.open(server);
  bob = new AgentPage((await visitors.person('Bob Baker', PASSWORD)).page);
  ann = new AgentPage((await visitors.person('Ann Archer', PASSWORD)).page);
});
afterAll(async () => {
  await visitors?.close();
  await server?.stop();
});
afterEach(() => {
  expect(visitors.complaints.splice(0)).toEqual([]);
});

describe('a task from start to end', () => {
  test('begins at once, and asks before it runs a command', async () => {
    path = await ann.begin('Count words, and have a test for it');
    await ann.ask.waitFor({ timeout: 60_000 });

    const question = await ann.ask.innerText();

    expect(question).toContain('python3 -m unittest -v test_words');
    expect(await ann.step('write', 'done').count()).toBe(2);
    expect(await ann.page.getByTestId('sidebar-agent').first().getAttribute('data-state')).toBe(
      'awaiting_user_confirmation',
    );
    expect(await accessFaults(ann.page)).toEqual([]);
  });

  test('is the same after a reload in the middle', async () => {
    const before = await ann.shown();

    await ann.page.reload();
    await ann.ask.waitFor();

    expect(await ann.shown()).toEqual(before);
  });

  test('is paused by one person and steered by another, who goes on', async () => {
    await ann.invite('Bob Baker', 'drive');
    await bob.open(`.${path}`);
    await ann.press('confirm');
    await bob.step('run', 'failed').waitFor();
    await ann.press('pause');
    await bob.state('paused').waitFor();

    await bob.say('Please mention Ada');
    await ann.page.getByTestId('agent-waiting').waitFor();
    await bob.press('resume');
    await bob.ask.waitFor({ timeout: 60_000 });

    const failed = await bob.terminals.first().innerText();
    const changes = await bob.page.getByTestId('agent-change').allInnerTexts();
    expect(failed).toContain('FAILED (failures=2)');
    expect(failed).toContain('Allowed by Ann Archer');
    expect(changes.map((text) => text.split('\n')[0])).toEqual([
      'Paused by Ann Archer',
      'Resumed by you',
    ]);
    expect(await ann.page.getByTestId('agent-waiting').count()).toBe(0);
  });

  test('is finished when the test that failed passes', async () => {
    await bob.press('confirm');
    await ann.end.waitFor({ timeout: 60_000 });
    await bob.state('finished').waitFor();

    const [failed, passed] = await ann.terminals.allInnerTexts();
    await ann.page.emulateMedia({ colorScheme: 'dark' });
    const faults = await accessFaults(ann.page);
    await ann.page.emulateMedia({ colorScheme: 'light' });

    expect(failed).toContain('Exit code 1');
    expect(passed).toContain('Exit code 0');
    expect(passed).toContain('Allowed by Bob Baker');
    expect(await ann.shown()).toEqual(await bob.shown());
    expect(faults).toEqual([]);
  });

  test('shows who is there, and the files that it leaves', async () => {
    await ann.page.getByTestId('agent-files').click();

    const mended = await ann.file('words.py');
    const notes = await ann.file('NOTES.md');

    expect(mended).toContain('text.lower().split()');
    expect(notes).toContain('Please mention Ada');
    await ann.page.getByTestId('agent-people').click();
    const there = ann.page.locator('[data-testid="agent-member"] [data-status="online"]');
    expect(await there.count()).toBe(2);
  });

  test('is played back from its events, with the files of each moment', async () => {
    const all = await ann.shown();
    await ann.page.getByTestId('agent-replay').click();
    const whole = await ann.shown();
    await ann.page.getByTestId('agent-files').click();

    await ann.scrubTo(all[2]! + 1);
    const early = await ann.shown();
    const first = await ann.file('words.py');
    await ann.page.getByTestId('scrubber-speed').last().click();
    await ann.page.getByTestId('scrubber-play').click();
    await ann.end.waitFor({ timeout: 60_000 });
    const faults = await accessFaults(ann.page);
    await ann.page.getByTestId('scrubber-live').click();
    await ann.state('finished').waitFor();

    expect(whole).toEqual(all);
    expect(early).toEqual(all.slice(0, 3));
    expect(first).toContain('text.split(" ")');
    expect(faults).toEqual([]);
    expect(await ann.shown()).toEqual(all);
  });
});

test('a role says what somebody may do, from the moment it is given', async () => {
  await ann.page.getByTestId('agent-people').click();
  const role = ann.page.getByTestId('agent-role');
  await role.selectOption('watch');
  await bob.page.getByTestId('agent-watching').waitFor();
  const composers = await bob.composer.count();
  await role.selectOption('comment');
  await bob.say('Well done');
  await ann.page.getByTestId('agent-comment').filter({ hasText: 'Well done' }).waitFor();

  await ann.page.getByTestId('agent-remove-member').click();
  await bob.page.locator('[data-testid="agent-page"][data-phase="failed"]').waitFor();

  expect(composers).toBe(0);
  expect(await bob.items.count()).toBe(0);
});

test('somebody goes on from an earlier moment in a copy of their own', async () => {
  await ann.page.getByTestId('agent-replay').click();
  await ann.scrubTo(5);

  await ann.page.getByTestId('scrubber-fork').click();
  await ann.page.waitForURL((url) => url.pathname.includes('/agents/') && url.pathname !== path);

  await ann.page.getByTestId('agent-title').filter({ hasText: '(copy)' }).waitFor();
  await ann.composer.waitFor();
  expect(await ann.end.count()).toBe(0);
});

test('administrators see what runs, and may end it', async () => {
  const stranger = await visitors.stranger();
  await stranger.signIn('demo', PASSWORD);
  await stranger.page.getByTestId('composer').waitFor();
  await stranger.page.goto('admin');
  const id = path.split('/').at(-1)!;
  const row = stranger.page.locator(`[data-testid="live-agent"][data-agent="${id}"]`);
  await ann.open(`.${path}`);
  const text = await row.innerText();
  const faults = await accessFaults(stranger.page);

  await row.getByTestId('delete-live-agent').click();
  await stranger.page.getByTestId('confirm').click();
  await ann.page.locator('[data-testid="agent-page"][data-phase="failed"]').waitFor();

  expect(text).toContain('Ann Archer');
  expect(text).toContain('Finished');
  expect(faults).toEqual([]);
  expect(await ann.items.count()).toBe(0);
});
