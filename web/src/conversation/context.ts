import type { Action, Conversation } from '@parlour/sdk';

export const CONVERSATION = Symbol('conversation');

/** What the parts of a conversation may do to it. */
export interface ConversationContext {
  conversation: Conversation;
  /** The person may look, and do nothing. */
  readonly reads: boolean;
  /** More than one person writes here: messages say who wrote them. */
  readonly several: boolean;
  act(action: Action, messageId?: string): Promise<void>;
  /** False when the answer did not reach the server. */
  answer(askId: string, value: unknown): Promise<boolean>;
  /** The message whose text is being changed. */
  readonly editing: string | null;
  edit(messageId: string | null): void;
  /** False when the change did not reach the server. */
  save(messageId: string, content: string): Promise<boolean>;
  remove(messageId: string): Promise<void>;
}
