/** The list of conversations: pages from the server, kept current by the person's own stream. */

import { ParlourError } from './errors.js';
import type { StreamEvent, ThreadRow } from './protocol.js';
import type { Api } from './rest.js';
import { Store, type Readable } from './store.js';
import type { UserStream } from './user-stream.js';

const PAGE = 40;

export interface ChatsView {
  /** What is shown stays while it is `loading` again. */
  phase: 'loading' | 'ready' | 'failed';
  error: ParlourError | null;
  /** Newest activity first. */
  rows: readonly ThreadRow[];
  /** There are older ones: `loadMore`. */
  more: boolean;
  /** What the list was searched for. */
  search: string;
}

/** Apply one event of the person's own stream. In a list that was searched for something only the rows
 * that are known are renewed: whether another one matches is the server's to say. */
export function foldChats(
  rows: readonly ThreadRow[],
  event: Pick<StreamEvent, 'type' | 'data'>,
  searched = false,
): readonly ThreadRow[] {
  if (event.type === 'thread:deleted') {
    return rows.some(({ id }) => id === event.data['id'])
      ? rows.filter(({ id }) => id !== event.data['id'])
      : rows;
  }
  if (event.type !== 'thread:updated') return rows;
  const row = event.data['thread'] as ThreadRow;
  if (searched && !rows.some(({ id }) => id === row.id)) return rows;
  return mergeChats(rows, [row]);
}

/** Rows by id, the newer ones instead of the known ones, newest activity first. */
export function mergeChats(
  rows: readonly ThreadRow[],
  news: readonly ThreadRow[],
): readonly ThreadRow[] {
  const fresh = new Set(news.map(({ id }) => id));
  const known = rows.filter(({ id }) => !fresh.has(id));
  return [...known, ...news].sort((a, b) => b.updated_at - a.updated_at);
}

export class Chats implements Readable<ChatsView> {
  readonly #api: Api;
  readonly #view = new Store<ChatsView>({
    phase: 'loading',
    error: null,
    rows: [],
    more: false,
    search: '',
  });
  readonly #unhear: () => void;
  #cursor: string | null = null;
  #request = 0;
  /** Events that came while a page is on its way: they may be newer than the page. */
  #meanwhile: StreamEvent[] = [];

  constructor(api: Api, stream: UserStream) {
    this.#api = api;
    this.#unhear = stream.hear({
      event: (event) => this.#apply(event),
      gap: () => void this.reload(),
    });
    void this.reload();
  }

  get(): ChatsView {
    return this.#view.get();
  }

  subscribe(run: (view: ChatsView) => void): () => void {
    return this.#view.subscribe(run);
  }

  find(id: string): ThreadRow | undefined {
    return this.#view.get().rows.find((row) => row.id === id);
  }

  /** Show what matches; an empty text shows all. */
  search(text: string): Promise<void> {
    this.#change({ search: text.trim() });
    return this.reload();
  }

  /** Fetch the first page again. */
  reload(): Promise<void> {
    return this.#load(null);
  }

  async loadMore(): Promise<void> {
    const { more, phase } = this.#view.get();
    if (more && phase === 'ready') await this.#load(this.#cursor);
  }

  async rename(id: string, title: string): Promise<void> {
    await this.#api.renameThread(id, title);
    this.#change({
      rows: this.#view.get().rows.map((row) => (row.id === id ? { ...row, title } : row)),
    });
  }

  async remove(id: string): Promise<void> {
    await this.#api.deleteThread(id);
    this.#change({ rows: this.#view.get().rows.filter((row) => row.id !== id) });
  }

  close(): void {
    this.#request += 1;
    this.#unhear();
  }

  async #load(cursor: string | null): Promise<void> {
    const request = ++this.#request;
    this.#meanwhile = [];
    this.#change({ phase: 'loading' });
    const { search } = this.#view.get();
    try {
      const page = await this.#api.threads({
        limit: PAGE,
        ...(cursor ? { cursor } : {}),
        ...(search ? { search } : {}),
      });
      if (request !== this.#request) return;
      const read = cursor ? mergeChats(this.#view.get().rows, page.items) : page.items;
      const fold = (rows: readonly ThreadRow[], event: StreamEvent) =>
        foldChats(rows, event, search !== '');
      this.#cursor = page.next_cursor;
      this.#change({
        phase: 'ready',
        error: null,
        rows: this.#meanwhile.reduce(fold, read),
        more: page.next_cursor !== null,
      });
    } catch (error) {
      if (request === this.#request) {
        this.#change({ phase: 'failed', error: ParlourError.from(error) });
      }
    }
  }

  #apply(event: StreamEvent): void {
    const { phase, rows, search } = this.#view.get();
    if (phase === 'loading') this.#meanwhile.push(event);
    this.#change({ rows: foldChats(rows, event, search !== '') });
  }

  #change(changes: Partial<ChatsView>): void {
    this.#view.set({ ...this.#view.get(), ...changes });
  }
}
