/** The list of conversations for components. */

import { Chats, type Api, type ThreadRow, type UserStream } from '@parlour/sdk';

const SEARCH_DELAY_MS = 200;

export class ThreadList {
  rows = $state.raw<readonly ThreadRow[]>([]);
  state = $state<'loading' | 'ready' | 'failed'>('loading');
  more = $state(false);
  query = $state('');
  readonly #chats: Chats;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(api: Api, stream: UserStream) {
    this.#chats = new Chats(api, stream);
    this.#chats.subscribe(({ phase, rows, more }) => {
      this.rows = rows;
      this.state = phase;
      this.more = more;
    });
  }

  search(query: string): void {
    this.query = query;
    clearTimeout(this.#timer);
    const ask = (): void => void this.#chats.search(query);
    this.#timer = setTimeout(ask, query ? SEARCH_DELAY_MS : 0);
  }

  reload(): Promise<void> {
    return this.#chats.reload();
  }

  loadMore(): Promise<void> {
    return this.#chats.loadMore();
  }

  find(id: string): ThreadRow | undefined {
    return this.rows.find((row) => row.id === id);
  }

  rename(id: string, title: string): Promise<void> {
    return this.#chats.rename(id, title);
  }

  remove(id: string): Promise<void> {
    return this.#chats.remove(id);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#chats.close();
  }
}
