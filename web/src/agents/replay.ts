/** How a recording is shown along its length. */

import type { AgentEvent } from '@parlour/sdk';

export type MarkKind = 'person' | 'command' | 'file' | 'trouble' | 'end';

export interface Mark {
  /** How many events have happened with it. */
  at: number;
  kind: MarkKind;
}

/** More marks than this are a grey line. */
const MOST_MARKS = 400;

/** What one looks for in a long session: people, commands, files, trouble, the end. */
export function marksOf(events: readonly AgentEvent[]): Mark[] {
  const marks = events.flatMap((event, index) => {
    const kind = kindOf(event);
    return kind ? [{ at: index + 1, kind }] : [];
  });
  const every = Math.ceil(marks.length / MOST_MARKS);
  return every <= 1
    ? marks
    : marks.filter(({ kind }, index) => kind === 'person' || index % every === 0);
}

function kindOf(event: AgentEvent): MarkKind | null {
  if (event.kind === 'observation') {
    if (event.name === 'error') return 'trouble';
    const failed = event.name === 'run' && event.extras.exit_code !== 0;
    return failed ? 'trouble' : null;
  }
  if (event.kind !== 'action') return null;
  switch (event.name) {
    case 'message':
    case 'comment':
    case 'change_agent_state':
      return event.source === 'user' ? 'person' : null;
    case 'run':
    case 'run_ipython':
      return 'command';
    case 'write':
    case 'edit':
      return 'file';
    case 'finish':
    case 'reject':
      return 'end';
    default:
      return null;
  }
}

/** Milliseconds at the recorded pace, but nobody waits for what took long. */
const LONGEST_WAIT = 4_000;
const SHORTEST_WAIT = 160;

/** How long the moment after `at` events is shown before the next one. */
export function waitOf(events: readonly AgentEvent[], at: number): number {
  const [before, after] = [events[at - 1], events[at]];
  if (!before || !after) return SHORTEST_WAIT;
  return Math.min(LONGEST_WAIT, Math.max(SHORTEST_WAIT, after.at - before.at));
}
