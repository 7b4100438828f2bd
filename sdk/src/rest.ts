/** The HTTP side: identity, lists, files. Every failure is a `ParlourError`. */

import { isRecord, ParlourError, unanswered } from './errors.js';
import { newId } from './ids.js';
import type { FileRef, Message, Right, Sharing, ThreadRow } from './protocol.js';

export interface User {
  id: string;
  name: string;
  role: string;
}

export interface SignedIn {
  token: string;
  /** Milliseconds since 1970 UTC. */
  expires_at: number;
  user: User;
}

export interface AuthConfig {
  sign_up: boolean;
  anonymous: boolean;
  password: boolean;
  header: boolean;
  app: { name: string; description?: string };
}

export interface Starter {
  label: string;
  message: string;
  icon?: string | null;
}

export interface Profile {
  name: string;
  markdown_description?: string;
  display_name?: string;
  icon?: string | null;
  default?: boolean;
  starters?: Starter[];
}

export interface Widget {
  type: 'select' | 'slider' | 'switch' | 'text' | 'number';
  id: string;
  label: string;
  initial?: unknown;
  description?: string;
  tooltip?: string;
  placeholder?: string;
  /** The choices of a select. */
  items?: { label: string; value: string }[];
  min?: number;
  max?: number;
  step?: number;
  multiline?: boolean;
  disabled?: boolean;
}

export interface AppInfo {
  name: string;
  description?: string;
  profiles: Profile[];
  starters: Starter[];
  settings: Widget[];
  limits: { max_message_bytes: number; max_file_bytes: number };
}

export interface VersionInfo {
  version: string;
  deployment_id: string;
  protocol: number;
}

export interface Paged<T> {
  items: T[];
  next_cursor: string | null;
}

export interface UploadOptions {
  threadId?: string;
  /** Hears the share that was sent, 0 to 1. */
  onProgress?: (share: number) => void;
  signal?: AbortSignal;
}

export interface ApiOptions {
  /** Origin of the server; the page's own by default. */
  url?: string;
  /** A token, or where to get one; without it the cookie decides. */
  token?: string | null | (() => string | null);
  /** Milliseconds for a whole answer, 30,000 by default; uploads have no limit. A connection that the browser kept
   * may be half open, and then nothing else would ever end the call. */
  timeoutMs?: number;
}

type Query = Record<string, string | number | boolean | undefined>;

export class Api {
  readonly #url: string;
  readonly #token: ApiOptions['token'];
  readonly #timeoutMs: number;

  constructor(options: ApiOptions = {}) {
    this.#url = (options.url ?? '').replace(/\/$/, '');
    this.#token = options.token;
    this.#timeoutMs = options.timeoutMs ?? 30_000;
  }

  signIn(login: string, password: string): Promise<SignedIn> {
    return this.#send('POST', '/api/auth/sign-in', { login, password });
  }

  signUp(name: string, password: string, email?: string): Promise<SignedIn> {
    return this.#send('POST', '/api/auth/sign-up', { name, password, ...(email ? { email } : {}) });
  }

  /** A user of one's own without an account, where the server allows it. */
  signInAnonymously(): Promise<SignedIn> {
    return this.#send('POST', '/api/auth/anonymous', {});
  }

  /** By what a proxy in front of the server says of the caller. */
  signInByHeaders(): Promise<SignedIn> {
    return this.#send('POST', '/api/auth/header', {});
  }

  async signOut(): Promise<void> {
    await this.#send('POST', '/api/auth/sign-out', {});
  }

  refresh(): Promise<SignedIn> {
    return this.#send('POST', '/api/auth/refresh', {});
  }

  me(): Promise<User> {
    return this.#send('GET', '/api/auth/me');
  }

  authConfig(): Promise<AuthConfig> {
    return this.#send('GET', '/api/auth/config');
  }

  app(threadId?: string, profile?: string): Promise<AppInfo> {
    return this.#send('GET', '/api/app', undefined, { thread_id: threadId, profile });
  }

  version(): Promise<VersionInfo> {
    return this.#send('GET', '/api/version');
  }

  /** One's own conversations, or with `shared` those that others share; newest activity first. */
  threads(
    query: { cursor?: string; limit?: number; search?: string; shared?: boolean } = {},
  ): Promise<Paged<ThreadRow>> {
    return this.#send('GET', '/api/threads', undefined, query);
  }

