/** The HTTP side of channels, presence, people and of what administrators see. */

import type {
  ChannelInfo,
  ChannelKind,
  ChannelMember,
  ChannelMessage,
  ChannelRole,
} from './channel.js';
import type { PresenceStatus } from './presence.js';
import type { Person } from './protocol.js';
import type { Api, Paged } from './rest.js';

export interface MessagesPage {
  /** Oldest first. */
  items: ChannelMessage[];
  /** As `before` it gives the page before this one; null at the beginning. */
  next_cursor: string | null;
  newer_cursor: string | null;
}

export interface NewChannel {
  kind: ChannelKind;
  name?: string;
  description?: string;
  user_ids?: string[];
  grants?: Record<string, 'read' | 'write'>;
}

export interface LiveConnection {
  sid: string;
  user: Person;
  session_id: string;
  client_type: string;
  transport: string;
  address: string;
  status: PresenceStatus;
  connected_at: number | null;
  rooms: string[];
  node: string;
}

export interface LiveNode {
  node: string;
  version: string;
  connections: number;
  sessions: number;
  users: number;
  rooms: number;
}

export interface LiveOverview {
  nodes: LiveNode[];
  connections: LiveConnection[];
  rooms: { room: string; connections: number }[];
  /** Sessions by model. */
  models: Record<string, number>;
  totals: { connections: number; sessions: number };
  /** Why a node did not answer, by node. */
  failures: Record<string, string>;
}

type PageQuery = { before?: string; limit?: number };

export class ChannelsApi {
  readonly #api: Api;

  constructor(api: Api) {
    this.#api = api;
  }

  /** The channels that one belongs to, newest activity first. */
  async list(): Promise<ChannelInfo[]> {
    return (await this.#api.request<{ items: ChannelInfo[] }>('GET', '/api/channels')).items;
  }

  /** Standard channels that one may read. */
  open(query: { cursor?: string; search?: string } = {}): Promise<Paged<ChannelInfo>> {
    return this.#api.request('GET', '/api/channels/open', undefined, query);
  }

  /** The direct channel of people who have one is given back. */
  async create(channel: NewChannel): Promise<ChannelInfo> {
    return (
      await this.#api.request<{ channel: ChannelInfo }>('POST', '/api/channels', {
        ...channel,
      })
    ).channel;
  }

  channel(id: string): Promise<ChannelInfo> {
    return this.#api.request('GET', path(id));
  }

  async update(id: string, changes: { name?: string; description?: string }): Promise<void> {
    await this.#api.request('PATCH', path(id), changes);
  }

  async remove(id: string): Promise<void> {
    await this.#api.request('DELETE', path(id));
  }

  /** Everybody in the channel. */
  async members(id: string): Promise<ChannelMember[]> {
    const found: ChannelMember[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const page: Paged<ChannelMember> = await this.#api.request(
        'GET',
        `${path(id)}/members`,
        undefined,
        { cursor, limit: 200 },
      );
      found.push(...page.items);
      cursor = page.next_cursor;
    }
    return found;
  }

  async addMembers(id: string, userIds: readonly string[]): Promise<void> {
    await this.#api.request('POST', `${path(id)}/members`, { user_ids: userIds });
  }

  async removeMember(id: string, userId: string): Promise<void> {
    await this.#api.request('DELETE', `${path(id)}/members/${encodeURIComponent(userId)}`);
  }

  async setRole(id: string, userId: string, role: ChannelRole): Promise<void> {
    await this.#api.request('PATCH', `${path(id)}/members/${encodeURIComponent(userId)}`, { role });
  }

  messages(id: string, query: PageQuery = {}): Promise<MessagesPage> {
    return this.#api.request('GET', `${path(id)}/messages`, undefined, query);
  }

  message(id: string, messageId: string): Promise<ChannelMessage> {
    return this.#api.request('GET', `${path(id)}/messages/${encodeURIComponent(messageId)}`);
  }

  replies(id: string, messageId: string, query: PageQuery = {}): Promise<MessagesPage> {
    const place = `${path(id)}/messages/${encodeURIComponent(messageId)}/replies`;
    return this.#api.request('GET', place, undefined, query);
  }

  pins(id: string, query: PageQuery = {}): Promise<MessagesPage> {
    return this.#api.request('GET', `${path(id)}/pins`, undefined, query);
  }

  async mute(id: string, muted: boolean): Promise<void> {
    await this.#api.request(muted ? 'POST' : 'DELETE', `${path(id)}/mute`);
  }

  /** Who has exactly this name or e-mail address. */
  async people(name: string): Promise<Person[]> {
    const found = await this.#api.request<{ items: Person[] }>('GET', '/api/people', undefined, {
      q: name,
    });
    return found.items;
  }

  /** Over all tabs and nodes, by user id. */
  statuses(userIds: readonly string[]): Promise<Record<string, { status: PresenceStatus }>> {
    const query = new URLSearchParams(userIds.map((id) => ['user_id', id])).toString();
    return this.#api.request('GET', `/api/presence?${query}`);
  }

  /** For administrators. */
  overview(): Promise<LiveOverview> {
    return this.#api.request('GET', '/api/admin/overview');
  }

  /** For administrators: close live connections; their clients may connect again. */
  disconnect(
    whom: { sid: string } | { session_id: string } | { user_id: string },
  ): Promise<{ connections: number; failures: Record<string, string> }> {
    return this.#api.request('POST', '/api/admin/disconnect', whom);
  }
}

function path(id: string): string {
  return `/api/channels/${encodeURIComponent(id)}`;
}
