/** The channels that a person belongs to, with what is unread in them and who of the others is there. */

import {
  channelName,
  ChannelsApi,
  countsAsUnread,
  Presence,
  type Api,
  type ChannelInfo,
  type ChannelMessage,
  type Connection,
  type Person,
  type PresenceStatus,
  type StreamEvent,
} from '@parlour/sdk';
import { SvelteMap } from 'svelte/reactivity';

/** News that only the server can count are asked for together. */
const GATHER_MS = 250;

export class Channels {
  rows = $state.raw<readonly ChannelInfo[]>([]);
  state = $state<'loading' | 'ready' | 'failed'>('loading');
  /** The channel whose newest messages are on the screen: what comes is read. */
  viewing: string | null = null;
  readonly api: ChannelsApi;
  readonly presence: Presence;
  /** Of the others in direct channels, by user id. */
  readonly statuses = new SvelteMap<string, PresenceStatus>();
  readonly #userId: string;
  readonly #connection: Connection;
  readonly #stops: (() => void)[] = [];
  #loading = false;
  #stale = false;
  #closed = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(api: Api, connection: Connection, userId: string) {
    this.api = new ChannelsApi(api);
    this.presence = new Presence(connection);
    this.#connection = connection;
    this.#userId = userId;
    void this.reload();
    let live = false;
    this.#stops.push(
      connection.state.subscribe(({ phase }) => {
        if (phase === 'live' && !live) void this.#enter();
        if (phase !== 'live') live = false;
        else live = true;
      }),
      connection.on('events:channel', (payload) => this.#hear(payload)),
      connection.on('presence', (payload) => this.#hearPresence(payload)),
      () => this.presence.close(),
    );
  }

  get channels(): ChannelInfo[] {
    return this.rows.filter((row) => row.kind !== 'direct');
  }

  get direct(): ChannelInfo[] {
    return this.rows.filter((row) => row.kind === 'direct');
  }

  find(id: string): ChannelInfo | undefined {
    return this.rows.find((row) => row.id === id);
  }

  name(channel: ChannelInfo): string {
    return channelName(channel, this.#userId);
  }

  /** The other person of a direct channel of two. */
  other(channel: ChannelInfo): Person | null {
    const others = (channel.members ?? []).filter((one) => one.id !== this.#userId);
    return channel.kind === 'direct' && others.length === 1 ? others[0]! : null;
  }

  /** Everybody with whom this person already talks directly. */
  get acquaintances(): Person[] {
    const people = this.direct.flatMap((row) => row.members ?? []);
    return people.filter(
      (one, index) =>
        one.id !== this.#userId && people.findIndex(({ id }) => id === one.id) === index,
    );
  }

  /** What happened in the person's own stream. */
  apply(event: StreamEvent): void {
    const id = String(event.data['channel_id'] ?? '');
    if (event.type === 'member:added') void this.reload();
    else if (event.type === 'member:removed' || event.type === 'channel:deleted') {
      this.rows = this.rows.filter((row) => row.id !== id);
    } else if (event.type === 'channel:muted') {
      this.#mark(id, { muted: event.data['muted'] === true });
    } else if (event.type === 'channel:read') {
      this.#mark(id, { read_seq: Number(event.data['read_seq']) });
      this.#reloadSoon();
    }
  }

  async reload(): Promise<void> {
    if (this.#loading) {
      this.#stale = true;
      return;
    }
    this.#loading = true;
    try {
      const rows = await this.api.list();
      if (this.#closed) return;
      this.rows = rows;
      this.state = 'ready';
      await this.#readStatuses();
    } catch {
      if (this.rows.length === 0) this.state = 'failed';
    } finally {
      this.#loading = false;
    }
    // What happened while the answer was on its way may not be in it.
    if (this.#stale) {
      this.#stale = false;
      await this.reload();
    }
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const stop of this.#stops) stop();
  }

  /** Once the rooms are entered everything is heard; what was said before is in the list. */
  async #enter(): Promise<void> {
    try {
      await this.#connection.request('join-channels', {});
    } catch {
      // The next connection enters them again.
    }
    if (!this.#closed) await this.reload();
  }

  async #readStatuses(): Promise<void> {
    const ids = this.acquaintances.map((one) => one.id).slice(0, 200);
    if (ids.length === 0) return;
    const found = await this.api.statuses(ids);
    for (const [id, { status }] of Object.entries(found)) this.statuses.set(id, status);
  }

  #hear(payload: unknown): void {
    const { channel_id, data } = payload as {
      channel_id: string;
      data: { type: string; data: unknown };
    };
    if (data.type === 'message') this.#count(channel_id, data.data as ChannelMessage);
    else if (data.type === 'message:delete') this.#reloadSoon();
    else if (data.type === 'channel:updated') {
      const told = (data.data as { channel: ChannelInfo }).channel;
      this.#change(channel_id, (row) => ({ ...row, ...told }));
    } else if (data.type === 'member:added' || data.type === 'member:removed') {
      this.#reloadSoon();
    }
  }

  #count(id: string, message: ChannelMessage): void {
    if (this.#loading) this.#stale = true;
    const looked = this.viewing === id && message.parent_id === null;
    const unread = looked ? false : countsAsUnread(message, this.#userId);
    if (unread === null) this.#reloadSoon();
    const mentioned = unread && message.mentions.includes(this.#userId);
    this.#change(id, (row) => ({
      ...row,
      last_message_at: message.created_at,
      unread: (row.unread ?? 0) + (unread ? 1 : 0),
      unread_mentions: (row.unread_mentions ?? 0) + (mentioned ? 1 : 0),
    }));
  }

  #hearPresence(payload: unknown): void {
    const { room, joined, left, changed } = payload as Record<string, unknown>;
    const row = this.find(String(room).replace(/^channel:/, ''));
    if (row?.kind !== 'direct') return;
    for (const people of [joined, left, changed]) {
      for (const one of (people ?? []) as { id: string; status: PresenceStatus }[]) {
        this.statuses.set(one.id, one.status);
      }
    }
  }

  #mark(id: string, marks: { muted?: boolean; read_seq?: number }): void {
    this.#change(id, (row) => ({
      ...row,
      ...(row.membership ? { membership: { ...row.membership, ...marks } } : {}),
    }));
  }

  #change(id: string, change: (row: ChannelInfo) => ChannelInfo): void {
    this.rows = this.rows.map((row) => (row.id === id ? change(row) : row));
  }

  #reloadSoon(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.reload(), GATHER_MS);
  }
}
