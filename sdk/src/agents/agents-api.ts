/** The HTTP side of agent sessions. */

import type { Person } from '../protocol.js';
import type { Api, Paged } from '../rest.js';
import { readEvent } from '../streams.js';
import {
  readAgentEvent,
  type AgentEvent,
  type AgentRole,
  type AgentState,
  type InputPolicy,
} from './events.js';

/** Which actions wait for a person's word. */
export type Confirmation = 'never' | 'commands' | 'changes';

/** What a session may be begun with; what is not said is the person's own setting, or the server's. */
export interface AgentSettings {
  agent?: string;
  model?: string;
  instructions?: string;
  confirmation?: Confirmation;
  input_policy?: InputPolicy;
  max_iterations?: number;
  /** Of one run. */
  max_seconds?: number;
  /** US dollars for one run. */
  max_cost?: number;
  context_tokens?: number;
  command_seconds?: number;
  secrets?: Record<string, string>;
}

/** What is in force; of secrets the names are told. */
export interface AgentSettingsInForce extends Required<Omit<AgentSettings, 'secrets'>> {
  secrets: string[];
  sources: Record<string, 'session' | 'user' | 'server'>;
}

/** One row of the list of sessions. */
export interface AgentInfo {
  id: string;
  title: string;
  agent: string;
  state: AgentState;
  active: boolean;
  owner_id: string;
  forked_from: string | null;
  /** Milliseconds since 1970 UTC. */
  created_at: number;
  updated_at: number;
  settings: AgentSettingsInForce;
}

export interface NewAgentSession {
  /** The same id again finds the same session. */
  id?: string;
  title?: string;
  message?: string;
  settings?: AgentSettings;
  replay?: AgentTrajectory;
}

export interface AgentTrajectory {
  version: number;
  session: Record<string, unknown>;
  events: Record<string, unknown>[];
}

export interface AgentEventsPage {
  events: AgentEvent[];
  latest_event_id: number;
  /** Where the next page starts (`start_id`, or `end_id` in reverse); null at the end. */
  next_id: number | null;
}

export interface AgentMembers {
  owner_id: string;
  /** Drives, and is not among the members. */
  owner: Person;
  members: { user: Person; role: AgentRole }[];
}

export interface AgentFile {
  path: string;
  /** Bytes. */
  size: number;
  modified_at: number;
  folder: boolean;
}

/** What administrators see of a session that a node owns. */
export interface LiveAgent {
  id: string;
  node: string;
  owner_id: string;
  owner: Person;
  phase: string;
  state: AgentState;
  reason: string;
  /** Of the owner's lease. */
  generation: number | null;
  events: number;
  events_queued: number;
  inputs_waiting: number;
  busy: boolean;
  watchers: number;
  used: {
    prompt_tokens: number;
    completion_tokens: number;
    cost: number;
    iterations: number;
    actions: number;
    errors: number;
    /** Seconds of each phase of the set-up. */
    phases: Record<string, number>;
  };
}

export interface LiveAgents {
  sessions: LiveAgent[];
  /** Why a node did not answer, by node. */
  failures: Record<string, string>;
}

export class AgentsApi {
  readonly #api: Api;

  constructor(api: Api) {
    this.#api = api;
  }

  /** Own and shared ones, newest activity first. */
  list(query: { cursor?: string; limit?: number } = {}): Promise<Paged<AgentInfo>> {
    return this.#api.request('GET', '/api/agents', undefined, query);
  }

  begin(session: NewAgentSession): Promise<AgentInfo> {
    return this.#api.request('POST', '/api/agents', session);
  }

  /** One session, with one's own role in it. */
  get(id: string): Promise<AgentInfo & { role: AgentRole; latest_event_id: number }> {
    return this.#api.request('GET', path(id));
  }

  rename(id: string, title: string): Promise<AgentInfo> {
    return this.#api.request('PATCH', path(id), { title });
  }

  async remove(id: string): Promise<void> {
    await this.#api.request('DELETE', path(id));
  }

  /** Agents and models that settings may name. */
  kinds(): Promise<{ agents: string[]; models: string[] }> {
    return this.#api.request('GET', '/api/agents/kinds');
  }

  async events(
    id: string,
    query: { start_id?: number; end_id?: number; reverse?: boolean; limit?: number } = {},
  ): Promise<AgentEventsPage> {
    const { reverse, ...numbers } = query;
    const page = await this.#api.request<Omit<AgentEventsPage, 'events'> & { events: unknown[] }>(
      'GET',
      `${path(id)}/events`,
      undefined,
      { ...numbers, ...(reverse ? { reverse: 'true' } : {}) },
    );
    const events = page.events.map(readEvent).filter((event) => event !== null);
    return { ...page, events: events.map(readAgentEvent) };
  }

  /** Everything, as a document that `begin` can replay and `importTrajectory` can show. */
  trajectory(id: string): Promise<AgentTrajectory> {
    return this.#api.request('GET', `${path(id)}/trajectory`);
  }

  importTrajectory(trajectory: AgentTrajectory, title?: string): Promise<AgentInfo> {
    const body = { trajectory, ...(title ? { title } : {}) };
    return this.#api.request('POST', '/api/agents/import', body);
  }

  /** A session of one's own with the same events up to `at`. */
  fork(id: string, at: number, title?: string): Promise<AgentInfo> {
    return this.#api.request('POST', `${path(id)}/fork`, { at, ...(title ? { title } : {}) });
  }

  members(id: string): Promise<AgentMembers> {
    return this.#api.request('GET', `${path(id)}/members`);
  }

  async setRole(id: string, userId: string, role: AgentRole): Promise<void> {
    await this.#api.request('PUT', `${path(id)}/members/${encodeURIComponent(userId)}`, { role });
  }

  /** Take a role away, or leave. */
  async removeMember(id: string, userId: string): Promise<void> {
    await this.#api.request('DELETE', `${path(id)}/members/${encodeURIComponent(userId)}`);
  }

  /** What is in the workspace. */
  async files(id: string): Promise<AgentFile[]> {
    const answer = await this.#api.request<{ files: AgentFile[] }>('GET', `${path(id)}/files`);
    return answer.files;
  }

  /** The text of a file of the workspace. */
  async file(id: string, name: string): Promise<string> {
    const place = name.split('/').map(encodeURIComponent).join('/');
    const answer = await this.#api.request<{ content: string }>(
      'GET',
      `${path(id)}/files/${place}`,
    );
    return answer.content;
  }

  /** For administrators: what every node owns. */
  overview(): Promise<LiveAgents> {
    return this.#api.request('GET', '/api/agents/overview');
  }
}

function path(id: string): string {
  return `/api/agents/${encodeURIComponent(id)}`;
}
