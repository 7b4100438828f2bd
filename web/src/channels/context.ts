import type { Channel, ChannelMember, ChannelMessage, People } from '@parlour/sdk';

export const CHANNEL = Symbol('channel');

export type Panel =
  | { kind: 'replies'; parentId: string }
  | { kind: 'members' }
  | { kind: 'pins' }
  | { kind: 'search' };

/** What the parts of a channel's page may do and need to know. */
export interface ChannelContext {
  channel: Channel;
  readonly members: readonly ChannelMember[];
  readonly people: People;
  /** May this person say something here. */
  readonly writes: boolean;
  readonly pins: boolean;
  readonly leads: boolean;
  open(panel: Panel | null): void;
  quote(message: ChannelMessage): void;
  /** The message whose text is being changed. */
  readonly editing: string | null;
  edit(messageId: string | null): void;
  /** Show a message where it was said. */
  reveal(message: ChannelMessage): Promise<void>;
  /** Do it, and tell the person when it failed. */
  attempt(work: Promise<unknown>, what: string): Promise<boolean>;
}
