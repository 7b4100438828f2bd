import type { Connection, DocumentCopies } from '@parlour/sdk';
import { OpenDocuments } from '@parlour/sdk/documents';

const opened = new WeakMap<Connection, OpenDocuments>();

/** The documents that are open on a connection; the sidebar and the page of a note share them. */
export function documentsOf(connection: Connection, copies: DocumentCopies): OpenDocuments {
  const known = opened.get(connection) ?? new OpenDocuments(connection, copies);
  opened.set(connection, known);
  return known;
}
