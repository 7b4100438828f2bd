import { beforeEach, expect, test, vi } from 'vitest';

const shown: string[] = [];
vi.mock('svelte-sonner', () => {
  const say = (level: string) => (text: string) => shown.push(`${level}: ${text}`);
  return {
    toast: {
      info: say('info'),
      success: say('success'),
      warning: say('warning'),
      error: say('error'),
    },
  };
});

const { showNotice } = await import('../src/lib/notices');

beforeEach(() => {
  shown.length = 0;
});

test('a notice is shown at its level, an unknown level as information', () => {
  showNotice({ level: 'warning', text: 'mind the step' });
  showNotice({ level: 'constructor', text: 'hello' });
  expect(shown).toEqual(['warning: mind the step', 'info: hello']);
});

test('what is no notice is left out', () => {
  for (const data of [null, 'text', {}, { text: '' }, { text: 7 }]) showNotice(data);
  expect(shown).toEqual([]);
});
