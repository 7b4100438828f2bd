/** Generated from the server’s models by `make schema`. Not edited by hand. */

export type ChannelKind = 'standard' | 'group' | 'direct';
export type Role = 'owner' | 'manager' | 'member';

/**
 * Who may use the conversation is different now; `deleted`: nobody.
 */
export interface AccessChanged {
  by: Author;
  deleted?: boolean;
}
/**
 * Who signs a message: a person, or the app, which may have no id.
 */
export interface Author {
  id: string | null;
  name: string;
}
/**
 * The room was left, or (`permission`) may be used differently. `position_lost`: subscribe again.
 */
export interface AccessUpdated {
  permission?: 'owner' | 'write' | 'read';
  reason: string | null;
  room: string;
}
/**
 * A button under a message.
 */
export interface Action {
  icon?: string;
  id: string;
  label: string;
  name: string;
  payload?: unknown;
  tooltip?: string;
}
/**
 * A press on a button that an app put under a message.
 */
export interface ActionCall {
  action: Pressed;
  command_id: string;
  message_id?: string | null;
  thread_id: string;
}
export interface Pressed {
  id: string;
  name: string;
  payload?: {
    [k: string]: unknown;
  };
}
export interface ActionCalled {
  action: string;
  message_id: string | null;
}
export interface AddedToChannel {
  channel: ChannelInfo;
  channel_id: string;
}
/**
 * A channel. `members` are those of a direct one, which has no other name. `membership` is null for
 * somebody who may read without belonging to it.
 */
export interface ChannelInfo {
  created_at: number;
  created_by: string | null;
  data: {
    [k: string]: unknown;
  };
  description: string;
  id: string;
  kind: 'standard' | 'group' | 'direct';
  last_message_at: number | null;
  member_count: number;
  members?: Person[];
  membership?: Membership | null;
  name: string;
  unread?: number;
  unread_mentions?: number;
  updated_at: number;
}
export interface Person {
  id: string;
  name: string;
}
/**
 * What a channel is to the one who asks; everything up to number `read_seq` was read.
 */
export interface Membership {
  joined_at: number;
  muted: boolean;
  read_seq: number;
  role: 'owner' | 'manager' | 'member';
}
export interface AgentDeleted {
  id: string;
}
/**
 * An event of an agent's session, as it stands in its record: `action` with `args`, or `observation` with
 * `content` and `extras`. Here `id` is its number and `cause` that of the event that led to it.
 */
export interface AgentEvent {
  cause?: number;
  conversation_id: string;
  epoch: string;
  id: number;
  offset: number;
  source: 'user' | 'agent' | 'environment';
  stream: string;
  timestamp: string;
  [k: string]: unknown;
}
/**
 * What an agent writes at the moment, before it is an event.
 */
export interface AgentSignal {
  conversation_id: string;
  text: string;
  type: string;
}
/**
 * A row of the list of agent sessions, and why it is told.
 */
export interface AgentUpdated {
  reason: string;
  [k: string]: unknown;
}
export interface Ask {
  ask_id: string;
  author?: Author | null;
  content: string;
  message_id?: string;
  offset: number;
  run_id: string | null;
  spec: AskSpec;
}
/**
 * What may be answered to a question, and until when.
 */
export interface AskSpec {
  accept?:
    | string[]
    | {
        [k: string]: string[];
      }
    | string;
  actions?: Action[];
  max_files?: number;
  max_size_mb?: number;
  timeout_at: number;
  type: 'text' | 'file' | 'action';
}
/**
 * The answer's shape depends on the ask: a text, `{text}`, `{action_id}` or `{files: [id]}`.
 */
export interface AskAnswer {
  answer:
    | string
    | {
        [k: string]: unknown;
      };
  ask_id: string;
  command_id: string;
  thread_id?: string | null;
}
/**
 * How a question ended; the first answer counts.
 */
export interface AskClosed {
  answer?: {
    [k: string]: unknown;
  };
  answered_by: Author | null;
  ask_id: string;
  outcome: 'answered' | 'cancelled' | 'expired';
}
/**
 * A question to people; `message_id` is the message that shows it.
 */
export interface AskFields {
  ask_id: string;
  author?: Author | null;
  content: string;
  message_id?: string;
  run_id: string | null;
  spec: AskSpec;
}
/**
 * A question as existing clients get it; the acknowledgement may be the answer.
 */
