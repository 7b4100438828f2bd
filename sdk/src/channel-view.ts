/**
 * One channel as a view: what its stream says, earlier messages and replies read over HTTP, and what this
 * client has sent but not yet seen come back.
 */

import {
  channelFromSnapshot,
  EMPTY_CHANNEL,
  findMessage,
  foldChannel,
  renewChannel,
  withMembers,
  withMessages,
  withParent,
  withReplies,
  type ChannelMessage,
  type ChannelSnapshot,
  type ChannelState,
} from './channel.js';
import type { ChannelsApi, MessagesPage } from './channels-api.js';
import type { Answer, PendingCommand } from './commands.js';
import type { Connection } from './connection.js';
import { ParlourError } from './errors.js';
import { newId } from './ids.js';
import type { FileRef, StreamEvent } from './protocol.js';
import { Store, type Readable } from './store.js';
import type { Follower } from './streams.js';

const PAGE = 50;
const REPLIES_PAGE = 200;

/** A message of this client that the stream has not shown yet. */
export interface PendingChannelMessage {
  command_id: string;
  content: string;
  files: FileRef[];
  parent_id: string | null;
  created_at: number;
  state: PendingCommand['state'];
  error: ParlourError | null;
}

export interface ChannelView {
  /** `opening`: nothing known yet. `failed`: it may not be read, or access has ended. */
  phase: 'opening' | 'open' | 'failed';
  error: ParlourError | null;
  state: ChannelState;
  olderState: 'idle' | 'loading' | 'failed';
  pending: readonly PendingChannelMessage[];
}

export interface SendOptions {
  files?: readonly FileRef[];
  /** The message that this one stands under. */
  parentId?: string | null;
  /** The message that this one quotes. */
  replyToId?: string | null;
}

