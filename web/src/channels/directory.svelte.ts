/** The channels that a person belongs to, for components, and who of the others is there. */

import {
  ChannelList,
  channelName,
  ChannelsApi,
  Presence,
  type Api,
  type ChannelInfo,
  type Connection,
  type Person,
  type PresenceStatus,
  type UserStream,
} from '@parlour/sdk';
import { SvelteMap } from 'svelte/reactivity';

/** People whose status is asked for at once. */
const ASKED = 200;

export class Channels {
  rows = $state.raw<readonly ChannelInfo[]>([]);
  state = $state<'loading' | 'ready' | 'failed'>('loading');
  readonly api: ChannelsApi;
  readonly presence: Presence;
  /** Of the others in direct channels, by user id. */
  readonly statuses = new SvelteMap<string, PresenceStatus>();
  readonly #userId: string;
  readonly #list: ChannelList;
  readonly #stops: (() => void)[];
  #asked = '';

  constructor(api: Api, connection: Connection, stream: UserStream) {
    this.api = new ChannelsApi(api);
    this.presence = new Presence(connection);
    this.#userId = stream.userId;
    this.#list = new ChannelList(this.api, connection, stream);
    this.#stops = [
      this.#list.subscribe(({ phase, items }) => this.#show(phase, items)),
      // Who came and went while there was no connection was not heard.
      connection.onConnected(() => void this.#readStatuses()),
      connection.on('presence', (payload) => this.#hearPresence(payload)),
      () => this.presence.close(),
      () => this.#list.close(),
    ];
  }

  /** The channel whose newest messages are on the screen: what comes is read. */
  get viewing(): string | null {
    return this.#list.viewing;
  }

  set viewing(id: string | null) {
    this.#list.viewing = id;
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

  reload(): Promise<void> {
    return this.#list.reload();
  }

  close(): void {
    for (const stop of this.#stops) stop();
  }

  #show(phase: Channels['state'], items: readonly ChannelInfo[]): void {
    this.rows = items;
    this.state = phase;
    const known = this.acquaintances.map(({ id }) => id).join(' ');
    if (known === this.#asked) return;
    this.#asked = known;
    void this.#readStatuses();
  }

  async #readStatuses(): Promise<void> {
    const ids = this.acquaintances.map(({ id }) => id).slice(0, ASKED);
    if (ids.length === 0) return;
    try {
      const found = await this.api.statuses(ids);
      for (const [id, { status }] of Object.entries(found)) this.statuses.set(id, status);
    } catch {
      // The next connection asks again; until then they count as what was heard last.
    }
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
}
