/** The page's state above any one conversation: who is signed in, the connection, the app's description. */

import {
  Api,
  connect,
  DocumentCopies,
  DurableCommands,
  newId,
  ParlourError,
  Tabs,
  unregisterWorkers,
  UnsentCommands,
  UserSettings,
  UserStream,
  Version,
  type AppInfo,
  type AuthConfig,
  type Connection,
  type ConnectionState,
  type PendingCommand,
  type SignedIn,
  type Unsent,
  type User,
} from '@parlour/sdk';
import { toast } from 'svelte-sonner';

import { Agents } from '../agents/directory.svelte';
import { Channels } from '../channels/directory.svelte';
import { Notes } from '../notes/directory.svelte';
import { address, BASE, storageKey } from './base';
import { environment } from './environment';
import { t } from './i18n.svelte';
import { showInvitation } from './invitations';
import { newThread } from './new-thread.svelte';
import { showNotice } from './notices';
import { preferences } from './preferences.svelte';
import { explain } from './problems';
import { isBusy, ownDeployment } from './reload';
import { router } from './router.svelte';
import { SharedThreads, ThreadList } from './threads.svelte';
import { tabTitle } from './title.svelte';

const SESSION_KEY = storageKey('session');
const DRAFT_KEY = `${storageKey('draft')}:`;
const USER_KEY = storageKey('user');
const EXPIRY_KEY = storageKey('expires');
/** `setTimeout` holds 31 bits. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** `starting`: asking who we are. `unreachable`: the server did not answer the first question. */
export type Gate = 'starting' | 'unreachable' | 'signed-out' | 'signed-in';

class App {
  gate = $state<Gate>('starting');
  user = $state.raw<User | null>(null);
  config = $state.raw<AuthConfig | null>(null);
  info = $state.raw<AppInfo | null>(null);
  profile = $state<string | null>(null);
  connection = $state.raw<Connection | null>(null);
  link = $state.raw<ConnectionState>({
    ...{ phase: 'connecting', error: null, retryAt: null },
    ...{ attempts: 0, offline: false },
  });
  /** This tab is the one of the person's that makes sounds and shows what concerns no tab in particular. */
  leads = $state(true);
  threads = $state.raw<ThreadList | null>(null);
  /** What others share with this person. */
  shared = $state.raw<SharedThreads | null>(null);
  channels = $state.raw<Channels | null>(null);
  notes = $state.raw<Notes | null>(null);
  agents = $state.raw<Agents | null>(null);
  /** The server is of another deployment than this page, which reloads when nobody is disturbed. */
  outdated = $state(false);
  /** What waits to be sent or was refused, in all conversations and channels, oldest first. */
  unsent = $state.raw<readonly Unsent[]>([]);
  commands = $state.raw<UnsentCommands | null>(null);
  /** Why the person was signed out, for the sign-in page. */
  notice = $state<string | null>(null);
  /** Names of what the app needs from this person and does not have (`user_env`). */
  missing = $state.raw<readonly string[] | null>(null);
  readonly api = new Api({ url: BASE });
  #returnTo = '/';
  #environment: Record<string, string> = {};
  #renewal: ReturnType<typeof setTimeout> | undefined;
  #commands: DurableCommands | null = null;
  #copies: DocumentCopies | null = null;
  #tabs: Tabs | null = null;
  #version: Version | null = null;
  /** What belongs to the present connection and ends with it. */
  #ends: (() => void)[] = [];

  get name(): string {
    return this.info?.name ?? this.config?.app.name ?? 'Parlour';
  }

  async start(): Promise<void> {
    // While the server is out of reach the page that says so stays.
    if (this.gate !== 'unreachable') this.gate = 'starting';
    try {
      this.config = await this.api.authConfig();
      await this.#enter(await this.#whoAmI());
    } catch (error) {
      if (isUnauthenticated(error)) this.#leave();
      else this.gate = 'unreachable';
    }
  }

