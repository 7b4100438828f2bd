import { defineConfig } from 'vitest/config';

/** `make figures`: no part of the tests, because two busy cores must not decide about them. */
export default defineConfig({
  test: {
    name: 'figures',
    root: import.meta.dirname,
    include: ['figures.ts'],
    environment: 'node',
    testTimeout: 300_000,
    hookTimeout: 120_000,
  },
});
