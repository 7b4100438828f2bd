/** What a person can choose to talk to, and how many sessions use each model now. */

import type { Connection } from './connection.js';
import { List, type Listed } from './lists.js';
import type { Api, Profile } from './rest.js';
import type { Readable } from './store.js';

export interface Model {
  id: string;
  /** Sessions that use it now, over all nodes. */
  sessions: number;
  /** The app's profile of this name, where it offers one. */
  profile: Profile | null;
}

interface Usage {
  models: { id: string; sessions: number }[];
}

/** The app's profiles in their order, then models in use that are no profile. */
export function mergeModels(profiles: readonly Profile[], usage: Usage['models']): Model[] {
  const sessions = new Map(usage.map((one) => [one.id, one.sessions]));
  const offered = profiles.map((profile) => ({
    id: profile.name,
    sessions: sessions.get(profile.name) ?? 0,
    profile,
  }));
  const names = new Set(profiles.map(({ name }) => name));
  const others = usage.filter(({ id }) => !names.has(id));
  return [...offered, ...others.map((one) => ({ ...one, profile: null }))];
}

export class Models implements Readable<Listed<Model>> {
  readonly #list: List<Model>;
  readonly #stop: () => void;

  /** Read at each connect and with `reload`: use changes by the second, and nobody is told. */
  constructor(api: Api, connection: Connection) {
    this.#list = new List(async () => {
      const [app, usage] = await Promise.all([api.app(), api.request<Usage>('GET', '/api/usage')]);
      return mergeModels(app.profiles, usage.models);
    });
    this.#stop = connection.onConnected(() => this.#list.reloadSoon());
  }

  get(): Listed<Model> {
    return this.#list.get();
  }

  subscribe(run: (view: Listed<Model>) => void): () => void {
    return this.#list.subscribe(run);
  }

  reload(): Promise<void> {
    return this.#list.reload();
  }

  close(): void {
    this.#stop();
    this.#list.close();
  }
}
