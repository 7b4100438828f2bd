import { fileURLToPath } from 'node:url';

import { svelte } from '@sveltejs/vite-plugin-svelte';
import tailwindcss from '@tailwindcss/vite';
import { defineConfig } from 'vite';

// `parlour run` serves the built page; in development the page is served here and talks to it.
const server = process.env['PARLOUR_URL'] ?? 'http://127.0.0.1:8000';

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  // Addresses are relative to the page's <base>, which the server sets to where it is mounted.
  base: './',
  plugins: [tailwindcss(), svelte()],
  build: {
    outDir: fileURLToPath(new URL('../src/parlour/transports/http/static', import.meta.url)),
    emptyOutDir: true,
    target: 'es2022',
    chunkSizeWarningLimit: 900,
  },
  server: {
    proxy: {
      '/api': { target: server },
      '/ws': { target: server, ws: true },
    },
  },
});
