/**
 * A channel as a fold of its events: who is in it, what was said, what stands under it.
 *
 * `foldChannel` is pure: it never changes the state that it is given and keeps the identity of every record
 * that it does not touch. Live events and replayed ones pass through the same rules. Applying an event again
 * to a state that holds it already changes nothing, so pages that were read over HTTP while events arrived
 * are brought up to date by folding those events once more (`renewChannel`).
 */

import type {
  ChannelEventData,
  ChannelInfo,
  ChannelMember,
  ChannelMessage,
  ChannelUpdated,
  Reacted,
} from './generated/wire.js';

/** Channels and their messages have the forms that the server gives them. */
export type {
  ChannelInfo,
  ChannelMember,
  ChannelMessage,
  Membership,
  Reaction,
} from './generated/wire.js';

export type ChannelKind = ChannelInfo['kind'];
export type ChannelRole = ChannelMember['role'];

export interface ChannelSnapshot {
  channel: ChannelInfo;
  messages: ChannelMessage[];
  truncated: boolean;
}

/** Messages by id, in the order of their numbers. */
export type ChannelMessages = ReadonlyMap<string, ChannelMessage>;

export interface ChannelState {
  readonly channel: ChannelInfo | null;
  /** Messages that are no replies. */
  readonly messages: ChannelMessages;
  /** Replies by the message that they stand under; only of those that somebody looks at. */
  readonly replies: ReadonlyMap<string, ChannelMessages>;
  /** Messages further back than `messages` whose replies somebody looks at. */
  readonly parents: ChannelMessages;
  /** By user id. Null until somebody asked for them. */
  readonly members: ReadonlyMap<string, ChannelMember> | null;
  readonly deleted: boolean;
  /** There are messages before the first one. */
  readonly truncated: boolean;
}

/** The part of a stream's event that folding needs. */
export interface ChannelEvent {
  type: string;
  data: Record<string, unknown>;
  at: number;
}

export const EMPTY_CHANNEL: ChannelState = Object.freeze({
  channel: null,
  messages: new Map(),
  replies: new Map(),
  parents: new Map(),
  members: null,
  deleted: false,
  truncated: false,
});

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Draft = Mutable<ChannelState>;
type Rule<Data> = (draft: Draft, data: Data, event: ChannelEvent) => void;
/** One for each type of event that the server has. */
type Rules = { readonly [Type in keyof ChannelEventData]: Rule<ChannelEventData[Type]> };

export function channelFromSnapshot(snapshot: ChannelSnapshot): ChannelState {
  return {
    ...EMPTY_CHANNEL,
    channel: snapshot.channel,
    messages: byNumber(snapshot.messages),
    truncated: snapshot.truncated,
  };
}

/** Apply `events`, in order. */
export function foldChannel(state: ChannelState, events: readonly ChannelEvent[]): ChannelState {
  const draft: Draft = { ...state };
  for (const event of events) {
    apply(draft, event);
    countMembers(draft, event);
  }
  return draft;
}

/** What arrives has the form of its type; what a newer server tells besides changes nothing. */
function apply(draft: Draft, event: ChannelEvent): void {
  if (!Object.hasOwn(RULES, event.type)) return;
  const rule = RULES[event.type as keyof ChannelEventData] as Rule<unknown>;
  rule(draft, event.data, event);
}

/** Apply events that the state may hold already. */
export function renewChannel(state: ChannelState, events: readonly ChannelEvent[]): ChannelState {
  const draft: Draft = { ...state };
  for (const event of events) apply(draft, event);
  return draft;
}

/** Put a page of earlier messages in. */
export function withMessages(
  state: ChannelState,
  items: readonly ChannelMessage[],
  truncated: boolean,
): ChannelState {
  return { ...state, messages: merge(state.messages, items), truncated };
}

/** Put replies under a message in; the first time makes the state follow that message's replies. */
export function withReplies(
  state: ChannelState,
  parentId: string,
  items: readonly ChannelMessage[],
): ChannelState {
  const known = state.replies.get(parentId) ?? new Map();
  return { ...state, replies: new Map(state.replies).set(parentId, merge(known, items)) };
}

/** Follow a message that stands before those of the window. */
export function withParent(state: ChannelState, parent: ChannelMessage): ChannelState {
  return { ...state, parents: merge(state.parents, [parent]) };
}

export function withMembers(state: ChannelState, members: readonly ChannelMember[]): ChannelState {
  return { ...state, members: new Map(members.map((one) => [one.user.id, one])) };
}

/** A message or reply that the state holds. */
export function findMessage(state: ChannelState, id: string): ChannelMessage | undefined {
  const found = state.messages.get(id) ?? state.parents.get(id);
  if (found) return found;
  for (const replies of state.replies.values()) {
    const reply = replies.get(id);
    if (reply) return reply;
  }
  return undefined;
}

/** Whether a live message counts as unread for `userId`, as the server counts; null where only the server
 * knows (a reply counts for those who take part in its thread). */
export function countsAsUnread(message: ChannelMessage, userId: string): boolean | null {
  if (message.author.id === userId || message.deleted_at !== null) return false;
  if (message.parent_id === null || message.mentions.includes(userId)) return true;
  return null;
}

