/**
 * One file for pages without a bundler (`dist/parlour.min.js`), and what it and its parts weigh.
 *
 * A part is what an application bundles that imports only those names: that the rest stays out is what
 * `sideEffects: false` promises. Fails where the whole is over its budget.
 */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

import { build } from 'rolldown';

const DIST = fileURLToPath(new URL('../dist/', import.meta.url));
const WHOLE = join(DIST, 'parlour.min.js');
/** Bytes after gzip, socket.io-client included. */
const BUDGET = 48_000;

const PARTS = {
  'connect, Conversation': ['connect', 'Conversation'],
  'reducers alone (fold, foldChannel, foldChats)': ['fold', 'foldChannel', 'foldChats'],
  'Api alone': ['Api'],
};

async function bundle(input, file) {
  await build({
    input,
    platform: 'browser',
    resolve: {
      modules: [
        'node_modules',
        fileURLToPath(new URL('../node_modules', import.meta.url)),
        fileURLToPath(new URL('../../node_modules', import.meta.url)),
      ],
    },
    output: { file, format: 'esm', minify: true, codeSplitting: false },
    logLevel: 'warn',
  });
  const code = await readFile(file);
  return { bytes: code.length, gzip: gzipSync(code, { level: 9 }).length };
}

export async function measure() {
  const sizes = { 'everything (parlour.min.js)': await bundle(join(DIST, 'index.js'), WHOLE) };
  const folder = await mkdtemp(join(tmpdir(), 'parlour-sdk-'));
  try {
    for (const [part, names] of Object.entries(PARTS)) {
      const entry = join(folder, 'entry.js');
      const from = JSON.stringify(join(DIST, 'index.js'));
      await writeFile(entry, `export { ${names.join(', ')} } from ${from};`);
      sizes[part] = await bundle(entry, join(folder, 'out.js'));
    }
  } finally {
    await rm(folder, { recursive: true });
  }
  return sizes;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const sizes = await measure();
  for (const [part, { bytes, gzip }] of Object.entries(sizes)) {
    const kib = (count) => `${(count / 1024).toFixed(1)} KiB`.padStart(10);
    console.log(`${kib(bytes)} ${kib(gzip)} gzip  ${part}`);
  }
  const { gzip } = sizes['everything (parlour.min.js)'];
  if (gzip > BUDGET) {
    console.error(`The whole is over its budget of ${BUDGET} bytes.`);
    process.exit(1);
  }
}
