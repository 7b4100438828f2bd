/**
 * The lists of conversations, one's own and those that others share: pages from the server, kept current by the
 * person's own stream.
 */

import type { Connection } from './connection.js';
import { isRecord, ParlourError } from './errors.js';
import type { StreamEvent, ThreadRow } from './protocol.js';
import type { Api } from './rest.js';
import { Store, type Readable } from './store.js';
import type { UserStream } from './user-stream.js';

const PAGE = 40;
const THREAD = 'thread:';

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
  if (event.type === 'thread:deleted') return withoutChat(rows, event.data['id']);
  if (event.type !== 'thread:updated') return rows;
  const row = event.data['thread'] as ThreadRow;
  if (searched && !rows.some(({ id }) => id === row.id)) return rows;
  return mergeChats(rows, [row]);
}

/** The same for the list of what others share with this person. */
export function foldSharedChats(
  rows: readonly ThreadRow[],
  event: Pick<StreamEvent, 'type' | 'data'>,
  searched = false,
): readonly ThreadRow[] {
  if (event.type === 'thread:unshared' || event.type === 'thread:deleted') {
    return withoutChat(rows, event.data['id']);
  }
  if (event.type !== 'thread:shared' && event.type !== 'thread:shared:updated') return rows;
  const row = event.data['thread'] as ThreadRow;
  if (searched && !rows.some(({ id }) => id === row.id)) return rows;
  return mergeChats(rows, [row]);
}

function withoutChat(rows: readonly ThreadRow[], gone: unknown): readonly ThreadRow[] {
  return rows.some(({ id }) => id === gone) ? rows.filter(({ id }) => id !== gone) : rows;
}

/** Rows by id, the newer ones over the known ones, newest activity first. */
export function mergeChats(
  rows: readonly ThreadRow[],
  news: readonly ThreadRow[],
): readonly ThreadRow[] {
  const merged = new Map(rows.map((row) => [row.id, row]));
  for (const row of news) merged.set(row.id, { ...merged.get(row.id), ...row });
  return [...merged.values()].sort((a, b) => b.updated_at - a.updated_at);
}

type ListEvent = Pick<StreamEvent, 'type' | 'data'>;

export interface ChatsOptions {
  /** The list of what others share, instead of one's own. Access that comes by a role, or ends, is told to
   * the connections of those who are there, in no stream. */
  shared?: Connection;
}

export class Chats implements Readable<ChatsView> {
  readonly #api: Api;
  readonly #shared: boolean;
  readonly #view = new Store<ChatsView>({
    phase: 'loading',
    error: null,
    rows: [],
    more: false,
    search: '',
  });
  readonly #stops: (() => void)[];
  #cursor: string | null = null;
  #request = 0;
  /** Events that came while a page is on its way: they may be newer than the page. */
  #meanwhile: ListEvent[] = [];
  /** There was a connection. */
  #met = false;

  constructor(api: Api, stream: UserStream, { shared }: ChatsOptions = {}) {
    this.#api = api;
    this.#shared = shared !== undefined;
    this.#stops = [
      stream.hear({ event: (event) => this.#apply(event), gap: () => void this.reload() }),
    ];
    if (shared) {
      this.#stops.push(
        shared.on('access:updated', (payload) => this.#accessChanged(payload)),
        shared.on('thread:listed', (payload) => this.#listed('thread:shared', payload)),
        shared.on('thread:unlisted', (payload) => this.#listed('thread:deleted', payload)),
        shared.onConnected(() => this.#connected()),
      );
    }
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
    this.#drop(id);
  }

  /** Give up one's own access to what somebody shares. */
  async leave(id: string, userId: string): Promise<void> {
    await this.#api.unshare(id, `user:${userId}`);
    // A role, or everybody, may have it still.
    await this.reload();
  }

  close(): void {
    this.#request += 1;
    for (const stop of this.#stops) stop();
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
        ...(this.#shared ? { shared: true } : {}),
      });
      if (request !== this.#request) return;
      const read = cursor ? mergeChats(this.#view.get().rows, page.items) : page.items;
      const fold = (rows: readonly ThreadRow[], event: ListEvent) => this.#fold(rows, event);
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

  /** What was told while there was no connection is lost. The first time the page of the beginning is on its
   * way, or there. */
  #connected(): void {
    if (this.#met) void this.reload();
    this.#met = true;
  }

  /** What is open to a role, or to everybody, came into the list, changed or went: no stream tells of it. */
  #listed(type: string, payload: unknown): void {
    if (isRecord(payload)) this.#apply({ type, data: payload });
  }

  #apply(event: ListEvent): void {
    const { phase, rows } = this.#view.get();
    if (phase === 'loading') this.#meanwhile.push(event);
    this.#change({ rows: this.#fold(rows, event) });
    // A role, or everybody, may have what the person alone no longer has.
    if (this.#shared && event.type === 'thread:unshared') void this.reload();
  }

  #fold(rows: readonly ThreadRow[], event: ListEvent): readonly ThreadRow[] {
    const searched = this.#view.get().search !== '';
    return this.#shared ? foldSharedChats(rows, event, searched) : foldChats(rows, event, searched);
  }

  #accessChanged(payload: unknown): void {
    const { room, reason, permission } = isRecord(payload) ? payload : {};
    if (typeof room !== 'string' || !room.startsWith(THREAD)) return;
    const id = room.slice(THREAD.length);
    const { rows } = this.#view.get();
    if (reason === 'granted') {
      void this.reload();
    } else if (reason === 'removed' || reason === 'deleted') {
      this.#change({ rows: withoutChat(rows, id) });
    } else if (permission === 'read' || permission === 'write') {
      this.#change({ rows: rows.map((row) => (row.id === id ? { ...row, permission } : row)) });
    }
  }

  #drop(id: string): void {
    this.#change({ rows: withoutChat(this.#view.get().rows, id) });
  }

  #change(changes: Partial<ChatsView>): void {
    this.#view.set({ ...this.#view.get(), ...changes });
  }
}
