/** The channels that a person belongs to, with what is unread in them. */

import { countsAsUnread, type ChannelInfo, type ChannelMessage } from './channel.js';
import type { ChannelsApi } from './channels-api.js';
import type { Connection } from './connection.js';
import { isRecord } from './errors.js';
import { List, type Listed } from './lists.js';
import type { StreamEvent } from './protocol.js';
import type { Readable } from './store.js';
import type { UserStream } from './user-stream.js';

/** What was heard: of a channel (`events:channel`), or about one in the person's own stream. */
export interface ChannelNews {
  type: string;
  channelId: string;
  data: Record<string, unknown>;
}

type Rows = readonly ChannelInfo[];

/** Apply what was heard. Null: only the server can say what the list is now. `viewing` is the channel
 * whose newest messages the person is looking at: what comes there is read. */
export function foldChannelRows(
  rows: Rows,
  news: ChannelNews,
  userId: string,
  viewing: string | null = null,
): Rows | null {
  const { type, channelId, data } = news;
  switch (type) {
    case 'message':
      return counted(rows, channelId, data as unknown as ChannelMessage, userId, viewing);
    case 'channel:updated':
      return changed(rows, channelId, (row) => ({ ...row, ...(data['channel'] as object) }));
    case 'channel:muted':
      return marked(rows, channelId, { muted: data['muted'] === true });
    case 'channel:deleted':
      return rows.filter(({ id }) => id !== channelId);
    case 'member:removed':
      return data['user_id'] === userId ? rows.filter(({ id }) => id !== channelId) : null;
    case 'member:added':
    case 'message:delete':
    case 'channel:read':
      return null;
    default:
      return rows;
  }
}

function counted(
  rows: Rows,
  id: string,
  message: ChannelMessage,
  userId: string,
  viewing: string | null,
): Rows | null {
  const row = rows.find((one) => one.id === id);
  // A message is stored before it is told: a list that was read in between has counted it already.
  if (!row || message.created_at <= (row.last_message_at ?? 0)) return null;
  const looked = viewing === id && message.parent_id === null;
  const unread = looked ? false : countsAsUnread(message, userId);
  if (unread === null) return null;
  const mentioned = unread && message.mentions.includes(userId);
  return changed(rows, id, (row) => ({
    ...row,
    last_message_at: message.created_at,
    unread: (row.unread ?? 0) + (unread ? 1 : 0),
    unread_mentions: (row.unread_mentions ?? 0) + (mentioned ? 1 : 0),
  }));
}

function marked(rows: Rows, id: string, marks: { muted: boolean }): Rows {
  return changed(rows, id, (row) =>
    row.membership ? { ...row, membership: { ...row.membership, ...marks } } : row,
  );
}

function changed(rows: Rows, id: string, change: (row: ChannelInfo) => ChannelInfo): Rows {
  return rows.some((row) => row.id === id)
    ? rows.map((row) => (row.id === id ? change(row) : row))
    : rows;
}

export class ChannelList implements Readable<Listed<ChannelInfo>> {
  /** The channel whose newest messages are on the screen. */
  viewing: string | null = null;
  readonly #userId: string;
  readonly #connection: Connection;
  readonly #list: List<ChannelInfo>;
  readonly #stops: (() => void)[];

  constructor(api: ChannelsApi, connection: Connection, stream: UserStream) {
    this.#userId = stream.userId;
    this.#connection = connection;
    this.#list = new List(() => api.list());
    this.#stops = [
      connection.onConnected(() => void this.#enter()),
      connection.on('events:channel', (payload) => this.#hear(payload)),
      stream.hear({
        event: (event) => this.#hearOwn(event),
        gap: () => void this.reload(),
      }),
    ];
    void this.reload();
  }

  get(): Listed<ChannelInfo> {
    return this.#list.get();
  }

  subscribe(run: (view: Listed<ChannelInfo>) => void): () => void {
    return this.#list.subscribe(run);
  }

  find(id: string): ChannelInfo | undefined {
    return this.get().items.find((row) => row.id === id);
  }

  reload(): Promise<void> {
    return this.#list.reload();
  }

  close(): void {
    for (const stop of this.#stops) stop();
    this.#list.close();
  }

  /** Once the rooms are entered everything is heard; what was said before is in the list. */
  async #enter(): Promise<void> {
    try {
      await this.#connection.request('join-channels', {});
      await this.reload();
    } catch {
      // The next connection enters them again.
    }
  }

  #hear(payload: unknown): void {
    if (!isRecord(payload) || !isRecord(payload['data'])) return;
    const { type, data } = payload['data'];
    this.#apply({
      type: String(type),
      channelId: String(payload['channel_id']),
      data: isRecord(data) ? data : {},
    });
  }

  /** In the person's own stream these are about the person. */
  #hearOwn({ type, data }: StreamEvent): void {
    const about = { user_id: this.#userId, ...data };
    this.#apply({ type, channelId: String(data['channel_id'] ?? ''), data: about });
  }

  #apply(news: ChannelNews): void {
    const after = foldChannelRows(this.get().items, news, this.#userId, this.viewing);
    if (after === null) this.#list.reloadSoon();
    else this.#list.change(() => after);
  }
}
