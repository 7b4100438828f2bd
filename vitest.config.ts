import { fileURLToPath } from 'node:url';

import { svelte } from '@sveltejs/vite-plugin-svelte';
import { svelteTesting } from '@testing-library/svelte/vite';
import { defineConfig } from 'vitest/config';

const sdk = fileURLToPath(new URL('./sdk/src/index.ts', import.meta.url));

export default defineConfig({
  test: {
    projects: [
      {
        test: { name: 'sdk', root: './sdk', include: ['test/**/*.test.ts'], environment: 'node' },
      },
      {
        plugins: [svelte(), svelteTesting()],
        resolve: { alias: { '@parlour/sdk': sdk } },
        test: { name: 'web', root: './web', include: ['test/**/*.test.ts'], environment: 'jsdom' },
      },
    ],
  },
});
