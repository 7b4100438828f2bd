/**
 * Where an agent session stands: a pure fold of its events, with the same rules as the server's
 * (`tests/golden/agent`). The server's snapshot is the fold up to its `offset`; events behind it go on.
 */

import type {
  AgentEvent,
  AgentObservationEvent,
  AgentRequest,
  AgentState,
  InputPolicy,
} from './events.js';

/** A message that the agent has not taken yet. */
export interface AgentInput {
  id: number;
  text: string;
  policy: InputPolicy | null;
}

/** A change of state that somebody asked for and that is not decided. */
export interface PendingRequest {
  id: number;
  request: AgentRequest;
  ask: number | null;
}

/** The action without a result; the one that people are asked about. */
export interface PendingAction {
  id: number;
  action: string;
  args: Record<string, unknown>;
}

/** As the server gives it. `iterations`, `cost` and `began_at` are of the present run; times in milliseconds
 * since 1970, costs in US dollars. */
export interface AgentSessionState {
  readonly offset: number;
  readonly state: AgentState;
  readonly reason: string;
  readonly inputs: readonly AgentInput[];
  readonly requests: readonly PendingRequest[];
  readonly pending: PendingAction | null;
  /** Sub-agents at work, innermost last. */
  readonly delegates: readonly { id: number; agent: string }[];
  readonly iterations: number;
  readonly cost: number;
  readonly began_at: number;
  readonly resume_at: number;
  readonly total_iterations: number;
  readonly total_cost: number;
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly runs: number;
  readonly messages: number;
}

export const EMPTY_AGENT_STATE: AgentSessionState = Object.freeze({
  offset: 0,
  state: 'loading',
  reason: '',
  inputs: [],
  requests: [],
  pending: null,
  delegates: [],
  iterations: 0,
  cost: 0,
  began_at: 0,
  resume_at: 0,
  total_iterations: 0,
  total_cost: 0,
  prompt_tokens: 0,
  completion_tokens: 0,
  runs: 0,
  messages: 0,
});

const STATES: ReadonlySet<string> = new Set<AgentState>([
  ...(['loading', 'running', 'awaiting_user_input', 'paused'] as const),
  ...(['awaiting_user_confirmation', 'rate_limited', 'finished'] as const),
  ...(['rejected', 'error', 'stopped'] as const),
]);

/** States that end a run; a new message begins the next one. */
export const AGENT_ENDS: ReadonlySet<AgentState> = new Set<AgentState>([
  ...(['finished', 'rejected', 'error', 'stopped'] as const),
]);

/** States in which the agent goes on by itself. */
export const AGENT_AT_WORK: ReadonlySet<AgentState> = new Set<AgentState>([
  ...(['loading', 'running', 'rate_limited'] as const),
]);

/** Each request, and the states in which it may be made. */
export const AGENT_REQUESTS: Readonly<Record<AgentRequest, ReadonlySet<AgentState>>> = {
  running: new Set(['paused', 'rate_limited', 'stopped', 'error'] as const),
  paused: new Set(['running', 'rate_limited'] as const),
  stopped: new Set([
    ...(['loading', 'running', 'awaiting_user_input', 'paused'] as const),
    ...(['awaiting_user_confirmation', 'rate_limited'] as const),
  ]),
  user_confirmed: new Set(['awaiting_user_confirmation'] as const),
  user_rejected: new Set(['awaiting_user_confirmation'] as const),
};

/** Actions that an observation answers. */
const ANSWERED: ReadonlySet<string> = new Set([
  ...['run', 'run_ipython', 'read', 'write', 'edit', 'delegate', 'think'],
]);

/** Whether a session may be asked for this now. Nothing else is asked while a request is undecided. */
export function mayRequest(state: AgentSessionState, request: AgentRequest): boolean {
  return AGENT_REQUESTS[request].has(state.state);
}

/** What the server says of a session's state. Unknown fields are those of a newer version. */
export function agentStateFrom(stored: Record<string, unknown>): AgentSessionState {
  const known = Object.keys(EMPTY_AGENT_STATE).filter((name) => name in stored);
  const values = Object.fromEntries(known.map((name) => [name, stored[name]]));
  return { ...EMPTY_AGENT_STATE, ...values };
}