  thread(id: string): Promise<ThreadRow> {
    return this.#send('GET', `/api/threads/${encodeURIComponent(id)}`);
  }

  renameThread(id: string, title: string): Promise<ThreadRow> {
    return this.#send('PATCH', `/api/threads/${encodeURIComponent(id)}`, { title });
  }

  async deleteThread(id: string): Promise<void> {
    await this.#send('DELETE', `/api/threads/${encodeURIComponent(id)}`);
  }

  /** For the owner and administrators. */
  sharing(threadId: string): Promise<Sharing> {
    return this.#send('GET', grantsPath(threadId));
  }

  /** Give and (null) take away; who is not named keeps what they have. */
  share(threadId: string, grants: Record<string, Right | null>): Promise<Sharing> {
    return this.#send('PATCH', grantsPath(threadId), { grants, command_id: newId() });
  }

  /** Take one grant away; with one's own `user:{id}` a guest leaves the conversation. */
  async unshare(threadId: string, principal: string): Promise<void> {
    await this.#send('DELETE', `${grantsPath(threadId)}/${encodeURIComponent(principal)}`);
  }

  messages(
    threadId: string,
    query: { before?: string; limit?: number } = {},
  ): Promise<Paged<Message>> {
    const path = `/api/threads/${encodeURIComponent(threadId)}/messages`;
    return this.#send('GET', path, undefined, query);
  }

  /** Send a file, with progress: `fetch` cannot tell how much of a request has left. */
  upload(file: File | Blob, options: UploadOptions = {}): Promise<FileRef> {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      const form = new FormData();
      form.append('file', file, file instanceof File ? file.name : 'file');
      if (options.threadId) form.append('thread_id', options.threadId);
      request.open('POST', `${this.#url}/api/files`);
      request.withCredentials = true;
      request.responseType = 'text';
      for (const [name, value] of Object.entries(this.#headers())) {
        request.setRequestHeader(name, value);
      }
      request.upload.onprogress = ({ loaded, total, lengthComputable }) => {
        if (lengthComputable) options.onProgress?.(loaded / total);
      };
      request.onload = () => {
        const body = parse(request.responseText);
        if (request.status < 400) resolve(body as FileRef);
        else reject(problem(request.status, body));
      };
      request.onerror = () => reject(unanswered('The file could not be sent.'));
      request.onabort = () => reject(new ParlourError({ code: 'aborted', message: 'Cancelled.' }));
      options.signal?.addEventListener('abort', () => request.abort(), { once: true });
      request.send(form);
    });
  }

  /** Any other call. */
  request<T>(method: string, path: string, body?: unknown, query?: Query): Promise<T> {
    return this.#send(method, path, body, query);
  }

  async #send<T>(method: string, path: string, body?: unknown, query?: Query): Promise<T> {
    const headers = this.#headers();
    if (body !== undefined) headers['content-type'] = 'application/json';
    let response: Response;
    let text: string;
    try {
      response = await fetch(this.#url + path + toQuery(query), {
        method,
        headers,
        credentials: 'include',
        signal: AbortSignal.timeout(this.#timeoutMs),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      text = await response.text();
    } catch {
      throw unanswered('The server cannot be reached.');
    }
    const answer = parse(text);
    if (!response.ok) throw problem(response.status, answer);
    return answer as T;
  }

  #headers(): Record<string, string> {
    const token = typeof this.#token === 'function' ? this.#token() : this.#token;
    return {
      accept: 'application/json',
      ...(token ? { authorization: `Bearer ${token}` } : {}),
    };
  }
}

function grantsPath(threadId: string): string {
  return `/api/threads/${encodeURIComponent(threadId)}/grants`;
}

function toQuery(query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== '');
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text && `?${text}`;
}

function parse(text: string): unknown {
  try {
    return text === '' ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

/** Read problem details (RFC 9457), or whatever a proxy in between answered. */
function problem(status: number, body: unknown): ParlourError {
  const fields = isRecord(body) ? body : {};
  const told = [fields['detail'], fields['title']].find((value) => typeof value === 'string');
  return new ParlourError({
    code: typeof fields['code'] === 'string' ? fields['code'] : `http_${status}`,
    message: (told as string | undefined) ?? `The server answered with status ${status}.`,
    retryable: fields['retryable'] === true || status === 503 || status === 429,
    status,
    details: fields,
    ...(typeof fields['reference'] === 'string' ? { reference: fields['reference'] } : {}),
  });
}
