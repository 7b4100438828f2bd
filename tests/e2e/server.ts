/** The real server with the demo app, in a process of its own and a throw-away data folder. */

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const COMMAND = process.env['PARLOUR'] ?? join(ROOT, '.venv/bin/parlour');
const PAGE = join(ROOT, 'src/parlour/transports/http/static/index.html');
const START_MS = 30_000;

export const PASSWORD = 'correct horse battery';

export class DemoServer {
  readonly port: number;
  readonly #data: string;
  readonly #settings: Record<string, string>;
  #process: ChildProcess | undefined;
  #log = '';

  static async start(settings: Record<string, string> = {}): Promise<DemoServer> {
    if (!existsSync(PAGE)) throw new Error('The page is not built: run `npm run build` first.');
    const server = new DemoServer(
      await freePort(),
      await mkdtemp(join(tmpdir(), 'parlour-e2e-')),
      settings,
    );
    await server.begin();
    return server;
  }

  private constructor(port: number, data: string, settings: Record<string, string>) {
    this.port = port;
    this.#data = data;
    this.#settings = settings;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Start on the same port and data, and wait until it is ready. */
  async begin(): Promise<void> {
    const options = ['--port', String(this.port), '--data', this.#data, '--password', PASSWORD];
    const child = spawn(COMMAND, ['demo', ...options], {
      cwd: this.#data,
      env: {
        ...process.env,
        PARLOUR_DEMO_TOKENS_PER_SECOND: '60',
        OPENAI_API_KEY: '',
        OPENAI_BASE_URL: '',
        ...this.#settings,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#process = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on(
        'data',
        (chunk: Buffer) => (this.#log = (this.#log + chunk.toString()).slice(-8_000)),
      );
    }
    await this.#ready(child);
  }

  /** End the process without a chance to tidy up. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  async stop(): Promise<void> {
    await this.#end('SIGTERM');
    await rm(this.#data, { recursive: true, force: true });
  }

  async #ready(child: ChildProcess): Promise<void> {
    const deadline = Date.now() + START_MS;
    while (Date.now() < deadline) {
      if (child.exitCode !== null) break;
      const answer = await fetch(`${this.url}/health/ready`).catch(() => null);
      if (answer?.ok) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(`The demo did not start:\n${this.#log}`);
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}
