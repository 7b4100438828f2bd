/** All of a person's state as stores, for any framework or none: `subscribe` is Svelte's contract. */

import { AgentList } from './agents/agent-list.js';
import { AgentsApi, type AgentInfo } from './agents/agents-api.js';
import { ChannelList } from './channel-list.js';
import { ChannelsApi } from './channels-api.js';
import { Chats } from './chats.js';
import type { Connection, ConnectionState } from './connection.js';
import type { NoteRow } from './documents/notes-api.js';
import { Models } from './models.js';
import { Notes } from './notes.js';
import { Presence } from './presence.js';
import type { Api, Paged, User } from './rest.js';
import { Store, type Readable } from './store.js';
import { UnsentCommands } from './unsent.js';
import { UserSettings } from './user-settings.js';
import { UserStream } from './user-stream.js';
import { Version, type VersionOptions } from './version.js';

export interface Stores {
  /** The connection's state. */
  readonly socket: Readable<ConnectionState>;
  readonly user: Readable<User>;
  readonly chats: Chats;
  /** Conversations that others share with this person. */
  readonly sharedChats: Chats;
  readonly models: Models;
  readonly settings: UserSettings;
  readonly channels: ChannelList;
  readonly presence: Presence;
  readonly notes: Notes;
  readonly agents: AgentList;
  readonly version: Version;
  /** What waits to be sent, over all conversations. */
  readonly unsent: UnsentCommands;
  /** What else happens to this person (`notification`, …). */
  readonly stream: UserStream;
  close(): void;
}

export interface StoresOptions {
  version?: Partial<VersionOptions>;
}

/** Everything of one person over one connection. Nothing of it outlives `close`: another person gets
 * stores of their own. */
export function createStores(
  connection: Connection,
  api: Api,
  user: User,
  options: StoresOptions = {},
): Stores {
  const stream = new UserStream(connection, user.id);
  const chats = new Chats(api, stream);
  const sharedChats = new Chats(api, stream, { shared: connection });
  const models = new Models(api, connection);
  const settings = new UserSettings(api, stream);
  const channels = new ChannelList(new ChannelsApi(api), connection, stream);
  const presence = new Presence(connection);
  const notes = new Notes(() => readNotes(api), connection, stream);
  const agents = new AgentList(() => readAgents(api), connection);
  const version = new Version(connection.welcome, {
    ask: () => api.version(),
    ...options.version,
  });
  const unsent = new UnsentCommands(connection.outbox);
  const parts = [
    ...[
      chats,
      sharedChats,
      models,
      settings,
      channels,
      presence,
      notes,
      agents,
      version,
      unsent,
      stream,
    ],
  ];
  return {
    ...{ socket: connection.state, user: new Store(user) },
    ...{
      chats,
      sharedChats,
      models,
      settings,
      channels,
      presence,
      notes,
      agents,
      version,
      unsent,
      stream,
    },
    close: () => parts.forEach((part) => part.close()),
  };
}

async function readNotes(api: Api): Promise<readonly NoteRow[]> {
  return (await api.request<Paged<NoteRow>>('GET', '/api/notes')).items;
}

async function readAgents(api: Api): Promise<readonly AgentInfo[]> {
  return (await new AgentsApi(api).list()).items;
}
