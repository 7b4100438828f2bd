/** What states and steps are called, and how they look. */

import type { AgentInfo, AgentState, AgentUsage, StepItem } from '@parlour/sdk';

import { i18n, t } from '../lib/i18n.svelte';

export type Tone = 'quiet' | 'work' | 'ask' | 'good' | 'bad';

const TONES: Readonly<Record<AgentState, Tone>> = {
  loading: 'work',
  running: 'work',
  awaiting_user_input: 'quiet',
  paused: 'quiet',
  awaiting_user_confirmation: 'ask',
  rate_limited: 'ask',
  finished: 'good',
  rejected: 'bad',
  error: 'bad',
  stopped: 'quiet',
};

export function toneOf(state: AgentState): Tone {
  return TONES[state] ?? 'quiet';
}

export function stateName(state: AgentState): string {
  return t(`agent.state-${state}`);
}

export function titleOf(session: Pick<AgentInfo, 'title'> | null): string {
  return session?.title || t('agent.untitled');
}

/** Small costs keep their first digits: an agent's step costs parts of a cent. */
export function formatCost(dollars: number): string {
  const digits = dollars === 0 || dollars >= 1 ? 2 : 1 - Math.floor(Math.log10(dollars));
  return dollars.toLocaleString(i18n.locale, {
    style: 'currency',
    currency: 'USD',
    currencyDisplay: 'narrowSymbol',
    minimumFractionDigits: 2,
    maximumFractionDigits: Math.min(6, Math.max(2, digits)),
  });
}

export function formatTokens(count: number): string {
  return count.toLocaleString(i18n.locale, { notation: 'compact', maximumFractionDigits: 1 });
}

export function usageLine(usage: AgentUsage | null): string {
  if (!usage || usage.prompt + usage.completion === 0) return '';
  const tokens = t('agent.tokens', { count: formatTokens(usage.prompt + usage.completion) });
  return usage.cost > 0 ? `${tokens} · ${formatCost(usage.cost)}` : tokens;
}

/** What a step does, as a line: the command, the path, the task. */
export function subjectOf({ action }: StepItem): string {
  switch (action.name) {
    case 'run':
      return action.args.command;
    case 'run_ipython':
      return action.args.code;
    case 'think':
      return '';
    case 'delegate':
      return action.args.agent;
    default:
      return action.args.path;
  }
}

export function thoughtOf({ action }: StepItem): string {
  return action.args.thought ?? '';
}
