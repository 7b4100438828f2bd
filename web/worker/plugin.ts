/** Builds the service worker beside the page and tells it which files the first paint needs. */

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { transformWithOxc, type Plugin } from 'vite';

const SOURCE = fileURLToPath(new URL('sw.ts', import.meta.url));
const PUBLIC = fileURLToPath(new URL('../public', import.meta.url));

export function serviceWorker(): Plugin {
  return {
    name: 'service-worker',
    apply: 'build',
    enforce: 'post',
    async generateBundle(_options, bundle) {
      const built = Object.values(bundle);
      const entry = built.find((part) => part.type === 'chunk' && part.isEntry);
      const eager = entry?.type === 'chunk' ? [entry.fileName, ...entry.imports] : [];
      // Styles and the Latin letters of the font; other scripts come when they are needed.
      const styles = built
        .map(({ fileName }) => fileName)
        .filter((name) => /index-[^/]+\.css$|latin-opsz-normal[^/]*\.woff2$/.test(name));
      const files = readdirSync(PUBLIC, { recursive: true, withFileTypes: true })
        .filter((file) => file.isFile())
        .map((file) => `${file.parentPath}/${file.name}`.slice(PUBLIC.length + 1));
      const shell = ['index.html', ...new Set([...eager, ...styles]), ...files].sort();
      const version = createHash('sha256');
      for (const name of shell) version.update(name);
      for (const name of files) version.update(readFileSync(`${PUBLIC}/${name}`));
      const { code } = await transformWithOxc(readFileSync(SOURCE, 'utf8'), SOURCE);
      const values =
        `const SHELL = ${JSON.stringify(shell)};\n` +
        `const VERSION = ${JSON.stringify(version.digest('hex').slice(0, 16))};\n`;
      this.emitFile({
        type: 'asset',
        fileName: 'sw.js',
        source: values + code.replace(/^export \{\};?$/m, ''),
      });
    },
  };
}
