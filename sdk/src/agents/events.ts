/**
 * The events of an agent session, typed: actions (what somebody wants done) and observations (what came of
 * it). They are numbered from 1 without gaps; `cause` is the number of the event that led to one.
 */

import { isRecord } from '../errors.js';
import type { Person, StreamEvent } from '../protocol.js';

export type AgentState =
  | 'loading'
  | 'running'
  | 'awaiting_user_input'
  | 'paused'
  | 'awaiting_user_confirmation'
  | 'rate_limited'
  | 'finished'
  | 'rejected'
  | 'error'
  | 'stopped';

/** What a client may ask for; an agent's state is not set, it is asked for. */
export type AgentRequest = 'running' | 'paused' | 'stopped' | 'user_confirmed' | 'user_rejected';

/** `drive` gives orders, `comment` speaks to the people who watch, `watch` looks. */
export type AgentRole = 'drive' | 'comment' | 'watch';

/** What becomes of a message that comes while the agent works. */
export type InputPolicy = 'steer' | 'queue' | 'interrupt' | 'reject';

/** Tokens, and US dollars. */
export interface AgentUsage {
  prompt: number;
  completion: number;
  cost: number;
}

interface Thought {
  thought?: string;
}

export interface AgentActions {
  message: { content: string; wait?: boolean; policy?: InputPolicy };
  comment: { content: string };
  change_agent_state: { agent_state: AgentRequest; ask_id?: number };
  run: Thought & { command: string; timeout?: number };
  run_ipython: Thought & { code: string; timeout?: number };
  read: Thought & { path: string };
  write: Thought & { path: string; content: string };
  edit: Thought & { path: string; old: string; new: string };
  think: { thought: string };
  delegate: Thought & { agent: string; task: string };
  finish: { content: string; outputs?: Record<string, unknown> };
  reject: { content: string };
}

/** Without an `exit_code` the command did not end by itself. */
export interface CommandExtras {
  command: string;
  exit_code?: number;
  truncated: boolean;
  timed_out: boolean;
  interrupted: boolean;
}

export interface StateExtras {
  agent_state: AgentState;
  reason?: string;
  /** A run begins: its limits count from here. */
  began?: boolean;
  confirmed?: boolean;
  /** The action that people are asked about. */
  ask_id?: number;
  /** Milliseconds since 1970 at which a rate-limited agent goes on. */
  resume_at?: number;
}

export interface AgentObservations {
  run: CommandExtras;
  run_ipython: CommandExtras;
  read: { path: string; truncated: boolean };
  /** `before`: the former text; absent for a new file, or a long one. */
  write: { path: string; before?: string };
  /** `diff` is unified. */
  edit: { path: string; diff: string };
  think: Record<string, never>;
  delegate: { agent: string; outputs?: Record<string, unknown> };
  user_rejected: { action_id: number };
  agent_state_changed: StateExtras;
  input_taken: { ids: number[] };
  /** `reference` finds the traceback in the server's log. */
  error: { code: string; reference?: string; retryable?: boolean };
  status: { status: string; node?: string; detail?: Record<string, unknown> };
  /** Events up to `through` were forgotten by the model; `content` is their summary. */
  condensation: { through: number };
}

interface AgentEventBase {
  id: number;
  /** Milliseconds since 1970 UTC. */
  at: number;
  source: 'user' | 'agent' | 'environment';
  /** One line for people. */
  message: string;
  cause: number | null;
  /** Who sent it. */
  user: Person | null;
  command_id: string | null;
  /** On the first action of each answer of the model. */
  usage: AgentUsage | null;
  /** People are asked before this action is carried out. */
  asks: boolean;
}

export type AgentActionEvent = {
  [Name in keyof AgentActions]: AgentEventBase & {
    kind: 'action';
    name: Name;
    args: AgentActions[Name];
  };
}[keyof AgentActions];

