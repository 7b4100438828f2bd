/** The list of notes that a person may read. */

import type { Connection } from './connection.js';
import type { NoteRow } from './documents/notes-api.js';
import { List, type Listed } from './lists.js';
import type { Readable } from './store.js';
import type { UserStream } from './user-stream.js';

export class Notes implements Readable<Listed<NoteRow>> {
  readonly #list: List<NoteRow>;
  readonly #stops: (() => void)[];

  /** `fetch` reads the list, such as `() => new NotesApi(api).list().then((page) => page.items)`. */
  constructor(
    fetch: () => Promise<readonly NoteRow[]>,
    connection: Connection,
    stream: UserStream,
  ) {
    this.#list = new List(fetch);
    const soon = () => this.#list.reloadSoon();
    this.#stops = [
      connection.on('note:saved', soon),
      connection.on('events:note', soon),
      connection.onConnected(soon),
      stream.hear({
        event: ({ type }) => {
          if (type.startsWith('note:')) soon();
        },
        gap: soon,
      }),
    ];
    void this.reload();
  }

  get(): Listed<NoteRow> {
    return this.#list.get();
  }

  subscribe(run: (view: Listed<NoteRow>) => void): () => void {
    return this.#list.subscribe(run);
  }

  reload(): Promise<void> {
    return this.#list.reload();
  }

  close(): void {
    for (const stop of this.#stops) stop();
    this.#list.close();
  }
}
