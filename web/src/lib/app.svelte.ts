/** The page's state above any one conversation: who is signed in, the connection, the app's description. */

import {
  Api,
  connect,
  newId,
  ParlourError,
  type AppInfo,
  type AuthConfig,
  type Connection,
  type ConnectionState,
  type SignedIn,
  type User,
} from '@parlour/sdk';
import { toast } from 'svelte-sonner';

import { router } from './router.svelte';
import { ThreadList } from './threads.svelte';

const SESSION_KEY = 'parlour.session';
const DRAFT_KEY = 'parlour.draft:';

/** `starting`: asking who we are. `unreachable`: the server did not answer the first question. */
export type Gate = 'starting' | 'unreachable' | 'signed-out' | 'signed-in';

class App {
  gate = $state<Gate>('starting');
  user = $state.raw<User | null>(null);
  config = $state.raw<AuthConfig | null>(null);
  info = $state.raw<AppInfo | null>(null);
  profile = $state<string | null>(null);
  connection = $state.raw<Connection | null>(null);
  link = $state.raw<ConnectionState>({ phase: 'connecting', error: null, retryAt: null });
  threads = $state.raw<ThreadList | null>(null);
  /** Why the person was signed out, for the sign-in page. */
  notice = $state<string | null>(null);
  readonly api = new Api();
  #returnTo = '/';

  get name(): string {
    return this.info?.name ?? this.config?.app.name ?? 'Parlour';
  }

  async start(): Promise<void> {
    this.gate = 'starting';
    try {
      this.config = await this.api.authConfig();
      await this.#enter(await this.api.me());
    } catch (error) {
      if (isUnauthenticated(error)) this.#leave();
      else this.gate = 'unreachable';
    }
  }

  async signIn(login: string, password: string): Promise<void> {
    await this.#entered(await this.api.signIn(login, password));
  }

  async signUp(name: string, password: string, email: string): Promise<void> {
    await this.#entered(await this.api.signUp(name, password, email || undefined));
  }

  async signOut(): Promise<void> {
    this.#disconnect();
    try {
      await this.api.signOut();
    } catch (error) {
      report(error, 'Signing out failed');
    }
    clearTab();
    this.notice = null;
    this.#returnTo = '/';
    this.#leave();
  }

  chooseProfile(name: string): void {
    if (name === this.profile) return;
    this.profile = name;
    this.#connect();
    router.go('/');
  }

  async #entered(answer: SignedIn): Promise<void> {
    this.notice = null;
    await this.#enter(answer.user);
  }

  async #enter(user: User): Promise<void> {
    this.user = user;
    this.info = await this.api.app();
    const profiles = this.info.profiles;
    this.profile = (profiles.find((profile) => profile.default) ?? profiles[0])?.name ?? null;
    this.#connect();
    this.gate = 'signed-in';
    document.title = this.name;
    if (router.route.name === 'sign-in' || router.route.name === 'sign-up') {
      router.go(this.#returnTo, { replace: true });
    }
  }

  #leave(): void {
    this.#disconnect();
    this.user = null;
    this.gate = 'signed-out';
    if (router.route.name !== 'sign-in' && router.route.name !== 'sign-up') {
      this.#returnTo = router.path;
      router.go('/sign-in', { replace: true });
    }
  }

  #connect(): void {
    this.#disconnect();
    const connection = connect({
      sessionId: tabSession(),
      ...(this.profile ? { chatProfile: this.profile } : {}),
      onRefused: (error) => this.#refused(error),
    });
    connection.state.subscribe((state) => {
      if (this.connection === connection) this.link = state;
    });
    this.connection = connection;
    this.link = connection.state.get();
    this.threads = new ThreadList(this.api, connection, this.user!.id);
  }

  #disconnect(): void {
    this.threads?.close();
    this.threads = null;
    const connection = this.connection;
    this.connection = null;
    connection?.close();
  }

  #refused(error: ParlourError): void {
    if (error.code !== 'unauthenticated' && error.code !== 'token_expired') return;
    this.notice =
      error.code === 'token_expired'
        ? 'Your session has expired. Sign in again to continue.'
        : 'You have been signed out.';
    this.#leave();
  }
}

function isUnauthenticated(error: unknown): boolean {
  return error instanceof ParlourError && error.status === 401;
}

/** Names this tab across reloads; another tab is another session. */
function tabSession(): string {
  try {
    const known = sessionStorage.getItem(SESSION_KEY);
    if (known) return known;
    const fresh = newId();
    sessionStorage.setItem(SESSION_KEY, fresh);
    return fresh;
  } catch {
    return newId();
  }
}

function clearTab(): void {
  try {
    sessionStorage.clear();
  } catch {
    // Nothing was stored then.
  }
}

/** What was typed into a conversation and not sent; kept for the tab. */
export const drafts = {
  get(threadId: string): string {
    try {
      return sessionStorage.getItem(DRAFT_KEY + threadId) ?? '';
    } catch {
      return '';
    }
  },
  set(threadId: string, text: string): void {
    try {
      if (text) sessionStorage.setItem(DRAFT_KEY + threadId, text);
      else sessionStorage.removeItem(DRAFT_KEY + threadId);
    } catch {
      // A full or forbidden storage costs the draft on reload, nothing else.
    }
  },
};

/** Tell a person that something they asked for did not happen. */
export function report(error: unknown, what: string): void {
  const known = error instanceof ParlourError ? error : null;
  if (known?.code === 'aborted') return;
  const reference = known?.reference ? ` (reference ${known.reference})` : '';
  toast.error(what, {
    description: known ? known.message + reference : 'Something unexpected went wrong.',
  });
  if (!known) console.error(error);
}

export const app = new App();
