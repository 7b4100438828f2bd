import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

import { svelte } from '@sveltejs/vite-plugin-svelte';
import tailwindcss from '@tailwindcss/vite';
import { defineConfig, type Plugin } from 'vite';

import { serviceWorker } from './worker/plugin.ts';

// `parlour run` serves the built page; in development the page is served here and talks to it.
const server = process.env['PARLOUR_URL'] ?? 'http://127.0.0.1:8000';

/** A font is no module, so its licence is not among those of the modules. */
function fontLicense(): Plugin {
  const path = createRequire(import.meta.url).resolve('@fontsource-variable/inter/LICENSE');
  return {
    name: 'font-license',
    apply: 'build',
    generateBundle() {
      this.emitFile({
        type: 'asset',
        fileName: 'font-license.txt',
        source: readFileSync(path, 'utf8'),
      });
    },
  };
}

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  // Addresses are relative to the page's <base>, which the server sets to where it is mounted.
  base: './',
  plugins: [tailwindcss(), svelte(), fontLicense(), serviceWorker()],
  build: {
    outDir: fileURLToPath(new URL('../src/parlour/transports/http/static', import.meta.url)),
    emptyOutDir: true,
    target: 'es2022',
    // What is bundled keeps its terms beside it.
    license: { fileName: 'licenses.md' },
    chunkSizeWarningLimit: 900,
  },
  server: {
    proxy: {
      '/api': { target: server },
      '/ws': { target: server, ws: true },
    },
  },
});