export interface Asked {
  ask_id: string;
  message: AskedMessage;
  spec: {
    [k: string]: unknown;
  };
  thread_id: string;
}
export interface AskedMessage {
  author: Author | null;
  content: string;
  id: string;
}
export interface Attached {
  files: FileRef[];
  message_id: string;
}
/**
 * A file of the store, or one that lives elsewhere; `size` in bytes.
 */
export interface FileRef {
  display?: string;
  id: string;
  language?: string;
  mime: string;
  name: string;
  size: number;
  url: string;
}
export interface Auth {
  token: string;
}
export interface AwarenessTold {
  document_id: string;
  socket_id: string | null;
  update: unknown;
  user_id: string | null;
}
export interface AwarenessUpdate {
  document_id: string;
  update: unknown;
}
/**
 * A new channel; the direct channel of a set of users that has one is given back.
 */
export interface ChannelCreate {
  command_id: string;
  data?: {
    [k: string]: unknown;
  };
  description?: string;
  grants?: {
    [k: string]: 'read' | 'write';
  } | null;
  kind: ChannelKind;
  name?: string;
  /**
   * @maxItems 1000
   */
  user_ids?: string[];
}
export interface ChannelCreated {
  channel: ChannelInfo;
}
export interface ChannelDelete {
  channel_id: string;
  command_id: string;
}
/**
 * Types of events and what they carry.
 */
export interface ChannelEventData {
  'channel:created': ChannelCreated;
  'channel:deleted': ChannelGone;
  'channel:updated': ChannelUpdated;
  'member:added': MemberAdded;
  'member:removed': MemberRemoved;
  message: ChannelMessage;
  'message:delete': ChannelMessageDeleted;
  'message:reaction:add': Reacted;
  'message:reaction:remove': Reacted;
  'message:reply': Replied;
  'message:update': ChannelMessage;
  typing: Typed;
}
export interface ChannelGone {
  channel_id: string;
}
/**
 * `member`: whose role changed. `access_changed`: what the channel grants is different now.
 */
export interface ChannelUpdated {
  access_changed?: boolean;
  channel: ChannelInfo;
  member?: RoleChange;
}
export interface RoleChange {
  role: 'owner' | 'manager' | 'member';
  user_id: string;
}
export interface MemberAdded {
  role: 'owner' | 'manager' | 'member';
  user: Person;
  user_id: string;
}
export interface MemberRemoved {
  user_id: string;
}
/**
 * A message of a channel; `seq` is its number there, from 1, `mentions` the users that its text names.
 */
export interface ChannelMessage {
  author: Person;
  channel_id: string;
  content: string;
  created_at: number;
  data: {
    [k: string]: unknown;
  } | null;
  deleted_at: number | null;
  edited_at: number | null;
  files: FileRef[];
  id: string;
  last_reply_at: number | null;
  mentions: string[];
  parent_id: string | null;
  pinned_at: number | null;
  pinned_by: string | null;
  reactions: Reaction[];
  reply_count: number;
  reply_to_id: string | null;
  seq: number;
}
/**
 * `user_ids` are the first who reacted; `count` counts all.
 */
export interface Reaction {
  count: number;
  emoji: string;
  user_ids: string[];
}
export interface ChannelMessageDeleted {
  deleted_at: number;
  id: string;
  parent_id: string | null;
}
/**
 * `count` is how many have this reaction now.
 */
export interface Reacted {
  count: number;
  emoji: string;
  id: string;
  user_id: string;
}
/**
 * A reply came or went: the message that it stands under, with its new count.
 */
export interface Replied {
  parent: ChannelMessage;
  reply_id: string | null;
}
export interface Typed {
  typing: boolean;
}
/**
 * An event of a channel; without a position it is a signal. `message_id` is what it is about, `user` who
 * did it.
 */
export interface ChannelEvents {
  at?: number;
  cause?: string | null;
  channel?: ChannelInfo;
  channel_id: string;
  data: Told;
  epoch?: string;
  id?: string;
  message_id: string | null;
  offset?: number;
  source?: string;
  stream?: string;
  user: Author | null;
}
/**
 * `data` has the form of its `type` (`STREAM_EVENTS`), where an app did not make the type up.
 */
