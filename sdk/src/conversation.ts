/**
 * One conversation as a view: what the stream says, older messages above it, and what this client has
 * sent but not yet seen come back.
 */

import type { Answer, PendingCommand } from './commands.js';
import type { Connection } from './connection.js';
import { digest } from './digest.js';
import { isRecord, type ParlourError } from './errors.js';
import { newId } from './ids.js';
import type {
  Action,
  FileRef,
  Message,
  StreamEvent,
  ThreadPermission,
  ThreadSnapshot,
} from './protocol.js';
import { Store, type Readable } from './store.js';
import type { Follower } from './streams.js';
import { EMPTY_THREAD, EVENT_TYPES, fold, threadFromSnapshot, type ThreadState } from './thread.js';

/** A view keeps more than a snapshot holds, so that messages do not vanish above a reader. */
const VIEW_WINDOW = 10_000;

/** A message of this client that the stream has not shown yet. */
export interface PendingMessage {
  command_id: string;
  content: string;
  files: FileRef[];
  created_at: number;
  state: PendingCommand['state'];
  error: ParlourError | null;
}

export type OlderState = 'idle' | 'loading' | 'failed' | 'complete';

export interface ConversationView {
  /** `opening`: nothing known yet. `open`: shown state is whole, even while it is catching up. `failed`: it
   * may not be read, or no longer; nothing of it is held. It opens by itself where access is given (back). */
  phase: 'opening' | 'open' | 'failed';
  error: ParlourError | null;
  /** What this person may do here; null until the server said it. */
  permission: ThreadPermission | null;
  thread: ThreadState;
  /** Messages before those of the stream's window, oldest first. */
  older: readonly Message[];
  olderState: OlderState;
  pending: readonly PendingMessage[];
  /** A Stop was sent and the run has not ended yet. */
  stopping: boolean;
}

/** A page of messages before a cursor, oldest first. The first cursor is the offset of the oldest message
 * that is known. */
export type History = (
  threadId: string,
  before: string | undefined,
) => Promise<{ items: Message[]; next_cursor: string | null }>;

export interface ConversationOptions {
  /** Where older messages come from. */
  history?: History;
  /** Hears events that change no state, such as `notification`, `settings` and `chat:access`; live ones only. */
  onSignal?: (event: StreamEvent) => void;
  /** Runs work once per frame; events in between are folded together. Immediately by default. */
  schedule?: (work: () => void) => void;
}

export class Conversation {
  readonly threadId: string;
  readonly #connection: Connection;
  readonly #options: ConversationOptions;
  readonly #view: Store<ConversationView>;
  readonly #follower: Follower;
  readonly #unwatch: () => void;
  readonly #unhear: () => void;
  readonly #seen = new Set<string>();
  #queued: StreamEvent[] = [];
  #scheduled = false;
  #cursor: string | undefined;
  /** Counts how often what is shown became somebody else's. */
  #generation = 0;
  #closed = false;

