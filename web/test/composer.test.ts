import { fireEvent, render, screen } from '@testing-library/svelte';
import { beforeEach, describe, expect, test, vi } from 'vitest';

import ComposerInPage from './ComposerInPage.svelte';

const onsend = vi.fn(() => Promise.resolve());
const onstop = vi.fn(() => Promise.resolve());

beforeEach(() => {
  vi.clearAllMocks();
  sessionStorage.clear();
});

function open(more: { running?: boolean; threadId?: string } = {}): HTMLTextAreaElement {
  render(ComposerInPage, {
    props: {
      threadId: 'thread-12',
      running: false,
      stopping: false,
      asked: false,
      onsend,
      onstop,
      ...more,
    },
  });
  return screen.getByTestId('composer');
}

const type = (field: HTMLTextAreaElement, value: string) =>
  fireEvent.input(field, { target: { value } });

describe('the composer', () => {
  test('sends with Enter and is empty again', async () => {
    const field = open();
    await type(field, '  Hello  ');

    await fireEvent.keyDown(field, { key: 'Enter' });

    expect(onsend).toHaveBeenCalledExactlyOnceWith('Hello', []);
    expect(field.value).toBe('');
  });

  test.each([
    ['Shift+Enter', { key: 'Enter', shiftKey: true }],
    ['the Enter of an input method', { key: 'Enter', isComposing: true }],
  ])('does not send with %s', async (_name, key) => {
    const field = open();
    await type(field, '日本');

    await fireEvent.keyDown(field, key);

    expect(onsend).not.toHaveBeenCalled();
  });

  test('does not send blanks', async () => {
    const field = open();
    await type(field, ' \n ');

    await fireEvent.keyDown(field, { key: 'Enter' });

    expect(onsend).not.toHaveBeenCalled();
    expect(screen.getByTestId<HTMLButtonElement>('send').disabled).toBe(true);
  });

  test('offers Stop while a run is active, and Send beside it once there is something to send', async () => {
    const field = open({ running: true });
    const before = screen.queryByTestId('send');

    await type(field, 'And another thing');

    expect(before).toBeNull();
    expect(screen.getByTestId('stop')).toBeTruthy();
    expect(screen.getByTestId('send')).toBeTruthy();
  });

  test('stops with Escape', async () => {
    const field = open({ running: true });

    await fireEvent.keyDown(field, { key: 'Escape' });

    expect(onstop).toHaveBeenCalledOnce();
  });

  test('keeps what was typed and not sent, per conversation', async () => {
    await type(open({ threadId: 'thread-one' }), 'half a thought');

    const values = ['thread-one', 'thread-two'].map((threadId) => {
      document.body.innerHTML = '';
      return open({ threadId }).value;
    });

    expect(values).toEqual(['half a thought', '']);
  });
});