/** What a channel is called for `userId`: a direct one by the others in it. */
export function channelName(channel: ChannelInfo, userId: string): string {
  if (channel.kind !== 'direct') return channel.name;
  const others = (channel.members ?? []).filter((one) => one.id !== userId);
  return others.map((one) => one.name).join(', ') || channel.name || 'Direct message';
}

function byNumber(items: readonly ChannelMessage[]): ChannelMessages {
  const sorted = [...items].sort((a, b) => a.seq - b.seq);
  return new Map(sorted.map((item) => [item.id, item]));
}

function merge(known: ChannelMessages, items: readonly ChannelMessage[]): ChannelMessages {
  return byNumber([...new Map([...known, ...items.map((one) => [one.id, one] as const)]).values()]);
}

/** Put a message where it belongs. Only `message` brings one that is not there yet. */
function place(draft: Draft, message: ChannelMessage, fresh: boolean): void {
  const parentId = message.parent_id;
  if (parentId === null) {
    if (fresh || draft.messages.has(message.id)) {
      draft.messages = placed(draft.messages, message);
    }
    if (draft.parents.has(message.id)) draft.parents = placed(draft.parents, message);
    return;
  }
  const replies = draft.replies.get(parentId);
  if (replies && (fresh || replies.has(message.id))) {
    draft.replies = new Map(draft.replies).set(parentId, placed(replies, message));
  }
}

function placed(messages: ChannelMessages, message: ChannelMessage): ChannelMessages {
  const last = [...messages.values()].at(-1);
  const inOrder = !last || messages.has(message.id) || last.seq < message.seq;
  return inOrder ? new Map(messages).set(message.id, message) : merge(messages, [message]);
}

function remove(draft: Draft, id: string, parentId: string | null): void {
  if (parentId === null) {
    draft.messages = without(draft.messages, id);
    draft.parents = without(draft.parents, id);
    return;
  }
  const replies = draft.replies.get(parentId);
  if (replies) draft.replies = new Map(draft.replies).set(parentId, without(replies, id));
}

function without(messages: ChannelMessages, id: string): ChannelMessages {
  if (!messages.has(id)) return messages;
  const rest = new Map(messages);
  rest.delete(id);
  return rest;
}

/** What is left of a deleted message that has replies. */
function emptied(message: ChannelMessage, at: number): ChannelMessage {
  return {
    ...message,
    content: '',
    data: null,
    files: [],
    mentions: [],
    reactions: [],
    pinned_at: null,
    pinned_by: null,
    deleted_at: at,
  };
}

function react(draft: Draft, { id, emoji, count, user_id }: Reacted, on: boolean): void {
  const message = findMessage(draft, id);
  if (!message) return;
  const known = message.reactions.find((one) => one.emoji === emoji);
  const others = (known?.user_ids ?? []).filter((one) => one !== user_id);
  const changed = { emoji, count, user_ids: on ? [...others, user_id] : others };
  const reactions = known
    ? message.reactions.map((one) => (one === known ? changed : one))
    : [...message.reactions, changed];
  place(draft, { ...message, reactions: reactions.filter((one) => one.count > 0) }, false);
}

function setMember(draft: Draft, userId: string, member: ChannelMember | null): void {
  if (!draft.members) return;
  const members = new Map(draft.members);
  if (member) members.set(userId, member);
  else members.delete(userId);
  draft.members = members;
}

/** What the channel itself says; what it is to this user stays. */
function update(draft: Draft, { channel, member: changed }: ChannelUpdated): void {
  const { membership, unread, unread_mentions } = draft.channel ?? {};
  const own = draft.channel ? { membership, unread, unread_mentions } : {};
  draft.channel = { ...channel, ...own } as ChannelInfo;
  const member = changed && draft.members?.get(changed.user_id);
  if (member) setMember(draft, changed.user_id, { ...member, role: changed.role });
}

function countMembers(draft: Draft, { type }: ChannelEvent): void {
  const step = type === 'member:added' ? 1 : type === 'member:removed' ? -1 : 0;
  if (step === 0 || !draft.channel) return;
  draft.channel = { ...draft.channel, member_count: draft.channel.member_count + step };
}

const RULES: Rules = {
  message: (draft, data) => place(draft, data, true),
  'message:update': (draft, data) => place(draft, data, false),
  'message:delete': (draft, { id, deleted_at }) => {
    const message = findMessage(draft, id);
    if (!message) return;
    if (message.reply_count > 0) place(draft, emptied(message, deleted_at), false);
    else remove(draft, message.id, message.parent_id);
  },
  'message:reply': (draft, { parent }) => {
    if (parent.deleted_at !== null && parent.reply_count === 0) remove(draft, parent.id, null);
    else place(draft, parent, false);
  },
  'message:reaction:add': (draft, data) => react(draft, data, true),
  'message:reaction:remove': (draft, data) => react(draft, data, false),
  'channel:created': update,
  'channel:updated': update,
  'channel:deleted': (draft) => void (draft.deleted = true),
  'member:added': (draft, { user, role }, { at }) =>
    setMember(draft, user.id, { user, role, joined_at: at }),
  'member:removed': (draft, { user_id }) => setMember(draft, user_id, null),
  // Who is writing is no part of what a channel is.
  typing: () => undefined,
};