export type AgentObservationEvent = {
  [Name in keyof AgentObservations]: AgentEventBase & {
    kind: 'observation';
    name: Name;
    content: string;
    extras: AgentObservations[Name];
  };
}[keyof AgentObservations];

/** One that this client does not know, or that does not have its shape. */
export type UnknownAgentEvent = AgentEventBase & { kind: 'unknown'; name: string };

export type AgentEvent = AgentActionEvent | AgentObservationEvent | UnknownAgentEvent;

/** The fields without which an event says nothing, and their types. */
const ACTIONS: Record<keyof AgentActions, Record<string, string>> = {
  message: { content: 'string' },
  comment: { content: 'string' },
  change_agent_state: { agent_state: 'string' },
  run: { command: 'string' },
  run_ipython: { code: 'string' },
  read: { path: 'string' },
  write: { path: 'string', content: 'string' },
  edit: { path: 'string', old: 'string', new: 'string' },
  think: { thought: 'string' },
  delegate: { agent: 'string', task: 'string' },
  finish: { content: 'string' },
  reject: { content: 'string' },
};

const OBSERVATIONS: Record<keyof AgentObservations, Record<string, string>> = {
  run: {},
  run_ipython: {},
  read: {},
  write: { path: 'string' },
  edit: { path: 'string', diff: 'string' },
  think: {},
  delegate: {},
  user_rejected: { action_id: 'number' },
  agent_state_changed: { agent_state: 'string' },
  input_taken: { ids: 'object' },
  error: {},
  status: { status: 'string' },
  condensation: {},
};

/** Every type of event, as `action:{name}` and `observation:{name}`. */
export const AGENT_EVENT_TYPES: ReadonlySet<string> = new Set([
  ...Object.keys(ACTIONS).map((name) => `action:${name}`),
  ...Object.keys(OBSERVATIONS).map((name) => `observation:${name}`),
]);

/** The typed form of an event of an `agent:{id}` stream. */
export function readAgentEvent({ type, data, offset, at, cause }: StreamEvent): AgentEvent {
  const [kind, name = ''] = type.split(':');
  const base: AgentEventBase = {
    id: offset,
    at,
    source: readSource(data['source']),
    message: typeof data['message'] === 'string' ? data['message'] : '',
    cause: cause === undefined ? null : Number(cause),
    user: readPerson(data['user']),
    command_id: typeof data['command_id'] === 'string' ? data['command_id'] : null,
    usage: readUsage(data['usage']),
    asks: data['confirmation_state'] === 'awaiting_confirmation',
  };
  const args = isRecord(data['args']) ? data['args'] : {};
  const extras = isRecord(data['extras']) ? data['extras'] : {};
  if (kind === 'action' && has(ACTIONS, name, args)) {
    return { ...base, kind, name, args } as unknown as AgentActionEvent;
  }
  if (kind === 'observation' && has(OBSERVATIONS, name, extras)) {
    const content = typeof data['content'] === 'string' ? data['content'] : '';
    return { ...base, kind, name, content, extras } as unknown as AgentObservationEvent;
  }
  return { ...base, kind: 'unknown', name: type };
}

function has(
  shapes: Record<string, Record<string, string>>,
  name: string,
  fields: Record<string, unknown>,
): boolean {
  const shape = Object.hasOwn(shapes, name) ? shapes[name] : undefined;
  return (
    shape !== undefined &&
    Object.entries(shape).every(([field, type]) => typeof fields[field] === type)
  );
}

function readSource(value: unknown): AgentEventBase['source'] {
  return value === 'user' || value === 'agent' ? value : 'environment';
}

function readPerson(value: unknown): Person | null {
  if (!isRecord(value) || typeof value['id'] !== 'string') return null;
  return { id: value['id'], name: String(value['name'] ?? '') };
}

function readUsage(value: unknown): AgentUsage | null {
  if (!isRecord(value)) return null;
  const number = (name: string): number => {
    const found = value[name];
    return typeof found === 'number' ? found : 0;
  };
  return { prompt: number('prompt'), completion: number('completion'), cost: number('cost') };
}
