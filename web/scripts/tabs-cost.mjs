#!/usr/bin/env node
// What a person's tabs cost: each with a connection of its own, or all of them over one in a shared worker.
//
//   node web/scripts/tabs-cost.mjs --url http://127.0.0.1:8000 --password … [--tabs 5] [--tokens 3000]
//
// Bare pages with nothing but the SDK follow one conversation while an answer streams. The server has to run on
// this machine, with `PARLOUR_ALLOWED_ORIGINS` naming http://127.0.0.1:8791; --pid is its process.

import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';

import { chromium } from 'playwright-core';

const { values: options } = parseArgs({
  options: {
    url: { type: 'string', default: 'http://127.0.0.1:8000' },
    login: { type: 'string', default: 'demo' },
    password: { type: 'string', default: 'demo' },
    tabs: { type: 'string', default: '5' },
    tokens: { type: 'string', default: '3000' },
    pid: { type: 'string' },
  },
});
const PORT = 8791;
const SDK = new URL('../../sdk/dist/parlour.min.js', import.meta.url);

const FOLLOW = `
import { connect, Conversation } from '/sdk.js';
export function follow({ url, token, thread }, seen) {
  const connection = connect({ url, token, sessionId: crypto.randomUUID() });
  const conversation = new Conversation(connection, thread);
  conversation.subscribe(({ thread }) => {
    const last = [...thread.messages.values()].at(-1);
    seen({ text: last?.content ?? '', done: last?.role === 'assistant' && !last.streaming });
  });
  return conversation;
}`;
const OWN = `
import { follow } from '/follow.js';
window.begin = (how) => (window.conversation = follow(how, (seen) => show(seen)));
window.say = (text) => window.conversation.send(text);`;
const SHARED = `
window.begin = (how) => {
  const worker = new SharedWorker('/worker.js', { type: 'module' });
  worker.port.onmessage = ({ data }) => show(data);
  worker.port.postMessage({ how });
  window.say = (text) => worker.port.postMessage({ text });
};`;
const WORKER = `
import { follow } from '/follow.js';
const ports = new Set();
let conversation, last;
onconnect = ({ ports: [port] }) => {
  ports.add(port);
  port.onmessage = ({ data }) => {
    if (data.text) return void conversation.send(data.text);
    conversation ??= follow(data.how, (seen) => {
      last = seen;
      for (const one of ports) one.postMessage(seen);
    });
    if (last) port.postMessage(last);
  };
};`;
const page = (script) => `<!doctype html><title>tab</title><p id="text"></p>
<script>window.show = ({ text, done }) => {
  document.getElementById('text').textContent = text; window.done = done; window.shown = text.length; };</script>
<script type="module">${script}</script>`;

const FILES = {
  '/own': ['text/html', page(OWN)],
  '/shared': ['text/html', page(SHARED)],
  '/follow.js': ['text/javascript', FOLLOW],
  '/worker.js': ['text/javascript', WORKER],
  '/sdk.js': ['text/javascript', await readFile(SDK, 'utf8')],
};

/** Kilobytes that these processes hold by themselves, shared memory in equal parts. */
async function memory(pids) {
  const found = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '')),
  );
  return found.reduce((sum, text) => sum + Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? 0), 0);
}

/** Seconds of processor time that these processes have used. */
async function processor(pids) {
  const tick = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
  const found = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')),
  );
  return found.reduce((sum, text) => {
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return sum + (text ? (Number(fields[11]) + Number(fields[12])) / tick : 0);
  }, 0);
}

async function measure(how, tabs, token) {
  const browser = await chromium.launch({
    executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run'],
  });
  try {
    const context = await browser.newContext();
    const devtools = await browser.newBrowserCDPSession();
    const processes = async () =>
      (await devtools.send('SystemInfo.getProcessInfo')).processInfo.map(({ id }) => id);
    const pages = [];
    const thread = crypto.randomUUID();
    for (let count = 0; count < tabs; count += 1) {
      const tab = await context.newPage();
      await tab.goto(`http://127.0.0.1:${PORT}/${how}`);
      await tab.waitForFunction(() => 'begin' in window);
      await tab.evaluate((told) => window.begin(told), { url: options.url, token, thread });
      pages.push(tab);
    }
    const server = options.pid ? [options.pid] : [];
    const idle = await memory(await processes());
    const before = [await processor(await processes()), await processor(server)];
    await pages[0].evaluate((text) => window.say(text), `count to ${options.tokens}`);
    for (const tab of pages) {
      await tab.waitForFunction(() => window.done && window.shown > 1_000, null, {
        timeout: 110_000,
      });
    }
    const after = [await processor(await processes()), await processor(server)];
    return {
      'browser, MB': (idle / 1024).toFixed(0),
      'browser, s of CPU': (after[0] - before[0]).toFixed(2),
      'server, s of CPU': (after[1] - before[1]).toFixed(2),
    };
  } finally {
    await browser.close();
  }
}

const host = createServer((request, response) => {
  const found = FILES[request.url];
  response.writeHead(found ? 200 : 404, { 'content-type': found?.[0] ?? 'text/plain' });
  response.end(found?.[1]);
}).listen(PORT, '127.0.0.1');
try {
  const answer = await fetch(`${options.url}/api/auth/sign-in`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ login: options.login, password: options.password }),
  });
  if (!answer.ok) throw new Error(`Signing in failed: ${answer.status}`);
  const { token } = await answer.json();
  const tabs = Number(options.tabs);
  const rows = {};
  for (const round of [1, 2, 3]) {
    for (const how of ['own', 'shared']) {
      const name = how === 'own' ? `${tabs} connections` : 'one, in a shared worker';
      rows[`${name}, round ${round}`] = await measure(how, tabs, token);
    }
  }
  console.table(rows);
} finally {
  host.close();
  host.closeAllConnections();
}
