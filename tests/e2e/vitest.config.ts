import { existsSync } from 'node:fs';

import { defineConfig } from 'vitest/config';

const browser = process.env['CHROMIUM'] ?? '/usr/bin/chromium';
// Nothing is left out in silence: elsewhere the missing tests are named, on CI they fail.
const present = existsSync(browser) || Boolean(process.env['CI']);
if (!present) {
  console.warn(`The browser tests (tests/e2e) did not run: there is no Chromium at ${browser}.`);
}

// Minutes of broken networks; outage.test.ts is the short version.
const LONG = ['faults.test.ts'];
const long = process.env['LONG'] === '1';
if (present && !long) console.info(`${LONG.join(' and ')} is left to \`make fault\` (LONG=1).`);

export default defineConfig({
  test: {
    name: 'e2e',
    root: import.meta.dirname,
    include: present ? ['*.test.ts'] : [],
    exclude: long ? [] : LONG,
    passWithNoTests: !present,
    environment: 'node',
    // One browser at a time: two cores have to do.
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
