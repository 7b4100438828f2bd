/** The agent sessions that a person takes part in, kept current by what is heard. */

import type { Connection } from '../connection.js';
import { isRecord } from '../errors.js';
import { List, type Listed } from '../lists.js';
import type { Readable } from '../store.js';
import type { AgentInfo } from './agents-api.js';

type Rows = readonly AgentInfo[];

/** Apply an `agent:updated` payload. Null: only the server knows whether the list holds it now. */
export function foldAgentRows(rows: Rows, payload: Record<string, unknown>): Rows | null {
  const { reason, ...row } = payload as unknown as AgentInfo & { reason?: string };
  // Somebody takes part now, or no longer; it may be oneself.
  if (typeof row.id !== 'string' || reason === 'members') return null;
  const others = rows.filter(({ id }) => id !== row.id);
  return [row, ...others].sort((a, b) => b.updated_at - a.updated_at);
}

export class AgentList implements Readable<Listed<AgentInfo>> {
  readonly #list: List<AgentInfo>;
  readonly #stops: (() => void)[];

  /** `fetch` reads the list, such as `() => new AgentsApi(api).list().then((page) => page.items)`. */
  constructor(fetch: () => Promise<Rows>, connection: Connection) {
    this.#list = new List(fetch);
    this.#stops = [
      connection.on('agent:updated', (payload) => this.#hear(payload)),
      connection.on('agent:deleted', (payload) => {
        if (isRecord(payload)) this.#list.change((rows) => without(rows, payload['id']));
      }),
      // What happened while there was no connection was told to nobody.
      connection.onConnected(() => this.#list.reloadSoon()),
    ];
    void this.reload();
  }

  get(): Listed<AgentInfo> {
    return this.#list.get();
  }

  subscribe(run: (view: Listed<AgentInfo>) => void): () => void {
    return this.#list.subscribe(run);
  }

  reload(): Promise<void> {
    return this.#list.reload();
  }

  close(): void {
    for (const stop of this.#stops) stop();
    this.#list.close();
  }

  #hear(payload: unknown): void {
    if (!isRecord(payload)) return;
    const after = foldAgentRows(this.get().items, payload);
    if (after === null) this.#list.reloadSoon();
    else this.#list.change(() => after);
  }
}

function without(rows: Rows, id: unknown): Rows {
  return rows.some((row) => row.id === id) ? rows.filter((row) => row.id !== id) : rows;
}