export interface Told {
  data: {
    [k: string]: unknown;
  };
  type: string;
}
export interface ChannelMember {
  joined_at: number;
  role: 'owner' | 'manager' | 'member';
  user: Person;
}
export interface ChannelMute {
  channel_id: string;
  command_id: string;
  muted?: boolean;
}
export interface ChannelMuted {
  channel_id: string;
  muted: boolean;
}
/**
 * Everything up to this number was read, on one of the person's devices.
 */
export interface ChannelRead {
  channel_id: string;
  read_seq: number;
}
/**
 * `typing` (nothing is stored) or `last_read_at` (everything up to `message_id`, or all, was read).
 */
export interface ChannelSignal {
  channel_id: string;
  data: Data;
  message_id?: string | null;
}
export interface Data {
  data?: {
    [k: string]: unknown;
  };
  type: 'typing' | 'last_read_at';
}
/**
 * What is None stays as it is.
 */
export interface ChannelUpdate {
  channel_id: string;
  command_id: string;
  data?: {
    [k: string]: unknown;
  } | null;
  description?: string | null;
  grants?: {
    [k: string]: 'read' | 'write';
  } | null;
  name?: string | null;
}
/**
 * A command without an acknowledgement failed, or (`connect`) what follows a connect.
 */
export interface CommandFailed {
  error: {
    [k: string]: unknown;
  };
  event: string;
}
/**
 * `auth` of the Socket.IO CONNECT. `sessionId` and `userEnv` are the ecosystem's spellings.
 */
export interface ConnectAuth {
  chat_profile?: string | null;
  client_type?: string;
  language?: string | null;
  mixed_deltas?: boolean;
  protocol?: number | null;
  session_id?: string | null;
  thread_id?: string | null;
  token?: string | null;
  user_env?: {
    [k: string]: string;
  };
}
export interface Deleted {
  id: string;
}
/**
 * Text that is added to a message's.
 */
export interface Delta {
  id: string;
  text: string;
}
/**
 * Deltas of several messages that came in turns, for a slow reader; no stream stores this one.
 */
export interface Deltas {
  deltas: Delta[];
}
/**
 * `user_id` and `user_name` of older clients are ignored: the connection says who it is.
 */
export interface DocumentJoin {
  document_id: string;
  generation?: number | null;
  state_vector?: unknown;
  user_color?: string;
}
export interface DocumentLeave {
  document_id: string;
}
/**
 * Somebody who came into a document, or left it.
 */
export interface DocumentPerson {
  document_id: string;
  user_color: string;
  user_id: string;
  user_name: string;
}
export interface DocumentState {
  document_id: string;
  state_vector?: unknown;
}
/**
 * What a client's copy lacks. Binary values are bytes, or arrays of integers for clients that use those.
 */
export interface DocumentStateTold {
  document_id: string;
  generation: number;
  offset: number;
  sessions: string[];
  state: unknown;
  state_vector: unknown;
  user_id: string | null;
  users: DocumentUser[];
}
export interface DocumentUser {
  color: string;
  id: string;
  name: string;
}
export interface DocumentUpdate {
  command_id?: string | null;
  document_id: string;
  generation?: number | null;
  update: unknown;
}
export interface DocumentUpdateTold {
  document_id: string;
  generation: number;
  offset: number;
  socket_id: string | null;
  update: unknown;
  user_id: string | null;
}
/**
 * The text is complete: its length in bytes of UTF-8, and the first 16 digits of its SHA-256.
 */
export interface Done {
  hash: string;
  id: string;
  length: number;
}
/**
 * An event of a conversation or of a person.
 */
export interface Events {
  at: number;
  cause: string | null;
  chat_id: string;
  data: Told;
  epoch: string;
  id: string;
  message_id: string | null;
  offset: number;
  since?: number;
  source: string;
  stream: string;
}
/**
 * What a person is told of an error: never a trace. `reference` names it in the server's log.
 */
export interface Failure {
  code: string;
  message: string;
  reference?: string;
}
export interface GoneNote {
  id: string;
  owner: NoteOwner;
}
export interface NoteOwner {
  id: string;
}
/**
 * `active` false: the person is connected but away.
 */
export interface Heartbeat {
  active?: boolean;
}
/**
 * The newest messages, for a client that named its conversation when it connected.
 */
export interface History {
  messages: Message[];
  permission: 'owner' | 'write' | 'read';
  position: Position;
  thread_id: string;
}
/**
 * A message of a conversation; `offset` is that of the event that introduced it, `command_id` the
 * command that sent it.
 */
