import { fireEvent, render, screen, waitFor } from '@testing-library/svelte';
import { expect, test, vi } from 'vitest';

import { toBlocks } from '../src/lib/markdown';
import HtmlBlock from '../src/ui/HtmlBlock.svelte';

const SOURCE = '1. run\n\n   ```js\n   let a = 1;\n   let b = a;\n   ```\n';

function show(): HTMLElement {
  const block = toBlocks(SOURCE)[0]!;
  const { container } = render(HtmlBlock, { html: block.kind === 'html' ? block.html : '' });
  return container;
}

test('code inside a list gets its colours and loses no character', async () => {
  const container = show();

  await waitFor(() => expect(container.querySelectorAll('.shiki-token').length).toBeGreaterThan(3));

  expect(container.querySelector('pre')?.textContent).toBe('let a = 1;\nlet b = a;\n');
});

test('its button copies the code', async () => {
  const writeText = vi.fn(() => Promise.resolve());
  vi.stubGlobal('navigator', { ...navigator, clipboard: { writeText } });
  show();

  await fireEvent.click(screen.getByRole('button', { name: 'Copy' }));
  await screen.findByRole('button', { name: 'Copied' });

  expect(writeText).toHaveBeenCalledWith('let a = 1;\nlet b = a;');
  vi.unstubAllGlobals();
});
