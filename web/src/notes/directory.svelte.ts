/** The notes that a person may read: the newest in the sidebar, kept current by what the server tells. */

import {
  NotesApi,
  type Api,
  type Connection,
  type DocumentCopies,
  type NoteRow,
} from '@parlour/sdk';

const NEWEST = 4;
/** News that come together are asked for together. */
const GATHER_MS = 250;

export class Notes {
  newest = $state.raw<readonly NoteRow[]>([]);
  state = $state<'loading' | 'ready' | 'failed'>('loading');
  /** Counts what changed in the list, for whoever shows another part of it. */
  changes = $state(0);
  readonly api: NotesApi;
  /** What is kept of documents in this browser. */
  readonly copies: DocumentCopies;
  readonly #connection: Connection;
  readonly #stops: (() => void)[];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #request = 0;

  constructor(api: Api, connection: Connection, copies: DocumentCopies) {
    this.api = new NotesApi(api);
    this.copies = copies;
    this.#connection = connection;
    this.#stops = [
      connection.on('events:note', () => this.#later()),
      connection.on('note:saved', (payload) => this.#saved(payload)),
      // What happened while there was no connection was told to nobody.
      connection.onConnected(() => {
        this.#later();
        void this.#sendLeft();
      }),
    ];
    void this.reload();
  }

  async reload(): Promise<void> {
    const request = ++this.#request;
    try {
      const { items } = await this.api.list({ limit: NEWEST });
      if (request !== this.#request) return;
      this.newest = items;
      this.state = 'ready';
      this.changes += 1;
    } catch {
      // The rows that are shown stay until the server answers again.
      if (request === this.#request && this.state === 'loading') this.state = 'failed';
    }
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#request += 1;
    for (const stop of this.#stops) stop();
  }

  /** Several times a minute while somebody types: what is known is enough to show it. */
  #saved(payload: unknown): void {
    const { document_id, title, at } = payload as Record<string, unknown>;
    const row = this.newest.find((one) => one.document_id === document_id);
    if (!row) {
      this.#later();
      return;
    }
    const news = {
      ...row,
      title: String(title ?? row.title),
      updated_at: Number(at ?? Date.now()),
    };
    const rows = this.newest.map((one) => (one === row ? news : one));
    this.newest = rows.sort((a, b) => b.updated_at - a.updated_at);
  }

  /** What was written offline into notes that are not open; the editor is loaded only where there is some. */
  async #sendLeft(): Promise<void> {
    try {
      if ((await this.copies.unsaved()).length === 0) return;
      const { documentsOf } = await import('./editor/providers');
      await documentsOf(this.#connection, this.copies).sendLeft();
    } catch {
      // It stays where it is; the next connection, or opening the note, sends it.
    }
  }

  #later(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.reload(), GATHER_MS);
  }
}
