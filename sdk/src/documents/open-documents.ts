/** The documents that a connection has open: at most once each, since a connection is in a document or not. */

import type { Connection } from '../connection.js';
import type { DocumentCopies } from './copies.js';
import { DocumentProvider, type DocumentOptions, type DocumentStatus } from './provider.js';

export class OpenDocuments {
  readonly #connection: Connection;
  readonly #copies: DocumentCopies;
  readonly #shown = new Set<string>();
  /** Those that only send what an earlier page could not. */
  readonly #senders = new Map<string, DocumentProvider>();

  constructor(connection: Connection, copies: DocumentCopies) {
    this.#connection = connection;
    this.#copies = copies;
  }

  open(documentId: string, user?: DocumentOptions['user']): DocumentProvider {
    this.#end(documentId);
    this.#shown.add(documentId);
    return this.#provide(documentId, user);
  }

  close(provider: DocumentProvider): void {
    this.#shown.delete(provider.documentId);
    provider.close();
  }

  /** Send what was written offline into documents that are not open now. */
  async sendLeft(): Promise<void> {
    for (const documentId of await this.#copies.unsaved()) {
      if (this.#shown.has(documentId) || this.#senders.has(documentId)) continue;
      const sender = this.#provide(documentId);
      this.#senders.set(documentId, sender);
      await sender.loaded;
      sender.status.subscribe((status) => {
        if (isDone(status)) queueMicrotask(() => this.#end(documentId, sender));
      });
    }
  }

  #provide(documentId: string, user?: DocumentOptions['user']): DocumentProvider {
    const kept = { connection: this.#connection, copies: this.#copies, documentId };
    return new DocumentProvider({ ...kept, ...(user ? { user } : {}) });
  }

  #end(documentId: string, sender = this.#senders.get(documentId)): void {
    if (!sender || this.#senders.get(documentId) !== sender) return;
    this.#senders.delete(documentId);
    sender.close();
  }
}

/** Sent, or not to be sent: then the person sees why when the document is opened. */
function isDone({ phase, pending }: DocumentStatus): boolean {
  const settled = phase === 'saved' || phase === 'synced' || phase === 'readonly';
  return phase === 'refused' || (settled && pending === 0);
}