export interface Message {
  actions?: Action[];
  author: Author | null;
  command_id?: string;
  content: string;
  created_at: number;
  data?: {
    [k: string]: unknown;
  };
  edited_at?: number | null;
  files?: FileRef[];
  id: string;
  offset: number;
  parent_id?: string | null;
  reply_to_id?: string | null;
  role: 'user' | 'assistant' | 'system' | 'error' | 'tool';
  run_id?: string | null;
  sources?: Source[];
  streaming?: boolean;
}
/**
 * Where something was found; tools may add fields of their own.
 */
export interface Source {
  id?: string;
  name?: string;
  text?: string;
  title?: string;
  url?: string;
  [k: string]: unknown;
}
export interface Position {
  epoch: string;
  offset: number;
}
/**
 * Enter the rooms of all one's channels; `auth` is what older clients send along.
 */
export interface JoinChannels {
  auth?: {
    [k: string]: unknown;
  } | null;
}
/**
 * Hear `events:note` of a note; `auth` is what older clients send along.
 */
export interface JoinNote {
  auth?: {
    [k: string]: unknown;
  } | null;
  note_id: string;
}
/**
 * Remove a member; removing oneself is leaving.
 */
export interface MemberRemove {
  channel_id: string;
  command_id: string;
  user_id: string;
}
export interface MemberRole {
  channel_id: string;
  command_id: string;
  role: Role;
  user_id: string;
}
/**
 * Add members; adding only oneself is joining a standard channel.
 */
export interface MembersAdd {
  channel_id: string;
  command_id: string;
  /**
   * @minItems 1
   * @maxItems 1000
   */
  user_ids: [string, ...string[]];
}
export interface MessageDelete {
  channel_id?: string | null;
  command_id: string;
  message_id: string;
  thread_id?: string;
}
export interface MessageEdit {
  channel_id?: string | null;
  command_id: string;
  content: string;
  message_id: string;
  thread_id?: string;
}
/**
 * What its writer says of a message; without a time it has that of its event.
 */
export interface MessageFields {
  actions?: Action[];
  author: Author | null;
  command_id?: string;
  content: string;
  created_at?: number;
  data?: {
    [k: string]: unknown;
  };
  edited_at?: number | null;
  files?: FileRef[];
  id: string;
  parent_id?: string | null;
  reply_to_id?: string | null;
  role: 'user' | 'assistant' | 'system' | 'error' | 'tool';
  run_id?: string | null;
  sources?: Source[];
  streaming?: boolean;
}
export interface MessagePin {
  channel_id: string;
  command_id: string;
  message_id: string;
  pinned?: boolean;
}
/**
 * Put a reaction under a message of a channel, or take one's own away.
 */
export interface MessageReact {
  channel_id: string;
  command_id: string;
  emoji: string;
  message_id: string;
  remove?: boolean;
}
/**
 * A person's message to a conversation or a channel.
 */
export interface MessageSend {
  channel_id?: string | null;
  command_id: string;
  content: string;
  data?: {
    [k: string]: unknown;
  } | null;
  /**
   * @maxItems 20
   */
  files?: string[];
  parent_id?: string | null;
  reply_to_id?: string | null;
  thread_id?: string;
}
export interface NoteChanged {
  note: NoteRow;
}
/**
 * A row of the list of notes. `permission` is that of the one who asks.
 */
export interface NoteRow {
  created_at: number;
  document_id: string;
  id: string;
  owner: Person;
  permission?: 'owner' | 'write' | 'read';
  preview: string;
  title: string;
  updated_at: number;
  version: number;
}
/**
 * Types of events and what they carry.
 */
export interface NoteEventData {
  'note:created': NoteChanged;
  'note:deleted': NoteGone;
  'note:updated': NoteChanged;
}
export interface NoteGone {
  note: GoneNote;
}
/**
 * A note came, changed or went.
 */
export interface NoteEvents {
  at: number;
  data: Told;
  note_id: string;
}
/**
 * A note's text is stored up to this offset of its updates.
 */
export interface NoteSaved {
  at: number;
  document_id: string;
  note_id: string;
  offset: number;
  title: string;
  version: number;
}
/**
 * A short notice to whoever is there; `level` is `info`, `success`, `warning` or `error`.
 */