  constructor(connection: Connection, threadId: string, options: ConversationOptions = {}) {
    this.threadId = threadId;
    this.#connection = connection;
    this.#options = options;
    this.#view = new Store<ConversationView>({
      phase: 'opening',
      error: null,
      permission: null,
      thread: EMPTY_THREAD,
      older: [],
      olderState: 'idle',
      pending: [],
      stopping: false,
    });
    this.#follower = connection.follow(`thread:${threadId}`, {
      snapshot: (snapshot) => this.#replace(snapshot as unknown as ThreadSnapshot),
      joined: (answer) => this.#permit(answer['permission']),
      events: (events) => this.#queue(events),
      failed: (error) => this.#fail(error),
      current: (current) => {
        if (current) this.#open();
      },
    });
    this.#unwatch = connection.outbox.pending.subscribe(() => this.#showPending());
    this.#unhear = connection.on('access:updated', (payload) => {
      const { room, permission } = isRecord(payload) ? payload : {};
      if (room === this.#follower.stream) this.#permit(permission);
    });
  }

  get view(): Readable<ConversationView> {
    return this.#view;
  }

  subscribe(run: (view: ConversationView) => void): () => void {
    return this.#view.subscribe(run);
  }

  /** Send a message. Resolves once the server has it; it is shown as pending until then. */
  send(content: string, files: readonly FileRef[] = [], data?: Record<string, unknown>) {
    return this.#connection.outbox.submit('message:send', {
      thread_id: this.threadId,
      content,
      ...(files.length > 0 ? { files } : {}),
      ...(data ? { data } : {}),
    });
  }

  /** Stop every run of the conversation. */
  async stop(): Promise<Answer> {
    this.#change({ stopping: true });
    try {
      const answer = await this.#command('run:stop', { thread_id: this.threadId });
      // Nothing ran any more, or what runs does not end: it may be asked again.
      if (answer['accepted'] === false) this.#change({ stopping: false });
      return answer;
    } catch (error) {
      this.#change({ stopping: false });
      throw error;
    }
  }

  /** Answer an ask: a text, `{action_id}` or `{files: [id]}`. Resolves with `accepted: false` when somebody
   * else was faster. */
  answer(askId: string, answer: unknown): Promise<Answer> {
    return this.#command('ask:answer', { ask_id: askId, thread_id: this.threadId, answer });
  }

  /** Press an action button. */
  act(action: Action, messageId?: string): Promise<Answer> {
    return this.#command('action:call', {
      thread_id: this.threadId,
      action: { id: action.id, name: action.name, payload: action.payload ?? {} },
      ...(messageId ? { message_id: messageId } : {}),
    });
  }

  updateSettings(settings: Record<string, unknown>): Promise<Answer> {
    return this.#command('settings:update', { thread_id: this.threadId, settings });
  }

  /** Hand the app data of the page that embeds this one. */
  tellFromWindow(data: unknown): Promise<Answer> {
    return this.#command('window:message', { thread_id: this.threadId, data });
  }

  edit(messageId: string, content: string): Promise<Answer> {
    return this.#command('message:edit', {
      thread_id: this.threadId,
      message_id: messageId,
      content,
    });
  }

  remove(messageId: string): Promise<Answer> {
    return this.#command('message:delete', { thread_id: this.threadId, message_id: messageId });
  }

  react(messageId: string, name: string, on: boolean): Promise<Answer> {
    return this.#command('message:react', {
      thread_id: this.threadId,
      message_id: messageId,
      name,
      on,
    });
  }

  retry(commandId: string): void {
    this.#connection.outbox.retry(commandId);
  }

  dismiss(commandId: string): void {
    this.#connection.outbox.dismiss(commandId);
  }

  /** Fetch the page of messages before the oldest one shown. */
  async loadOlder(): Promise<void> {
    const { history } = this.#options;
    const view = this.#view.get();
    if (!history || view.olderState === 'loading' || view.olderState === 'complete') return;
    this.#change({ olderState: 'loading' });
    const generation = this.#generation;
    try {
      const oldest = view.older[0] ?? [...view.thread.messages.values()][0];
      const first = oldest ? String(oldest.offset) : undefined;
      const page = await history(this.threadId, this.#cursor ?? first);
      if (generation === this.#generation) this.#prepend(page.items, page.next_cursor);
    } catch {
      if (generation === this.#generation) this.#change({ olderState: 'failed' });
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#unwatch();
    this.#unhear();
    this.#follower.close();
  }

  /** A command whose failure is the caller's to show; it does not stay in the outbox. */
  #command(event: string, payload: Record<string, unknown>): Promise<Answer> {
    const commandId = newId();
    return this.#connection.outbox.submit(event, payload, commandId).catch((error: unknown) => {
      this.#connection.outbox.dismiss(commandId);
      throw error;
    });
  }

  #replace(snapshot: ThreadSnapshot): void {
    this.#queued = [];
    const thread = threadFromSnapshot(snapshot);
    this.#change({
      phase: 'open',
      error: null,
      thread,
      older: this.#view.get().older.filter((message) => !thread.messages.has(message.id)),
      olderState: thread.truncated ? this.#view.get().olderState : 'complete',
      stopping: this.#view.get().stopping && thread.runs.size > 0,
      pending: this.#unseen(thread),
    });
  }

  #permit(permission: unknown): void {
    if (permission !== 'owner' && permission !== 'write' && permission !== 'read') return;
    if (permission !== this.#view.get().permission) this.#change({ permission });
  }

  /** Nothing of what was shown may stay: it is somebody else's now. */
  #fail(error: ParlourError): void {
    this.#generation += 1;
    this.#queued = [];
    this.#cursor = undefined;
    this.#change({
      ...{ phase: 'failed', error, permission: null, thread: EMPTY_THREAD },
      ...{ older: [], olderState: 'idle', pending: [], stopping: false },
    });
  }

  #open(): void {
    this.#flush();
    const { phase, thread, olderState } = this.#view.get();
    if (phase === 'open') return;
    this.#change({
      phase: 'open',
      error: null,
      olderState: thread.truncated ? olderState : 'complete',
    });
  }

  #queue(events: readonly StreamEvent[]): void {
    this.#queued.push(...events);
    const { schedule } = this.#options;
    if (!schedule) {
      this.#flush();
    } else if (!this.#scheduled) {
      this.#scheduled = true;
      schedule(() => this.#flush());
    }
  }

  #flush(): void {
    this.#scheduled = false;
    const events = this.#queued;
    if (events.length === 0 || this.#closed) return;
    this.#queued = [];
    for (const event of events) {
      if (event.cause) this.#seen.add(event.cause);
      if (!EVENT_TYPES.has(event.type)) this.#options.onSignal?.(event);
    }
    const thread = fold(this.#view.get().thread, events, VIEW_WINDOW);
    const ended = events.some((event) => event.type === 'run:ended');
    this.#change({
      thread,
      stopping: this.#view.get().stopping && !(ended && thread.runs.size === 0),
      pending: this.#unseen(thread),
    });
    this.#verify(events, thread);
  }

  /** Compare finished texts with what the server says they are. A difference means that something was
   * lost or doubled on the way: take a fresh snapshot. */
  #verify(events: readonly StreamEvent[], thread: ThreadState): void {
    // Later events may already have changed the text again.
    const last = new Map(events.map((event) => [event.data['id'], event]));
    for (const event of last.values()) {
      const message = thread.messages.get(event.data['id'] as string);
      if (event.type !== 'message:done' || !message || typeof event.data['hash'] !== 'string') {
        continue;
      }
      if (digest(message.content).hash !== event.data['hash']) {
        this.#follower.reset();
        return;
      }
    }
  }

  #prepend(items: readonly Message[], next: string | null): void {
    const { older, thread } = this.#view.get();
    const known = new Set(older.map((message) => message.id));
    const fresh = items.filter((item) => !known.has(item.id) && !thread.messages.has(item.id));
    this.#cursor = next ?? undefined;
    this.#change({
      older: [...fresh, ...older],
      olderState: next ? 'idle' : 'complete',
    });
  }

  #showPending(): void {
    if (this.#view.get().phase === 'failed') return;
    const pending = this.#unseen(this.#view.get().thread);
    if (pending.length > 0 || this.#view.get().pending.length > 0) this.#change({ pending });
  }

  /** Messages that wait in the outbox and that `thread` does not show yet. */
  #unseen(thread: ThreadState): PendingMessage[] {
    return this.#connection.outbox.pending
      .get()
      .filter((command) => isMessageOf(command, this.threadId) && !this.#shown(command, thread))
      .map(toPendingMessage);
  }

  /** The stream may show a message before the acknowledgement of its command arrives. */
  #shown({ command_id }: PendingCommand, thread: ThreadState): boolean {
    if (this.#seen.has(command_id) || thread.messages.has(command_id)) return true;
    for (const message of thread.messages.values()) {
      if (message.command_id === command_id) return true;
    }
    return false;
  }

  #change(changes: Partial<ConversationView>): void {
    if (!this.#closed) this.#view.set({ ...this.#view.get(), ...changes });
  }
}

function isMessageOf(command: PendingCommand, threadId: string): boolean {
  return command.event === 'message:send' && command.payload['thread_id'] === threadId;
}

function toPendingMessage(command: PendingCommand): PendingMessage {
  const { content, files } = command.payload;
  return {
    command_id: command.command_id,
    content: typeof content === 'string' ? content : '',
    files: Array.isArray(files) ? (files as FileRef[]) : [],
    created_at: command.created_at,
    state: command.state,
    error: command.error,
  };
}
