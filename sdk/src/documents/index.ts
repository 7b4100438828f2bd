/** Documents that several people edit at once. Needs `yjs` and `y-protocols` beside this package. */

export { BODY, plainText, TITLE } from './replica.js';
export type { Replica } from './replica.js';
export { OpenDocuments } from './open-documents.js';
export { DocumentProvider } from './provider.js';
export type {
  Aside,
  DocumentOptions,
  DocumentPhase,
  DocumentStatus,
  DocumentUser,
} from './provider.js';