  /** By the cookie, or by what a proxy in front says. Rejects with status 401. */
  async #whoAmI(): Promise<User> {
    try {
      return await this.api.me();
    } catch (error) {
      if (!isUnauthenticated(error) || !this.config?.header) throw error;
      const answer = await this.api.signInByHeaders();
      expiry.set(answer.expires_at);
      return answer.user;
    }
  }

  async signIn(login: string, password: string): Promise<void> {
    await this.#entered(await this.api.signIn(login, password));
  }

  async signUp(name: string, password: string, email: string): Promise<void> {
    await this.#entered(await this.api.signUp(name, password, email || undefined));
  }

  async signInAnonymously(): Promise<void> {
    await this.#entered(await this.api.signInAnonymously());
  }

  async signOut(): Promise<void> {
    try {
      await this.api.signOut();
    } catch (error) {
      if (!isUnauthenticated(error)) {
        // The cookie still stands: to look signed out would be a lie to the next person.
        report(error, t('error.signing-out'));
        return;
      }
    }
    this.#disconnect();
    clearTab();
    newThread.renew();
    if (this.user) environment.clear(this.user.id);
    // What was not sent is nobody's to find; where it cannot be removed, only the same person could.
    await this.#commands?.clear().catch(() => undefined);
    await this.#copies?.clear().catch(() => undefined);
    this.notice = null;
    this.#returnTo = '/';
    this.#leave();
  }

  /** End every session of this person, on all devices. */
  async signOutEverywhere(): Promise<void> {
    try {
      await this.api.request('POST', '/api/auth/sign-out-everywhere', {});
    } catch (error) {
      report(error, t('error.signing-out'));
      return;
    }
    await this.signOut();
  }

  /** Everybody else is told the new name with the next connection. */
  async rename(name: string): Promise<void> {
    this.user = await this.api.request<User>('PATCH', '/api/auth/me', { name });
    this.#connect();
  }

  /** All other sessions end; this one goes on with a new token. */
  async changePassword(current: string, password: string): Promise<void> {
    const answer = await this.api.request<SignedIn>('POST', '/api/auth/password', {
      current,
      password,
    });
    expiry.set(answer.expires_at);
    this.#renewLater();
  }

  /** Give the app what it asked for, and connect with it. */
  provide(values: Record<string, string>): void {
    environment.set(this.user!.id, values);
    this.#environment = values;
    this.#connect();
  }

  chooseProfile(name: string): void {
    if (name === this.profile) return;
    this.profile = name;
    this.#connect();
    newThread.renew();
    router.go('/');
    this.api.app(undefined, name).then(
      (info) => {
        if (this.profile === name) this.info = info;
      },
      // The starters of the other profile stay then; everything else works.
      () => undefined,
    );
  }

  async #entered(answer: SignedIn): Promise<void> {
    this.notice = null;
    expiry.set(answer.expires_at);
    await this.#enter(answer.user);
  }

  async #enter(user: User): Promise<void> {
    this.user = user;
    takeTab(user.id);
    this.#take(user.id);
    this.#environment = environment.get(user.id);
    this.info = await this.api.app();
    const profiles = this.info.profiles;
    this.profile = (profiles.find((profile) => profile.default) ?? profiles[0])?.name ?? null;
    this.#connect();
    this.#renewLater();
    this.gate = 'signed-in';
    tabTitle.page = this.name;
    if (router.route.name === 'sign-in' || router.route.name === 'sign-up') {
      router.go(this.#returnTo, { replace: true });
    }
  }

  /** Get a fresh token well before the present one ends, so that nobody is signed out while they work. */
  #renewLater(): void {
    clearTimeout(this.#renewal);
    const left = expiry.get() - Date.now();
    const delay = Math.min(Math.max(left * 0.75, 10_000), LONGEST_TIMER_MS);
    this.#renewal = setTimeout(() => void this.#renew(), delay);
  }

  async #renew(): Promise<void> {
    try {
      const answer = await this.api.refresh();
      expiry.set(answer.expires_at);
      await this.connection?.reauthenticate(answer.token);
    } catch {
      // The connection tells when the token has ended; until then the next attempt may succeed.
    }
    this.#renewLater();
  }

  /** What this page holds for one person, over all connections. */
  #take(userId: string): void {
    if (this.#commands?.userId === userId) return;
    this.#give();
    this.#commands = new DurableCommands({ userId, place: BASE });
    this.#copies = new DocumentCopies({ userId, place: BASE });
    const tabs = new Tabs({ name: `${BASE}:${userId}` });
    tabs.leads.subscribe((leads) => {
      this.leads = leads;
      document.documentElement.dataset['leads'] = String(leads);
    });
    this.#tabs = tabs;
  }

  #give(): void {
    void this.#commands?.close();
    void this.#copies?.close();
    this.#tabs?.close();
    this.#commands = this.#copies = this.#tabs = null;
  }

  async #askWho(): Promise<void> {
    const user = await this.api.me().catch(() => null);
    if (user && user.id !== this.user?.id) await this.start();
  }

  #leave(): void {
    clearTimeout(this.#renewal);
    this.#disconnect();
    this.#give();
    this.user = null;
    this.gate = 'signed-out';
    if (router.route.name !== 'sign-in' && router.route.name !== 'sign-up') {
      this.#returnTo = router.path;
      router.go('/sign-in', { replace: true });
    }
  }

  #connect(): void {
    this.#disconnect();
    this.missing = null;
    const connection = connect({
      path: address('/ws/socket.io'),
      sessionId: tabSession(),
      userId: this.user!.id,
      userEnv: this.#environment,
      ...(this.#commands ? { commands: this.#commands } : {}),
      ...(this.#tabs ? { tabs: this.#tabs } : {}),
      ...(this.profile ? { chatProfile: this.profile } : {}),
      onRefused: (error) => this.#refused(error),
    });
    connection.state.subscribe((state) => {
      if (this.connection === connection) this.link = state;
    });
    connection.outbox.pending.subscribe((pending) => reportLeft(connection, pending));
    connection.on('notification', showNotice);
    this.connection = connection;
    this.link = connection.state.get();
    const stream = new UserStream(connection, this.user!.id);
    stream.hear({
      event: ({ type, data }) => {
        if (type === 'notification' && this.leads) showNotice(data);
      },
    });
    const settings = new UserSettings(this.api, stream);
    const version = this.#watchVersion(connection);
    const unsent = this.#watchUnsent(connection);
    this.#ends = [
      preferences.attach(settings),
      ...[settings, version, unsent, stream].map((part) => () => part.close()),
    ];
    this.channels = new Channels(this.api, connection, stream);
    this.notes = new Notes(this.api, connection, this.#copies!);
    this.agents = new Agents(this.api, connection);
    this.threads = new ThreadList(this.api, stream);
    this.shared = new SharedThreads(this.api, stream, connection, (invitation) => {
      if (this.leads) showInvitation(invitation);
    });
  }

  #watchVersion(connection: Connection): Version {
    const version = new Version(connection.welcome, {
      own: ownDeployment(),
      ask: () => this.api.version(),
      busy: isBusy,
      prepare: unregisterWorkers,
      key: storageKey('reloads'),
    });
    version.subscribe(({ outdated }) => (this.outdated = outdated));
    this.#version = version;
    return version;
  }

  /** Load the page of the server's present deployment, now. Drafts and what waits are kept. */
  async reload(): Promise<void> {
    await this.#version?.reloadNow();
  }

  #watchUnsent(connection: Connection): UnsentCommands {
    const commands = new UnsentCommands(connection.outbox);
    commands.subscribe((list) => (this.unsent = list));
    this.commands = commands;
    return commands;
  }

  #disconnect(): void {
    for (const end of this.#ends.splice(0)) end();
    this.#version = null;
    this.commands = null;
    this.unsent = [];
    this.outdated = false;
    this.threads?.close();
    this.threads = null;
    this.shared?.close();
    this.shared = null;
    this.notes?.close();
    this.notes = null;
    this.agents?.close();
    this.agents = null;
    this.channels?.close();
    this.channels = null;
    const connection = this.connection;
    this.connection = null;
    connection?.close();
  }

  #refused(error: ParlourError): void {
    if (error.code === 'missing_user_env') this.missing = error.details['names'] as string[];
    // Another tab may have signed in as somebody else: so did this one, by the cookie they share. The
    // session is still that of the person before.
    if (error.code === 'another_user' || error.code === 'forbidden') void this.#askWho();
    if (error.code !== 'unauthenticated' && error.code !== 'token_expired') return;
    this.notice = error.code === 'token_expired' ? t('app.expired') : t('app.signed-out');
    this.#leave();
  }
}

