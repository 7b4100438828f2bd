/** `parlour.testing.fault_proxy` between page and server. */

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { BIN } from './server';

export class FaultProxy {
  readonly port: number;
  readonly #process: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  static async before(target: number): Promise<FaultProxy> {
    const command = ['-m', 'parlour.testing.fault_proxy', String(target)];
    const child = spawn(join(BIN, 'python'), command, { stdio: ['pipe', 'pipe', 'inherit'] });
    const answers = createInterface(child.stdout)[Symbol.asyncIterator]();
    const { value } = await answers.next();
    return new FaultProxy(Number(value), child, answers);
  }

  private constructor(port: number, process: ChildProcess, answers: AsyncIterator<string>) {
    this.port = port;
    this.#process = process;
    this.#answers = answers;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/`;
  }

  /** Every connection ends at once. */
  cut(): Promise<void> {
    return this.#tell('cut');
  }

  /** Half-open: nothing passes on the present connections any more, and nobody is told. */
  freeze(): Promise<void> {
    return this.#tell('freeze');
  }

  /** The network is gone: present connections end, and no new one comes about. */
  async away(): Promise<void> {
    await this.#tell('refuse');
    await this.cut();
  }

  back(): Promise<void> {
    return this.#tell('accept');
  }

  /** This share of what passes is late, as behind a lost packet. */
  lose(share: number): Promise<void> {
    return this.#tell(`loss ${share}`);
  }

  async stop(): Promise<void> {
    const ended = once(this.#process, 'exit');
    this.#process.stdin!.end();
    await ended;
  }

  async #tell(command: string): Promise<void> {
    this.#process.stdin!.write(`${command}\n`);
    const { value } = await this.#answers.next();
    if (value !== 'ok') throw new Error(`The proxy did not take “${command}”.`);
  }
}
