import { Store, type Message } from '@parlour/sdk';
import { render, screen } from '@testing-library/svelte';
import { describe, expect, test } from 'vitest';

import MessageItem from '../src/conversation/MessageItem.svelte';
import { CONVERSATION } from '../src/conversation/context';

const HOSTILE = '<img src=x onerror=alert(1)>';

function show(message: Partial<Message>, shared: object = {}): HTMLElement {
  const whole = {
    id: 'm1',
    role: 'assistant',
    author: null,
    content: '',
    created_at: 1_700_000_000_000,
    offset: 1,
    ...message,
  } as Message;
  const conversation = new Store({ thread: { messages: new Map() } });
  const context = new Map<unknown, unknown>([
    [CONVERSATION, { conversation, editing: null, act: () => Promise.resolve(), ...shared }],
  ]);
  render(MessageItem, { props: { message: whole, last: true }, context });
  return screen.getByTestId('message');
}

describe('a message', () => {
  test('says who it is from and whether it is still being written', () => {
    const shown = show({ role: 'assistant', content: 'Hi', streaming: true });

    expect(shown.dataset).toMatchObject({ role: 'assistant', streaming: 'true' });
    expect(shown.getAttribute('aria-busy')).toBe('true');
  });

  test.each(['user', 'assistant', 'error', 'system', 'tool'] as const)(
    'of role %s shows markup as text, wherever it stands',
    (role) => {
      const shown = show({
        role,
        content: HOSTILE,
        author: { id: 'somebody', name: HOSTILE },
        actions: [{ id: 'a', name: 'a', label: HOSTILE, tooltip: HOSTILE }],
        files: [{ id: 'f', name: HOSTILE, mime: HOSTILE, size: 1, url: 'javascript:alert(1)' }],
        sources: [{ title: HOSTILE, url: 'javascript:alert(1)' }],
        data: { reference: HOSTILE, selected: HOSTILE },
      });

      expect(shown.querySelector('img')).toBeNull();
      expect(shown.textContent).toContain(HOSTILE);
      expect(shown.querySelector('[href^="javascript"]')).toBeNull();
    },
  );

  test('of a person names its author where several write', () => {
    const alone = show({ role: 'user', content: 'mine' });
    const between = [alone.querySelector('[data-testid="author"]')?.textContent];
    document.body.replaceChildren();
    const among = show({ role: 'user', content: 'mine' }, { several: true });

    between.push(among.querySelector('[data-testid="author"]')?.textContent);

    expect(between).toEqual([undefined, 'You']);
  });

  test('shows its buttons to a reader, who cannot press them', () => {
    const actions = [{ id: 'a', name: 'a', label: 'Go' }];

    const shown = show({ content: 'text', actions }, { reads: true });

    const button = shown.querySelector<HTMLButtonElement>('[data-testid="action"]');
    expect(button?.disabled).toBe(true);
  });

  test('keeps the line breaks that a person typed', () => {
    const shown = show({ role: 'user', content: 'one\n  two' });

    expect(shown.querySelector('p')?.textContent).toBe('one\n  two');
  });

  test('of a failure shows the reference once', () => {
    const once = show({
      role: 'error',
      content: 'It failed (reference abc).',
      data: { reference: 'abc' },
    });

    expect(once.textContent?.match(/abc/g)).toHaveLength(1);
  });

  test('shows pictures of the own file store only', () => {
    const shown = show({
      content: 'x',
      files: [
        { id: '1', name: 'own', mime: 'image/png', size: 1, url: '/api/files/1' },
        { id: '2', name: 'other', mime: 'image/png', size: 1, url: 'https://example.org/2.png' },
      ],
    });

    expect([...shown.querySelectorAll('img')].map((image) => image.alt)).toEqual(['own']);
  });
});
