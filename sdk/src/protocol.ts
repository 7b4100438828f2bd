/** The wire's words: positions, events and the records that a conversation is made of. */

import type { Message, Person, RunEnd, Step } from './generated/wire.js';

/** Where a reader stands: everything up to and including `offset` of `epoch` was seen. */
export interface Position {
  epoch: string;
  offset: number;
}

/** One immutable record of a stream. `since` is the offset before the first event that a slow reader's
 * outbox joined into this one; absent, it is `offset - 1`. `at` is milliseconds since 1970 UTC. */
export interface StreamEvent {
  stream: string;
  epoch: string;
  offset: number;
  since: number;
  type: string;
  data: Record<string, unknown>;
  at: number;
  cause?: string;
}

/** The records of conversations have the forms that the server gives them. */
export type {
  Action,
  Ask,
  AskSpec,
  Author,
  FileRef,
  Message,
  Person,
  Run,
  RunEnd,
  Source,
  Status,
  Step,
  ThreadSnapshot,
} from './generated/wire.js';

export type Role = Message['role'];
export type StepStatus = Step['status'];
export type Outcome = RunEnd['outcome'];

/** What somebody may do in a conversation; `write` includes reading. */
export type ThreadPermission = 'owner' | 'write' | 'read';

/** What may be granted, and to whom: `user:{id}`, `role:{role}` or `everyone`. */
export type Right = 'read' | 'write';
export type Grants = Record<string, Right>;

/** One row of the list of conversations. */
export interface ThreadRow {
  id: string;
  title: string | null;
  preview: string | null;
  tags: string[];
  /** Milliseconds since 1970 UTC. */
  created_at: number;
  updated_at: number;
  /** Absent, as `permission`, in events about one's own. */
  owner?: Person;
  /** What the reader of the list may do. */
  permission?: ThreadPermission;
  /** Somebody beside the owner may use it. */
  shared: boolean;
}

/** Who may use a conversation; for its owner and administrators. */
export interface Sharing {
  thread_id: string;
  owner: Person;
  grants: Grants;
  /** Names of those who are granted something by their id. */
  people: Record<string, string>;
  /** Where the change stands in the conversation's stream; null where nothing was changed. */
  position: Position | null;
}
