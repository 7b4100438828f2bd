/** The real server in a process of its own, with a throw-away data folder. */

import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const BIN = process.env['BIN'] ?? join(ROOT, '.venv/bin');
const PAGE = join(ROOT, 'src/parlour/transports/http/static/index.html');
const START_MS = 60_000;

export const PASSWORD = 'correct horse battery';

type Settings = Record<string, string>;

interface Launch {
  command: string;
  args: (port: number, data: string) => string[];
  cwd?: string;
  /** Where the application stands on its host. */
  below?: string;
  settings: Settings;
}

export class AppServer {
  readonly port: number;
  readonly #data: string;
  readonly #launch: Launch;
  #process: ChildProcess | undefined;
  #log = '';

  /** The demo; its user is `demo` with `PASSWORD`. */
  static demo(settings: Settings = {}): Promise<AppServer> {
    const args = (port: number, data: string) => [
      ...['demo', '--port', String(port)],
      ...['--data', data, '--password', PASSWORD],
    ];
    return AppServer.#start({ command: join(BIN, 'parlour'), args, settings });
  }

  /** One of the examples, as `parlour run` serves it. */
  static example(name: string, settings: Settings = {}): Promise<AppServer> {
    return AppServer.#run(join(ROOT, 'examples', name), settings);
  }

  /** One of the apps that were written for these tests. */
  static app(name: string, settings: Settings = {}): Promise<AppServer> {
    return AppServer.#run(join(ROOT, 'tests/e2e/apps', name), settings);
  }

  static #run(file: string, settings: Settings): Promise<AppServer> {
    const args = (port: number, data: string) => [
      ...['run', file, '--port', String(port)],
      ...['--data', data],
    ];
    return AppServer.#start({ command: join(BIN, 'parlour'), args, settings });
  }

  /** The example inside another application, under uvicorn. */
  static mounted(settings: Settings = {}): Promise<AppServer> {
    const args = (port: number) => ['mounted:app', '--port', String(port)];
    return AppServer.#start({
      command: join(BIN, 'uvicorn'),
      args,
      cwd: join(ROOT, 'examples'),
      below: '/chat',
      settings,
    });
  }

  static async #start(launch: Launch): Promise<AppServer> {
    if (!existsSync(PAGE)) throw new Error('The page is not built: run `npm run build` first.');
    const data = await mkdtemp(join(tmpdir(), 'parlour-e2e-'));
    const server = new AppServer(await freePort(), data, launch);
    await server.begin();
    return server;
  }

  private constructor(port: number, data: string, launch: Launch) {
    this.port = port;
    this.#data = data;
    this.#launch = launch;
  }

  /** Where the page is, with a slash at the end. */
  get url(): string {
    return `http://127.0.0.1:${this.port}${this.#launch.below ?? ''}/`;
  }

  /** Start on the same port and data, and wait until it is ready. */
  async begin(): Promise<void> {
    const { command, args, cwd = this.#data, settings } = this.#launch;
    const child = spawn(command, args(this.port, this.#data), {
      cwd,
      env: {
        ...process.env,
        PARLOUR_SIGN_UP: 'true',
        PARLOUR_DATA_FOLDER: this.#data,
        PARLOUR_DEMO_TOKENS_PER_SECOND: '60',
        OPENAI_API_KEY: '',
        OPENAI_BASE_URL: '',
        ...settings,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#process = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        this.#log = (this.#log + chunk.toString()).slice(-8_000);
      });
    }
    await this.#ready(child);
  }

  /** End the process without a chance to tidy up. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** No file of the process can grow: what a full disk does to a writer. */
  fillDisk(): void {
    this.#limitFiles('1:unlimited');
  }

  emptyDisk(): void {
    this.#limitFiles('unlimited:unlimited');
  }

  #limitFiles(limit: string): void {
    execFileSync('prlimit', ['--pid', String(this.#process!.pid), `--fsize=${limit}`]);
  }

  /** A command of the operator on the same data, beside the server. */
  async command(...words: string[]): Promise<void> {
    const child = spawn(join(BIN, 'parlour'), [...words, '--data', this.#data], {
      stdio: 'ignore',
    });
    const [code] = (await once(child, 'exit')) as [number];
    if (code !== 0) throw new Error(`parlour ${words.join(' ')} ended with ${code}.`);
  }

  /** Replace the process as a deploy does. */
  async restart(settings: Settings = {}): Promise<void> {
    await this.#end('SIGTERM');
    Object.assign(this.#launch.settings, settings);
    await this.begin();
  }

  async stop(): Promise<void> {
    await this.#end('SIGTERM');
    await rm(this.#data, { recursive: true, force: true });
  }

  async #ready(child: ChildProcess): Promise<void> {
    const deadline = Date.now() + START_MS;
    while (Date.now() < deadline) {
      if (child.exitCode !== null) break;
      const answer = await fetch(`${this.url}health/ready`).catch(() => null);
      if (answer?.ok) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(`The server did not start:\n${this.#log}`);
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

export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}
