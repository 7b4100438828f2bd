import { foldTimeline, EMPTY_TIMELINE, readAgentEvent, readEvent } from '@parlour/sdk';
import type { AgentEvent, TimelineItem } from '@parlour/sdk';
import { fireEvent, render, screen } from '@testing-library/svelte';
import { describe, expect, test } from 'vitest';

import { AGENT, type AgentContext } from '../src/agents/context';
import { languageOf, ofNew, ofPatch, ofTexts } from '../src/agents/difference';
import { formatCost, usageLine } from '../src/agents/labels';
import { marksOf, waitOf } from '../src/agents/replay';
import { clean, toLines, toPlain } from '../src/agents/terminal';
import Terminal from '../src/agents/Terminal.svelte';
import TimelineRow from '../src/agents/TimelineRow.svelte';
import { toTree, type TreeNode } from '../src/agents/tree';

const HOSTILE = '<img src=x onerror=alert(1)>';
const ESC = '\u001b';

describe('the output of a command', () => {
  const textOf = (output: string): string[] =>
    toLines(output).map((line) => line.map(({ text }) => text).join(''));

  test('keeps its colours, by name where they have one', () => {
    const [line] = toLines(`${ESC}[1;31mred${ESC}[0m plain ${ESC}[38;5;208mamber${ESC}[0m`);

    expect(line).toMatchObject([
      { text: 'red', classes: 'ansi-red-fg bold', colour: null },
      { text: ' plain ', classes: '' },
      { text: 'amber', classes: '', colour: 'rgb(255 135 0)' },
    ]);
  });

  test('keeps a true colour, and swaps what is reversed', () => {
    const [line] = toLines(`${ESC}[38;2;1;2;3mx${ESC}[0;7my${ESC}[0;7;32mz`);

    expect(line).toMatchObject([
      { text: 'x', colour: 'rgb(1 2 3)' },
      { text: 'y', classes: 'ansi-black-fg ansi-white-bg' },
      { text: 'z', classes: 'ansi-black-fg ansi-green-bg' },
    ]);
  });

  test.each([
    ['a title', `${ESC}]0;owned\u0007text`],
    ['a link', `${ESC}]8;;https://example.org${ESC}\\text${ESC}]8;;${ESC}\\`],
    ['a device string', `${ESC}Pq#0${ESC}\\text`],
    ['movements and erasures', `${ESC}[2J${ESC}[1;1Htext${ESC}[K`],
    ['a character set', `${ESC}(Btext`],
    ['a lonely escape', `text${ESC}`],
    ['control characters', 't\u0007e\u0008x\u009bt'],
    ['text that is written backwards', 'te\u202ext\u2066'],
  ])('obeys nothing that a terminal would: %s', (_, output) => {
    expect(textOf(output)).toEqual(['text']);
  });

  test('shows the last state of a line that is written again and again', () => {
    expect(textOf('10%\r50%\r100%\ndone\r\n')).toEqual(['100%', 'done']);
  });

  test('cuts a line that is endless, and copies it whole', () => {
    const long = 'x'.repeat(5_000);

    expect(textOf(long)[0]).toHaveLength(2_001);
    expect(toPlain(long)).toBe(long);
  });

  test('is folded in the middle when it is long, and opens', async () => {
    const output = Array.from({ length: 40 }, (_, index) => `line ${index}`).join('\n');
    render(Terminal, { command: 'seq 40', output });
    const terminal = screen.getByTestId('terminal');
    const folded = terminal.textContent;

    await fireEvent.click(screen.getByRole('button', { expanded: false }));

    expect(folded).toContain('line 4');
    expect(folded).not.toContain('line 20');
    expect(folded).toContain('line 39');
    expect(terminal.textContent).toContain('line 20');
  });

  test('of a command that runs shows its newest lines', () => {
    const output = Array.from({ length: 40 }, (_, index) => `line ${index}`).join('\n');
    render(Terminal, { command: 'seq 40', output, running: true });

    const text = screen.getByTestId('terminal').textContent;

    expect(text).toContain('line 39');
    expect(text).not.toContain('line 3line');
  });
});

describe('a difference', () => {
  test('of a patch has the numbers of both sides', () => {
    const found = ofPatch('--- a/x\n+++ b/x\n@@ -4,3 +4,3 @@\n a\n-b\n+c\n d');

    expect(found).toMatchObject({ added: 1, removed: 1 });
    expect(found?.rows).toEqual([
      { kind: 'same', text: 'a', before: 4, after: 4 },
      { kind: 'removed', text: 'b', before: 5, after: null },
      { kind: 'added', text: 'c', before: null, after: 5 },
      { kind: 'same', text: 'd', before: 6, after: 6 },
    ]);
  });

  test('of a patch that was cut in the middle is none', () => {
    expect(ofPatch('@@ -1,9 +1,9 @@\n a\n[… 99 characters left out …]\n b')).toBeNull();
  });

  test('of two texts leaves out what is far from a change', () => {
    const before = Array.from({ length: 40 }, (_, index) => `${index}`);
    const after = before.with(2, 'two').with(35, 'many');

    const found = ofTexts(before.join('\n'), after.join('\n'));

    expect(found).toMatchObject({ added: 2, removed: 2 });
    expect(found?.rows.filter(({ kind }) => kind === 'gap')).toHaveLength(1);
    expect(found?.rows.length).toBeLessThan(20);
  });

  test('of a new file is all of it', () => {
    expect(ofNew('a\n\nb\n').rows.map(({ text, after }) => [after, text])).toEqual([
      [1, 'a'],
      [2, ''],
      [3, 'b'],
    ]);
  });

  test.each([
    ['src/words.py', 'py'],
    ['Makefile', 'make'],
    ['a/Dockerfile', 'docker'],
    ['types.d.mts', 'ts'],
  ])('of %s is coloured as %s', (path, language) => {
    expect(languageOf(path)).toBe(language);
  });
});

