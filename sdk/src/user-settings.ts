/** What a person chose, the same on all of their devices. */

import { isRecord } from './errors.js';
import type { StreamEvent } from './protocol.js';
import type { Api } from './rest.js';
import { Store, type Readable } from './store.js';
import type { UserStream } from './user-stream.js';

const PATH = '/api/users/me/settings';

export type Settings = Readonly<Record<string, unknown>>;

const NONE: Settings = {};

export interface SettingsState {
  settings: Settings;
  /** Rises with every change; 0 before anything is known. */
  version: number;
}

/** The newer of two states, whichever came first. */
export function foldSettings(
  state: SettingsState,
  event: Pick<StreamEvent, 'type' | 'data'>,
): SettingsState {
  const { settings, version } = event.data;
  if (event.type !== 'settings:changed' || !isRecord(settings)) return state;
  if (typeof version !== 'number' || version <= state.version) return state;
  return { settings, version };
}

/** A store of the settings themselves. */
export class UserSettings implements Readable<Settings> {
  readonly #api: Api;
  readonly #state = new Store<SettingsState>({ settings: NONE, version: 0 });
  readonly #settings = new Store<Settings>(NONE);
  #saving = 0;
  readonly #unhear: () => void;

  constructor(api: Api, stream: UserStream) {
    this.#api = api;
    this.#unhear = stream.hear({
      event: (event) => this.#take(event.type, event.data),
      gap: () => void this.reload(),
    });
    void this.reload();
  }

  get(): Settings {
    return this.#settings.get();
  }

  subscribe(run: (settings: Settings) => void): () => void {
    return this.#settings.subscribe(run);
  }

  /** Rejects where the server cannot be reached; what is known stays. */
  async read(): Promise<void> {
    this.#take('settings:changed', await this.#api.request('GET', PATH));
  }

  /** As `read`, for callers with nobody to tell: the next change or gap brings what was missed. */
  reload(): Promise<void> {
    return this.read().catch(() => undefined);
  }

  /** Change some; null removes one. All devices hear of it. */
  async save(changes: Settings): Promise<void> {
    await this.#send('PATCH', changes);
  }

  /** These and no others. */
  async replace(settings: Settings): Promise<void> {
    await this.#send('PUT', settings);
  }

  close(): void {
    this.#unhear();
  }

  async #send(method: 'PATCH' | 'PUT', settings: Settings): Promise<void> {
    this.#saving += 1;
    try {
      this.#take('settings:changed', await this.#api.request(method, PATH, { settings }));
    } finally {
      this.#saving -= 1;
      this.#tell();
    }
  }

  #take(type: string, data: Record<string, unknown>): void {
    this.#state.update((state) => foldSettings(state, { type, data }));
    this.#tell();
  }

  /** While a choice is on its way, an answer that was read before it would take the choice back for a moment. */
  #tell(): void {
    const { settings } = this.#state.get();
    if (this.#saving === 0 && settings !== this.#settings.get()) this.#settings.set(settings);
  }
}
