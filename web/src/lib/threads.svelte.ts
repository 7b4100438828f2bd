import {
  type Api,
  type Connection,
  type Follower,
  type StreamEvent,
  type ThreadRow,
} from '@parlour/sdk';

import { showNotice } from './notices';

const PAGE = 40;
const SEARCH_DELAY_MS = 200;

/** The list of conversations: pages from the server, kept current by the user's own stream. */
export class ThreadList {
  rows = $state.raw<readonly ThreadRow[]>([]);
  state = $state<'loading' | 'ready' | 'failed'>('loading');
  more = $state(false);
  query = $state('');
  #cursor: string | null = null;
  #request = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #follower: Follower;
  #api: Api;

  /** `others` hears what else happens in the user's stream. */
  constructor(
    api: Api,
    connection: Connection,
    userId: string,
    others: (event: StreamEvent) => void = () => undefined,
  ) {
    this.#api = api;
    void this.reload();
    let joined = false;
    this.#follower = connection.follow(`user:${userId}`, {
      // A stream that could not be continued says nothing about what changed meanwhile.
      snapshot: () => {
        if (joined) void this.reload();
        joined = true;
      },
      events: (events) =>
        events.forEach((event) => {
          this.#apply(event);
          others(event);
        }),
      failed: () => undefined,
    });
  }

  search(query: string): void {
    this.query = query;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.reload(), query ? SEARCH_DELAY_MS : 0);
  }

  /** Fetch the first page again. What is shown stays until the answer comes. */
  async reload(): Promise<void> {
    await this.#load(null);
  }

  async loadMore(): Promise<void> {
    if (this.more && this.state === 'ready') await this.#load(this.#cursor);
  }

  find(id: string): ThreadRow | undefined {
    return this.rows.find((row) => row.id === id);
  }

  async rename(id: string, title: string): Promise<void> {
    await this.#api.renameThread(id, title);
    this.rows = this.rows.map((row) => (row.id === id ? { ...row, title } : row));
  }

  async remove(id: string): Promise<void> {
    await this.#api.deleteThread(id);
    this.#drop(id);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#request += 1;
    this.#follower.close();
  }

  async #load(cursor: string | null): Promise<void> {
    const request = ++this.#request;
    this.state = 'loading';
    const search = this.query.trim();
    try {
      const page = await this.#api.threads({
        limit: PAGE,
        ...(cursor ? { cursor } : {}),
        ...(search ? { search } : {}),
      });
      if (request !== this.#request) return;
      this.rows = cursor ? merge(this.rows, page.items) : page.items;
      this.#cursor = page.next_cursor;
      this.more = page.next_cursor !== null;
      this.state = 'ready';
    } catch {
      if (request === this.#request) this.state = 'failed';
    }
  }

  #apply(event: StreamEvent): void {
    if (event.type === 'thread:deleted') this.#drop(String(event.data['id']));
    if (event.type === 'notification') showNotice(event.data);
    if (event.type !== 'thread:updated') return;
    const row = event.data['thread'] as ThreadRow;
    if (this.query.trim()) {
      // Whether a new row matches is the server's to say; a known one is only refreshed.
      if (this.find(row.id)) this.rows = merge(this.rows, [row]);
    } else {
      this.rows = merge(this.rows, [row]);
    }
  }

  #drop(id: string): void {
    this.rows = this.rows.filter((row) => row.id !== id);
  }
}

/** Rows by id, newest first. */
function merge(rows: readonly ThreadRow[], news: readonly ThreadRow[]): ThreadRow[] {
  const known = rows.filter((row) => !news.some(({ id }) => id === row.id));
  return [...known, ...news].sort((a, b) => b.updated_at - a.updated_at);
}