export interface Notice {
  level?: string;
  text: string;
}
/**
 * The inputs of the app's settings; `initial` of each is the value in force, for this person.
 */
export interface OfferedSettings {
  settings: {
    [k: string]: unknown;
  }[];
  user_id: string;
}
/**
 * Who came, went or changed; with `full` the whole list, of `count` people in all.
 */
export interface PresenceNews {
  changed: Present[];
  count?: number;
  full?: boolean;
  joined: Present[];
  left: Present[];
  room: string;
}
/**
 * Somebody in a room.
 */
export interface Present {
  id: string;
  name: string;
  status: 'online' | 'away' | 'offline';
}
/**
 * The server is about to close; come back after this long, in milliseconds.
 */
export interface Reconnect {
  after_ms: number;
  reason: string;
}
export interface Replaced {
  content: string;
  id: string;
}
/**
 * One activation of the app. `started_at` is absent while it waits, `by` who caused it.
 */
export interface Run {
  by?: Author | null;
  handler?: string;
  message_id?: string;
  queued?: boolean;
  run_id: string;
  session_id?: string;
  started_at?: number;
}
export interface RunEnd {
  error?: Failure;
  outcome: 'completed' | 'stopped' | 'failed' | 'interrupted';
  run_id: string;
}
export interface RunStop {
  command_id: string;
  thread_id: string;
}
/**
 * Events of sockets and what they carry.
 */
export interface ServerEvents {
  'access:updated': AccessUpdated;
  'agent:deleted': AgentDeleted;
  'agent:updated': AgentUpdated;
  ask: Asked;
  error: CommandFailed;
  events: Events;
  'events:channel': ChannelEvents;
  'events:note': NoteEvents;
  'messages:history': History;
  'note:saved': NoteSaved;
  notification: Notice;
  oh_event: AgentEvent;
  oh_signal: AgentSignal;
  presence: PresenceNews;
  reconnect: Reconnect;
  'thread:listed': ThreadListed;
  'thread:unlisted': ThreadUnlisted;
  typing: SomebodyTypes;
  'ydoc:awareness:update': AwarenessTold;
  'ydoc:document:state': DocumentStateTold;
  'ydoc:document:update': DocumentUpdateTold;
  'ydoc:user:joined': DocumentPerson;
  'ydoc:user:left': DocumentPerson;
}
/**
 * A conversation that is open to a role or to everyone came into this person's list, or may be used
 * otherwise than before. A signal: lists are read anew after a connection was lost.
 */
export interface ThreadListed {
  thread: ThreadRow;
}
/**
 * A row of the list of conversations. `permission` is that of whoever gets it, `shared` says that somebody
 * beside the owner may use it.
 */
export interface ThreadRow {
  created_at: number;
  id: string;
  owner?: Person;
  permission?: 'owner' | 'write' | 'read';
  preview: string | null;
  running?: boolean;
  shared?: boolean;
  tags: string[];
  title: string | null;
  updated_at: number;
}
/**
 * It went out of the list.
 */
export interface ThreadUnlisted {
  id: string;
}
export interface SomebodyTypes {
  room: string;
  typing: boolean;
  user: Author;
}
/**
 * The client says that the session is over (not a disconnect).
 */
export interface SessionEnd {}
/**
 * All of what a person chose; `version` rises with every change.
 */
export interface SettingsChanged {
  settings: {
    [k: string]: unknown;
  };
  version: number;
}
/**
 * New values of the app's chat settings.
 */
export interface SettingsUpdate {
  command_id: string;
  settings: {
    [k: string]: unknown;
  };
  thread_id: string;
}
export interface Sourced {
  message_id: string;
  source: Source;
}
/**
 * What the app is doing at the moment; `done` or an empty text takes the line away. Tools may add fields of
 * their own.
 */
export interface Status {
  done?: boolean;
  message_id?: string;
  text: string;
  [k: string]: unknown;
}
export interface Step {
  data?: {
    [k: string]: unknown;
  };
  ended_at: number | null;
  id: string;
  input: string;
  language?: string | null;
  message_id?: string | null;
  name: string;
  offset: number;
  output: string;
  parent_id: string | null;
  run_id: string | null;
  started_at: number | null;
  status: 'running' | 'done' | 'failed';
  type: string;
}
/**
 * What the app did between a question and its answer.
 */