export class Channel {
  readonly id: string;
  readonly #connection: Connection;
  readonly #api: ChannelsApi;
  readonly #view = new Store<ChannelView>({
    phase: 'opening',
    error: null,
    state: EMPTY_CHANNEL,
    olderState: 'idle',
    pending: [],
  });
  readonly #follower: Follower;
  readonly #unwatch: () => void;
  readonly #seen = new Set<string>();
  /** Events that came while pages are on their way, for each of those reads. */
  readonly #reads = new Set<StreamEvent[]>();
  #generation = 0;
  #closed = false;

  constructor(connection: Connection, api: ChannelsApi, id: string) {
    this.id = id;
    this.#connection = connection;
    this.#api = api;
    this.#follower = connection.follow(`channel:${id}`, {
      snapshot: (snapshot) => this.#replace(snapshot as unknown as ChannelSnapshot),
      events: (events) => this.#take(events),
      failed: (error) => this.#fail(error),
      current: (current) => {
        if (current && this.#view.get().phase === 'opening') this.#change({ phase: 'open' });
      },
    });
    this.#unwatch = connection.outbox.pending.subscribe(() => this.#showPending());
  }

  get view(): Readable<ChannelView> {
    return this.#view;
  }

  subscribe(run: (view: ChannelView) => void): () => void {
    return this.#view.subscribe(run);
  }

  /** Say something. It is shown as pending until the stream shows it. */
  send(content: string, { files = [], parentId, replyToId }: SendOptions = {}): Promise<Answer> {
    return this.#connection.outbox.submit('message:send', {
      channel_id: this.id,
      content,
      ...(files.length > 0 ? { files } : {}),
      ...(parentId ? { parent_id: parentId } : {}),
      ...(replyToId ? { reply_to_id: replyToId } : {}),
    });
  }

  edit(messageId: string, content: string): Promise<Answer> {
    return this.#command('message:edit', { message_id: messageId, content });
  }

  remove(messageId: string): Promise<Answer> {
    return this.#command('message:delete', { message_id: messageId });
  }

  react(messageId: string, emoji: string, on: boolean): Promise<Answer> {
    return this.#command('message:react', { message_id: messageId, emoji, remove: !on });
  }

  pin(messageId: string, pinned: boolean): Promise<Answer> {
    return this.#command('message:pin', { message_id: messageId, pinned });
  }

  /** Everything up to this message was read. Not tried again: the next mark says more. */
  async markRead(messageId: string): Promise<void> {
    const data = { type: 'last_read_at' };
    const payload = { channel_id: this.id, message_id: messageId, data };
    await this.#connection.request('events:channel', payload);
  }

  retry(commandId: string): void {
    this.#connection.outbox.retry(commandId);
  }

  dismiss(commandId: string): void {
    this.#connection.outbox.dismiss(commandId);
  }

  /** Fetch the page of messages before the first one that is known. */
  async loadOlder(): Promise<void> {
    const { olderState, state } = this.#view.get();
    const first = [...state.messages.values()][0];
    if (olderState === 'loading' || !state.truncated || !first) return;
    this.#change({ olderState: 'loading' });
    try {
      const query = { before: String(first.seq), limit: PAGE };
      await this.#read(
        () => this.#api.messages(this.id, query),
        (known, page) => withMessages(known, page.items, page.next_cursor !== null),
      );
      this.#change({ olderState: 'idle' });
    } catch {
      this.#change({ olderState: 'failed' });
    }
  }

  /** Fetch the replies under a message, and keep them current from now on. */
  async loadReplies(parentId: string): Promise<void> {
    // A parent that is further back than what was read is shown as well.
    if (!findMessage(this.#view.get().state, parentId)) {
      await this.#read(() => this.#api.message(this.id, parentId), withParent);
    }
    await this.#read(
      () => this.#allReplies(parentId),
      (state, items) => withReplies(state, parentId, items),
    );
  }

  /** Fetch who belongs to the channel, and keep it current from now on. */
  async loadMembers(): Promise<void> {
    await this.#read(() => this.#api.members(this.id), withMembers);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#unwatch();
    this.#follower.close();
  }

  async #allReplies(parentId: string): Promise<ChannelMessage[]> {
    const found: ChannelMessage[] = [];
    let before: string | null | undefined;
    while (before !== null) {
      const query = { limit: REPLIES_PAGE, ...(before ? { before } : {}) };
      const page: MessagesPage = await this.#api.replies(this.id, parentId, query);
      found.unshift(...page.items);
      before = page.next_cursor;
    }
    return found;
  }

  /** Ask over HTTP and put the answer in. What the stream said meanwhile may be newer than the answer. */
  async #read<T>(
    ask: () => Promise<T>,
    put: (state: ChannelState, answer: T) => ChannelState,
  ): Promise<void> {
    const meanwhile: StreamEvent[] = [];
    const generation = this.#generation;
    this.#reads.add(meanwhile);
    try {
      const answer = await ask();
      // A snapshot came in between: what stands before it is no longer known to be gapless.
      if (generation !== this.#generation) return;
      this.#change({ state: renewChannel(put(this.#view.get().state, answer), meanwhile) });
    } finally {
      this.#reads.delete(meanwhile);
    }
  }

  /** A command whose failure is the caller's to show; it does not stay in the outbox. */
  #command(event: string, payload: Record<string, unknown>): Promise<Answer> {
    const commandId = newId();
    const whole = { channel_id: this.id, ...payload };
    return this.#connection.outbox.submit(event, whole, commandId).catch((error: unknown) => {
      this.#connection.outbox.dismiss(commandId);
      throw error;
    });
  }

  #replace(snapshot: ChannelSnapshot): void {
    const before = this.#view.get().state;
    this.#generation += 1;
    const state = channelFromSnapshot(snapshot);
    this.#change({
      phase: 'open',
      error: null,
      state,
      olderState: 'idle',
      pending: this.#unseen(state),
    });
    // What was looked at besides the newest messages is read again.
    for (const parentId of before.replies.keys()) this.#again(this.loadReplies(parentId));
    if (before.members) this.#again(this.loadMembers());
  }

  #again(work: Promise<void>): void {
    // The panel that shows it offers to try again.
    work.catch(() => undefined);
  }

  #take(events: readonly StreamEvent[]): void {
    for (const event of events) if (event.cause) this.#seen.add(event.cause);
    for (const read of this.#reads) read.push(...events);
    const state = foldChannel(this.#view.get().state, events);
    this.#change({ state, pending: this.#unseen(state) });
    if (state.deleted) {
      this.#fail(new ParlourError({ code: 'not_found', message: 'This channel was deleted.' }));
    }
  }

  /** Nothing of what was shown may stay: it is somebody else's now. */
  #fail(error: ParlourError): void {
    this.#generation += 1;
    this.#change({ phase: 'failed', error, state: EMPTY_CHANNEL, pending: [] });
  }

  #showPending(): void {
    const { state, pending: shown, phase } = this.#view.get();
    if (phase === 'failed') return;
    const pending = this.#unseen(state);
    if (pending.length > 0 || shown.length > 0) this.#change({ pending });
  }

  #unseen(state: ChannelState): PendingChannelMessage[] {
    return this.#connection.outbox.pending
      .get()
      .filter(
        ({ event, payload, command_id }) =>
          event === 'message:send' &&
          payload['channel_id'] === this.id &&
          !this.#seen.has(command_id) &&
          !state.messages.has(command_id),
      )
      .map(toPending);
  }

  #change(changes: Partial<ChannelView>): void {
    if (!this.#closed) this.#view.set({ ...this.#view.get(), ...changes });
  }
}

function toPending({ command_id, payload, created_at, state, error }: PendingCommand) {
  const { content, files, parent_id } = payload;
  return {
    command_id,
    content: typeof content === 'string' ? content : '',
    files: Array.isArray(files) ? (files as FileRef[]) : [],
    parent_id: typeof parent_id === 'string' ? parent_id : null,
    created_at,
    state,
    error,
  };
}