test('files make a tree: folders first, then by name', () => {
  const names = (nodes: TreeNode[]): unknown[] =>
    nodes.map((node) => (node.folder ? { [node.name]: names(node.children) } : node.name));
  const files = ['b.py', 'src/deep/x.py', 'a.py', 'src/y.py'].map((path) => ({ path, size: 1 }));

  const tree = toTree([...files, { path: 'empty', size: 0, folder: true }]);

  expect(names(tree)).toEqual([
    { empty: [] },
    { src: [{ deep: ['x.py'] }, 'y.py'] },
    'a.py',
    'b.py',
  ]);
});

describe('costs', () => {
  test.each([
    [0, '$0.00'],
    [0.000_012_3, '$0.000012'],
    [0.0345, '$0.035'],
    [12.5, '$12.50'],
  ])('of %d dollars are %s', (dollars, text) => {
    expect(formatCost(dollars)).toBe(text);
  });

  test('are not told where nothing was used', () => {
    expect(usageLine({ prompt: 0, completion: 0, cost: 0 })).toBe('');
    expect(usageLine({ prompt: 1_500, completion: 20, cost: 0 })).toBe('1.5K tokens');
  });
});

// -- events ------------------------------------------------------------------------------------------

function eventsOf(...fields: Record<string, unknown>[]): AgentEvent[] {
  return fields
    .map((one, index) =>
      readEvent({
        stream: 'agent:a',
        epoch: 'e',
        offset: index + 1,
        timestamp: new Date(index * 1_000).toISOString(),
        source: 'agent',
        ...one,
      }),
    )
    .filter((event) => event !== null)
    .map(readAgentEvent);
}

describe('a replay', () => {
  const events = eventsOf(
    { action: 'message', args: { content: 'go' }, source: 'user' },
    { action: 'run', args: { command: 'x' } },
    { observation: 'run', extras: { exit_code: 1 }, cause: 2 },
    { action: 'edit', args: { path: 'a', old: 'b', new: 'c' } },
    { observation: 'agent_state_changed', extras: { agent_state: 'running' } },
    { action: 'finish', args: { content: 'done' } },
  );

  test('marks what one looks for', () => {
    expect(marksOf(events)).toEqual([
      { at: 1, kind: 'person' },
      { at: 2, kind: 'command' },
      { at: 3, kind: 'trouble' },
      { at: 4, kind: 'file' },
      { at: 6, kind: 'end' },
    ]);
  });

  test('does not mark each of thousands', () => {
    const many = Array.from({ length: 5_000 }, () => ({ action: 'run', args: { command: 'x' } }));

    expect(marksOf(eventsOf(...many)).length).toBeLessThanOrEqual(400);
  });

  test('goes at the recorded pace, without its longest waits', () => {
    const [first, second] = eventsOf({ action: 'think', args: {} }, { action: 'think', args: {} });

    expect(waitOf([first!, second!], 1)).toBe(1_000);
    expect(waitOf([first!, { ...second!, at: first!.at + 3_600_000 }], 1)).toBe(4_000);
    expect(waitOf([first!, { ...second!, at: first!.at }], 1)).toBeGreaterThan(100);
    expect(waitOf([first!], 0)).toBeGreaterThan(100);
  });
});

describe('what people and models write', () => {
  const person = { id: 'eve', name: HOSTILE };
  const said = { source: 'user', user: person };
  const context: AgentContext = {
    userId: 'ann',
    role: 'drive',
    attempt: () => Promise.resolve(true),
    openFile: () => undefined,
    fork: () => undefined,
    nameOf: (one) => one?.name ?? '',
  };

  function show(item: TimelineItem): HTMLElement {
    render(TimelineRow, {
      props: { item },
      context: new Map<unknown, unknown>([[AGENT, context]]),
    });
    return screen.getByTestId('agent-item');
  }

  test.each([
    ['a message', [{ action: 'message', args: { content: HOSTILE }, ...said }]],
    ['a comment', [{ action: 'comment', args: { content: HOSTILE }, ...said }]],
    ['an answer', [{ action: 'message', args: { content: HOSTILE } }]],
    [
      'a command',
      [
        { action: 'run', args: { command: HOSTILE, thought: HOSTILE } },
        { observation: 'run', content: HOSTILE, extras: { exit_code: 0 }, cause: 1 },
      ],
    ],
    ['a file', [{ action: 'write', args: { path: HOSTILE, content: HOSTILE } }]],
    ['an edit', [{ action: 'edit', args: { path: HOSTILE, old: HOSTILE, new: 'x' } }]],
    ['a task', [{ action: 'delegate', args: { agent: HOSTILE, task: HOSTILE } }]],
    ['an end', [{ action: 'finish', args: { content: HOSTILE } }]],
    [
      'an error',
      [{ observation: 'error', content: HOSTILE, extras: { code: 'x', reference: HOSTILE } }],
    ],
    ['a summary', [{ observation: 'condensation', content: HOSTILE, extras: { through: 1 } }]],
    ['news', [{ observation: 'status', content: HOSTILE, extras: { status: HOSTILE } }]],
  ])('is shown as text in %s', (_, fields: Record<string, unknown>[]) => {
    const [item] = foldTimeline(EMPTY_TIMELINE, eventsOf(...fields)).items;

    const shown = show(item!);

    expect(shown.querySelector('img')).toBeNull();
    expect(shown.textContent).toContain(HOSTILE);
  });

  test('cannot make a command look like another', () => {
    const command = `echo ok${ESC}[8m; rm -rf ~\u202e`;

    expect(clean(command)).toBe('echo ok[8m; rm -rf ~');
  });
});
