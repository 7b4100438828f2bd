#!/usr/bin/env node
// Draws the icons of the installed page (public/icons) from the mark. CHROMIUM names another browser.

import { mkdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

const PUBLIC = fileURLToPath(new URL('../public/', import.meta.url));
const mark = await readFile(`${PUBLIC}favicon.svg`, 'utf8');
/** `share` of the picture that the mark fills; a mask may cut off what lies outside the middle 80 %. */
const ICONS = [
  { name: '192', size: 192, share: 1, ground: 'transparent' },
  { name: '512', size: 512, share: 1, ground: 'transparent' },
  { name: 'maskable', size: 512, share: 0.72, ground: '#1d5c4d' },
  { name: 'apple', size: 180, share: 0.8, ground: '#1d5c4d' },
];

await mkdir(`${PUBLIC}icons`, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu'],
});
try {
  const page = await browser.newPage({ colorScheme: 'light' });
  for (const { name, size, share, ground } of ICONS) {
    await page.setViewportSize({ width: size, height: size });
    await page.setContent(
      `<body style="margin:0;height:100vh;display:grid;place-items:center;background:${ground}">` +
        `<div style="width:${share * 100}vw;height:${share * 100}vw;display:grid">${mark}</div></body>`,
    );
    const path = `${PUBLIC}icons/${name}.png`;
    await page.screenshot({ path, omitBackground: ground === 'transparent' });
  }
} finally {
  await browser.close();
}
