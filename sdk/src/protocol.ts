/** The wire's words: positions, events and the records that a conversation is made of. */

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

export interface Person {
  id: string;
  name: string;
}

export interface Author {
  id: string | null;
  name: string;
}

export interface FileRef {
  id: string;
  name: string;
  mime: string;
  size: number;
  url: string;
}

export interface Action {
  id: string;
  name: string;
  label: string;
  tooltip?: string;
  payload?: unknown;
  icon?: string;
}

export interface Source {
  id?: string;
  name?: string;
  title?: string;
  url?: string;
  text?: string;
  [field: string]: unknown;
}

export type Role = 'user' | 'assistant' | 'system' | 'error' | 'tool';

export interface Message {
  id: string;
  role: Role;
  author: Author | null;
  content: string;
  created_at: number;
  offset: number;
  parent_id?: string | null;
  reply_to_id?: string | null;
  /** The command that sent it. */
  command_id?: string;
  run_id?: string | null;
  streaming?: boolean;
  actions?: Action[];
  files?: FileRef[];
  sources?: Source[];
  data?: Record<string, unknown>;
  edited_at?: number | null;
}

export type StepStatus = 'running' | 'done' | 'failed';

export interface Step {
  id: string;
  name: string;
  type: string;
  parent_id: string | null;
  run_id: string | null;
  input: string;
  output: string;
  status: StepStatus;
  started_at: number | null;
  ended_at: number | null;
  offset: number;
  language?: string | null;
  message_id?: string | null;
}

export interface AskSpec {
  type: 'text' | 'file' | 'action';
  timeout_at: number;
  actions?: Action[];
  accept?: string[] | Record<string, string[]> | string;
  max_files?: number;
  max_size_mb?: number;
}

export interface Ask {
  ask_id: string;
  content: string;
  author?: Author | null;
  spec: AskSpec;
  run_id: string | null;
  offset: number;
  message_id?: string;
}

export interface Run {
  run_id: string;
  handler?: string;
  by?: string | null;
  /** Milliseconds since 1970; absent while the run waits. */
  started_at?: number;
  queued?: boolean;
}

export type Outcome = 'completed' | 'stopped' | 'failed' | 'interrupted';

export interface RunEnd {
  run_id: string;
  outcome: Outcome;
  error?: { code: string; message: string; reference?: string };
}

export interface Status {
  text: string;
  done?: boolean;
}

/** A conversation's snapshot as the server sends it. */
export interface ThreadSnapshot {
  messages: Message[];
  steps?: Step[];
  asks?: Ask[];
  runs?: Run[];
  status?: Status | null;
  last_run?: RunEnd | null;
  title?: string | null;
  tags?: string[];
  truncated?: boolean;
}

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
