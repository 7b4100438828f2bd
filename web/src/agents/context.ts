import type { AgentRole, Person } from '@parlour/sdk';

/** What the parts of an agent's page share. */
export interface AgentContext {
  /** Whose page it is. */
  readonly userId: string;
  readonly role: AgentRole;
  /** Do something, and tell the person when it did not work; false then. */
  attempt(work: Promise<unknown>, what: string): Promise<boolean>;
  /** Look at a file of the workspace. */
  openFile(path: string): void;
  /** Begin another session with everything up to an event. */
  fork(at: number): void;
  /** What somebody is called; the person themselves is "you". */
  nameOf(person: Person | null): string;
}

export const AGENT = Symbol('agent');
