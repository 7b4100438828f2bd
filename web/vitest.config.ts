import { fileURLToPath } from 'node:url';

import { svelte } from '@sveltejs/vite-plugin-svelte';
import { svelteTesting } from '@testing-library/svelte/vite';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  plugins: [svelte(), svelteTesting()],
  resolve: {
    // The tests need no build of the client.
    alias: {
      '@parlour/sdk/documents': fileURLToPath(
        new URL('../sdk/src/documents/index.ts', import.meta.url),
      ),
      '@parlour/sdk': fileURLToPath(new URL('../sdk/src/index.ts', import.meta.url)),
    },
  },
  test: {
    name: 'web',
    include: ['test/**/*.test.ts'],
    environment: 'jsdom',
    setupFiles: ['test/browser.ts'],
    testTimeout: 15_000,
  },
});
