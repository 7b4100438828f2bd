import AxeBuilder from '@axe-core/playwright';
import type { Page } from 'playwright-core';

/** What WCAG 2.2 AA finds wrong with the page as it stands. */
export async function accessFaults(page: Page): Promise<string[]> {
  // Fading colours are not the colours that are read.
  await page.addStyleTag({
    content: '*, ::before, ::after { transition: none !important; animation: none !important }',
  });
  const { violations } = await new AxeBuilder({ page })
    .withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'])
    .analyze();
  return violations.flatMap(({ id, nodes }) =>
    nodes.map((node) => `${id}: ${node.html.slice(0, 160)}`),
  );
}