export interface StepFields {
  data?: {
    [k: string]: unknown;
  };
  ended_at: number | null;
  id: string;
  input: string;
  language?: string | null;
  message_id?: string | null;
  name: string;
  output: string;
  parent_id: string | null;
  run_id: string | null;
  started_at: number | null;
  status: 'running' | 'done' | 'failed';
  type: string;
}
/**
 * Follow a stream: with a position what was missed is replayed, without one a snapshot is given.
 */
export interface Subscribe {
  limit?: number;
  position?: WirePosition | null;
  stream: string;
}
/**
 * `{epoch, offset}`.
 */
export interface WirePosition {
  epoch: string;
  offset: number;
}
export interface Tagged {
  tags: string[];
}
export interface ThreadDelete {
  command_id: string;
  thread_id: string;
}
export interface ThreadDeleted {
  id: string;
}
/**
 * Types of events and what they carry.
 */
export interface ThreadEventData {
  'action:called': ActionCalled;
  ask: AskFields;
  'ask:closed': AskClosed;
  'chat:access': AccessChanged;
  'chat:tags': Tagged;
  'chat:title': Titled;
  files: Attached;
  message: MessageFields;
  'message:delete': Deleted;
  'message:delta': Delta;
  'message:deltas': Deltas;
  'message:done': Done;
  'message:replace': Replaced;
  'message:update': Updated;
  notification: Notice;
  'run:ended': RunEnd;
  'run:queued': Run;
  'run:started': Run;
  settings: OfferedSettings;
  source: Sourced;
  status: Status;
  step: StepFields;
}
/**
 * `auto`: made from the first message, not chosen by a person.
 */
export interface Titled {
  auto?: boolean;
  title: string | null;
}
/**
 * What changed in a message.
 */
export interface Updated {
  actions?: Action[];
  author?: Author | null;
  content?: string;
  data?: {
    [k: string]: unknown;
  };
  edited_at?: number | null;
  files?: FileRef[];
  id: string;
  sources?: Source[];
  streaming?: boolean;
}
/**
 * Give (`read`, `write`) or take back (null) what principals may do in a conversation; with `replace`
 * these are all that is left.
 */
export interface ThreadShare {
  command_id: string;
  grants: {
    [k: string]: 'read' | 'write' | null;
  };
  replace?: boolean;
  thread_id: string;
}
/**
 * Somebody shares a conversation, or grants something else; `new`: it was not shared before.
 */
export interface ThreadShared {
  by: Author;
  new: boolean;
  thread: ThreadRow;
}
/**
 * A conversation as it is: its newest messages, and everything else of it.
 */
export interface ThreadSnapshot {
  asks?: Ask[];
  last_run?: RunEnd | null;
  messages: Message[];
  runs?: Run[];
  status?: Status | null;
  steps?: Step[];
  tags?: string[];
  title?: string | null;
  truncated?: boolean;
}
export interface ThreadUnshared {
  by: Author;
  id: string;
}
/**
 * Rename or tag a conversation.
 */
export interface ThreadUpdate {
  command_id: string;
  tags?: string[] | null;
  thread_id: string;
  title?: string | null;
}
export interface ThreadUpdated {
  thread: ThreadRow;
}
/**
 * A person types in a room that this connection is in; no `typing` event for long means it ended.
 */
export interface Typing {
  room: string;
  typing?: boolean;
}
export interface Unsubscribe {
  stream: string;
}
/**
 * The session uses a model now; `action: "release"` ends it before its time.
 */
export interface UsageOfModel {
  action?: string | null;
  chat_id?: string | null;
  model: string;
}
/**
 * Types of events and what they carry.
 */
export interface UserEventData {
  'channel:deleted': ChannelGone;
  'channel:muted': ChannelMuted;
  'channel:read': ChannelRead;
  'member:added': AddedToChannel;
  'member:removed': ChannelGone;
  notification: Notice;
  'settings:changed': SettingsChanged;
  'thread:deleted': ThreadDeleted;
  'thread:shared': ThreadShared;
  'thread:shared:updated': ThreadUpdated;
  'thread:unshared': ThreadUnshared;
  'thread:updated': ThreadUpdated;
}
/**
 * Re-authenticates a connection; `auth.token` as at connect.
 */
export interface UserJoin {
  auth: Auth;
}
/**
 * Data from the page that embeds the client.
 */
export interface WindowMessage {
  command_id: string;
  data: unknown;
  thread_id: string;
}
