/** The documents that this page has open: at most once each, since a connection is in a document or not. */

import type { Connection, DocumentCopies } from '@parlour/sdk';
import { DocumentProvider, type DocumentStatus } from '@parlour/sdk/documents';

import type { Participant } from './extensions';

const shown = new Set<string>();
/** Those that only send what an earlier page could not. */
const senders = new Map<string, DocumentProvider>();

export function openDocument(
  connection: Connection,
  documentId: string,
  copies: DocumentCopies | null,
  user: Participant,
): DocumentProvider {
  endSender(documentId);
  shown.add(documentId);
  return new DocumentProvider({ connection, documentId, user, ...(copies ? { copies } : {}) });
}

export function closeDocument(provider: DocumentProvider): void {
  shown.delete(provider.documentId);
  provider.close();
}

/** Send what was written offline into documents that are not open now. */
export async function sendLeft(connection: Connection, copies: DocumentCopies): Promise<void> {
  for (const documentId of await copies.unsaved()) {
    if (shown.has(documentId) || senders.has(documentId)) continue;
    const sender = new DocumentProvider({ connection, documentId, copies });
    senders.set(documentId, sender);
    await sender.loaded;
    sender.status.subscribe((status) => {
      if (isDone(status)) queueMicrotask(() => endSender(documentId, sender));
    });
  }
}

function endSender(documentId: string, sender = senders.get(documentId)): void {
  if (!sender || senders.get(documentId) !== sender) return;
  senders.delete(documentId);
  sender.close();
}

/** Sent, or not to be sent: then the person sees why when the note is opened. */
function isDone({ phase, pending }: DocumentStatus): boolean {
  const settled = phase === 'saved' || phase === 'synced' || phase === 'readonly';
  return phase === 'refused' || (settled && pending === 0);
}
