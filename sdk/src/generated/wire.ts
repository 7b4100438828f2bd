/** Generated from the server’s models by `make schema`. Not edited by hand. */

export type ChannelKind = 'standard' | 'group' | 'direct';
export type Role = 'owner' | 'manager' | 'member';

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
export interface Auth {
  token: string;
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
export interface ChannelDelete {
  channel_id: string;
  command_id: string;
}
export interface ChannelMute {
  channel_id: string;
  command_id: string;
  muted?: boolean;
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
export interface DocumentState {
  document_id: string;
  state_vector?: unknown;
}
export interface DocumentUpdate {
  command_id?: string | null;
  document_id: string;
  generation?: number | null;
  update: unknown;
}
/**
 * `active` false: the person is connected but away.
 */
export interface Heartbeat {
  active?: boolean;
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
export interface RunStop {
  command_id: string;
  thread_id: string;
}
/**
 * The client says that the session is over (not a disconnect).
 */
export interface SessionEnd {}
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
export interface ThreadDelete {
  command_id: string;
  thread_id: string;
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
 * Rename or tag a conversation.
 */
export interface ThreadUpdate {
  command_id: string;
  tags?: string[] | null;
  thread_id: string;
  title?: string | null;
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
