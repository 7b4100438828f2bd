/** The lists of conversations for components: one's own, and those that others share. */

import {
  Chats,
  type Api,
  type ChatsOptions,
  type Connection,
  type Person,
  type StreamEvent,
  type ThreadRow,
  type UserStream,
} from '@parlour/sdk';
import { SvelteSet } from 'svelte/reactivity';

const SEARCH_DELAY_MS = 200;

export class ThreadList {
  rows = $state.raw<readonly ThreadRow[]>([]);
  state = $state<'loading' | 'ready' | 'failed'>('loading');
  more = $state(false);
  query = $state('');
  readonly #chats: Chats;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(api: Api, stream: UserStream, options: ChatsOptions = {}) {
    this.#chats = new Chats(api, stream, options);
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

  leave(id: string, userId: string): Promise<void> {
    return this.#chats.leave(id, userId);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#chats.close();
  }
}

/** Somebody shares a conversation with this person who did not have it before. */
export interface Invitation {
  row: ThreadRow;
  by: Person;
}

export class SharedThreads extends ThreadList {
  /** Conversations in which something happened since the person last looked, as far as this page knows. */
  readonly unseen = new SvelteSet<string>();
  /** The one that is on the screen. */
  viewing: string | null = null;
  readonly #stop: () => void;

  constructor(
    api: Api,
    stream: UserStream,
    connection: Connection,
    oninvited: (invitation: Invitation) => void,
  ) {
    super(api, stream, { shared: connection });
    this.#stop = stream.hear({ event: (event) => this.#hear(event, oninvited) });
  }

  /** The person looks at it now (null: at none of them). */
  look(id: string | null): void {
    this.viewing = id;
    if (id !== null) this.unseen.delete(id);
  }

  override close(): void {
    this.#stop();
    super.close();
  }

  #hear({ type, data }: StreamEvent, oninvited: (invitation: Invitation) => void): void {
    if (type === 'thread:unshared' || type === 'thread:deleted') {
      this.unseen.delete(String(data['id']));
      return;
    }
    const invited = type === 'thread:shared' && data['new'] === true;
    if (!invited && type !== 'thread:shared:updated') return;
    const row = data['thread'] as ThreadRow;
    if (row.id !== this.viewing) this.unseen.add(row.id);
    if (invited) oninvited({ row, by: data['by'] as Person });
  }
}