/** Words are kept where they were written until their person decides. */
const SHOWN: ReadonlySet<string> = new Set(['message:send', 'oh_user_action']);

/** Refused commands of an earlier page that no conversation shows: nobody waits for them any more. */
function reportLeft({ outbox }: Connection, pending: readonly PendingCommand[]): void {
  const left = pending.filter(
    ({ restored, state, event }) => restored && state === 'failed' && !SHOWN.has(event),
  );
  for (const { command_id, error } of left) {
    outbox.dismiss(command_id);
    report(error, t('error.left-undone'));
  }
}

function isUnauthenticated(error: unknown): boolean {
  return error instanceof ParlourError && error.status === 401;
}

/** When the token in the cookie ends, for the timer alone; every tab sees the newest. */
const expiry = {
  get(): number {
    try {
      return Number(localStorage.getItem(EXPIRY_KEY) ?? 0);
    } catch {
      return 0;
    }
  },
  set(at: number): void {
    try {
      localStorage.setItem(EXPIRY_KEY, String(at));
    } catch {
      // The token is renewed sooner than needed then.
    }
  },
};

/** A tab's session, its drafts and its new conversation are its person's; nobody else gets them. */
function takeTab(userId: string): void {
  try {
    const before = sessionStorage.getItem(USER_KEY);
    if (before !== null && before !== userId) {
      clearTab();
      newThread.renew();
    }
    sessionStorage.setItem(USER_KEY, userId);
  } catch {
    newThread.renew();
  }
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
  const message = explain(error);
  const reference = known?.reference;
  toast.error(what, {
    description: reference ? t('error.reference', { message, reference }) : message,
  });
  if (!known) console.error(error);
}

export const app = new App();
