import type { Ask, ConversationView, Message, Step } from '@parlour/sdk';

/** A step with the steps that it contains. */
export interface StepNode {
  step: Step;
  children: StepNode[];
}

export type Item =
  | { kind: 'message'; key: string; offset: number; message: Message }
  | { kind: 'steps'; key: string; offset: number; steps: StepNode[] }
  | { kind: 'ask'; key: string; offset: number; ask: Ask };

/** Everything that a conversation shows, in the order in which it appeared. Neighbouring steps form one
 * group. */
export function timeline(view: Pick<ConversationView, 'thread' | 'older'>): Item[] {
  const { thread, older } = view;
  const items: Item[] = [];
  for (const message of thread.messages.values()) {
    items.push({ kind: 'message', key: `m:${message.id}`, offset: message.offset, message });
  }
  for (const node of stepTree([...thread.steps.values()])) {
    items.push({
      kind: 'steps',
      key: `s:${node.step.id}`,
      offset: node.step.offset,
      steps: [node],
    });
  }
  for (const ask of thread.asks.values()) {
    items.push({ kind: 'ask', key: `a:${ask.ask_id}`, offset: ask.offset, ask });
  }
  items.sort((a, b) => a.offset - b.offset);
  const before = older.map((message): Item => ({
    kind: 'message',
    key: `m:${message.id}`,
    offset: 0,
    message,
  }));
  return [...before, ...groupSteps(items)];
}

function groupSteps(items: Item[]): Item[] {
  const grouped: Item[] = [];
  for (const item of items) {
    const last = grouped.at(-1);
    if (item.kind === 'steps' && last?.kind === 'steps') last.steps.push(...item.steps);
    else grouped.push(item);
  }
  return grouped;
}

function stepTree(steps: readonly Step[]): StepNode[] {
  const nodes = new Map(steps.map((step): [string, StepNode] => [step.id, { step, children: [] }]));
  const roots: StepNode[] = [];
  for (const node of nodes.values()) {
    const parent = node.step.parent_id ? nodes.get(node.step.parent_id) : undefined;
    (parent && parent !== node ? parent.children : roots).push(node);
  }
  return roots;
}

/** How many people wrote something that is shown. */
export function countWriters({
  thread,
  older,
}: Pick<ConversationView, 'thread' | 'older'>): number {
  const messages = [...older, ...thread.messages.values()];
  const ids = messages.flatMap(({ role, author }) =>
    role === 'user' && author?.id ? [author.id] : [],
  );
  return new Set(ids).size;
}

/** Whether the app is at work with nothing of its own to look at yet. */
export function isThinking(view: ConversationView): boolean {
  const { runs, messages, asks } = view.thread;
  if (runs.size === 0 || asks.size > 0) return false;
  return ![...messages.values()].some((message) => message.streaming && message.content);
}

/** A step's input or output as text; apps also hand over objects. */
export function toText(value: unknown): string {
  if (value === null || value === undefined) return '';
  return typeof value === 'string' ? value : JSON.stringify(value, null, 2);
}