/** Apply `events`, in order. One that the state has already, or that is unknown, changes nothing else. */
export function foldAgentState(
  state: AgentSessionState,
  events: readonly AgentEvent[],
): AgentSessionState {
  let now = state;
  for (const event of events) {
    if (event.id > now.offset) now = { ...applied(now, event), offset: event.id };
  }
  return now;
}

function applied(state: AgentSessionState, event: AgentEvent): AgentSessionState {
  if (event.kind === 'unknown') return state;
  if (event.kind === 'observation') return observed(state, event);
  switch (event.name) {
    case 'message': {
      if (event.source !== 'user') return charged(state, event);
      const { content, policy } = event.args;
      const input = { id: event.id, text: content, policy: policy ?? null };
      return { ...state, inputs: [...state.inputs, input], messages: state.messages + 1 };
    }
    case 'change_agent_state': {
      const { agent_state: request, ask_id } = event.args;
      if (!Object.hasOwn(AGENT_REQUESTS, request)) return state;
      const asked = { id: event.id, request, ask: ask_id ?? null };
      return { ...state, requests: [...state.requests, asked] };
    }
    case 'delegate': {
      const agent = { id: event.id, agent: event.args.agent };
      return { ...charged(state, event), delegates: [...state.delegates, agent], pending: null };
    }
    case 'finish':
    case 'reject':
      return { ...charged(state, event), pending: null };
    default: {
      const after = charged(state, event);
      if (!ANSWERED.has(event.name)) return after;
      const args = event.args as Record<string, unknown>;
      return { ...after, pending: { id: event.id, action: event.name, args } };
    }
  }
}

function observed(state: AgentSessionState, event: AgentObservationEvent): AgentSessionState {
  switch (event.name) {
    case 'agent_state_changed':
      return STATES.has(event.extras.agent_state) ? changed(state, event) : state;
    case 'input_taken': {
      const taken = new Set(event.extras.ids);
      return { ...state, inputs: state.inputs.filter(({ id }) => !taken.has(id)) };
    }
    case 'condensation':
      return paid(state, event);
    default:
      return answered(decided(state, event), event);
  }
}

/** An action has its result. */
function answered(state: AgentSessionState, { cause }: AgentEvent): AgentSessionState {
  const at = state.delegates.findIndex(({ id }) => id === cause);
  const after =
    at < 0 ? state : { ...state, delegates: state.delegates.slice(0, at), pending: null };
  return after.pending?.id === cause && cause !== null ? { ...after, pending: null } : after;
}

/** The request that caused this event is decided. */
function decided(state: AgentSessionState, { cause }: AgentEvent): AgentSessionState {
  const left = state.requests.filter(({ id }) => id !== cause);
  return left.length === state.requests.length ? state : { ...state, requests: left };
}

function changed(
  state: AgentSessionState,
  event: AgentObservationEvent & { name: 'agent_state_changed' },
): AgentSessionState {
  const { agent_state, reason, resume_at, began } = event.extras;
  const after = {
    ...decided(state, event),
    state: agent_state,
    reason: reason ?? '',
    resume_at: resume_at ?? 0,
    ...(began ? { iterations: 0, cost: 0, began_at: event.at, runs: state.runs + 1 } : {}),
  };
  return AGENT_ENDS.has(agent_state) ? { ...after, pending: null, delegates: [] } : after;
}

/** An answer of the model costs, and is one iteration. */
function charged(state: AgentSessionState, event: AgentEvent): AgentSessionState {
  if (!event.usage) return state;
  const { iterations, total_iterations } = state;
  return paid(
    { ...state, iterations: iterations + 1, total_iterations: total_iterations + 1 },
    event,
  );
}

function paid(state: AgentSessionState, { usage }: AgentEvent): AgentSessionState {
  if (!usage) return state;
  return {
    ...state,
    cost: state.cost + usage.cost,
    total_cost: state.total_cost + usage.cost,
    prompt_tokens: state.prompt_tokens + usage.prompt,
    completion_tokens: state.completion_tokens + usage.completion,
  };
}
