/** The agent sessions that a person takes part in, for components. */

import { AgentList, AgentsApi, type AgentInfo, type Api, type Connection } from '@parlour/sdk';

const LISTED = 50;

export class Agents {
  rows = $state.raw<readonly AgentInfo[]>([]);
  state = $state<'loading' | 'ready' | 'failed'>('loading');
  /** Where the next page of the list begins. */
  cursor = $state<string | null>(null);
  readonly api: AgentsApi;
  readonly #list: AgentList;
  readonly #stop: () => void;

  constructor(api: Api, connection: Connection) {
    this.api = new AgentsApi(api);
    this.#list = new AgentList(() => this.#fetch(), connection);
    this.#stop = this.#list.subscribe(({ phase, items }) => {
      this.rows = items;
      this.state = phase;
    });
  }

  find(id: string): AgentInfo | undefined {
    return this.rows.find((row) => row.id === id);
  }

  reload(): Promise<void> {
    return this.#list.reload();
  }

  close(): void {
    this.#stop();
    this.#list.close();
  }

  async #fetch(): Promise<readonly AgentInfo[]> {
    const page = await this.api.list({ limit: LISTED });
    this.cursor = page.next_cursor;
    return page.items;
  }
}
