import { address, pathBelow } from './base';

export type Route =
  | { name: 'new' }
  | { name: 'thread'; id: string }
  | { name: 'channels' }
  | { name: 'channel'; id: string }
  | { name: 'notes' }
  | { name: 'note'; id: string }
  | { name: 'agents' }
  | { name: 'agent'; id: string }
  | { name: 'admin' }
  | { name: 'settings' }
  | { name: 'sign-in' }
  | { name: 'sign-up' }
  | { name: 'not-found' };

export function parseRoute(path: string): Route {
  const parts = path.split('/').filter(Boolean);
  if (parts.length === 0) return { name: 'new' };
  if (parts.length === 1 && parts[0] === 'sign-in') return { name: 'sign-in' };
  if (parts.length === 1 && parts[0] === 'sign-up') return { name: 'sign-up' };
  if (parts.length === 1 && parts[0] === 'channels') return { name: 'channels' };
  if (parts.length === 1 && parts[0] === 'admin') return { name: 'admin' };
  if (parts.length === 1 && parts[0] === 'settings') return { name: 'settings' };
  if (parts.length === 1 && parts[0] === 'notes') return { name: 'notes' };
  if (parts.length === 1 && parts[0] === 'agents') return { name: 'agents' };
  const id = parts[1];
  if (parts.length === 2 && parts[0] === 'channels' && id && /^[\w-]{1,200}$/.test(id)) {
    return { name: 'channel', id };
  }
  if (parts.length === 2 && parts[0] === 'notes' && id && /^[A-Za-z0-9][\w-]{7,63}$/.test(id)) {
    return { name: 'note', id };
  }
  if (parts.length === 2 && parts[0] === 'agents' && id && /^[A-Za-z0-9][\w-]{7,63}$/.test(id)) {
    return { name: 'agent', id };
  }
  if (parts.length === 2 && parts[0] === 'c' && id && /^[A-Za-z0-9][\w-]{7,63}$/.test(id)) {
    return { name: 'thread', id };
  }
  return { name: 'not-found' };
}

/** The path of a conversation, below the application's root. */
export function threadPath(id: string): string {
  return `/c/${encodeURIComponent(id)}`;
}

export function channelPath(id: string): string {
  return `/channels/${encodeURIComponent(id)}`;
}

export function notePath(id: string): string {
  return `/notes/${encodeURIComponent(id)}`;
}

export function agentPath(id: string): string {
  return `/agents/${encodeURIComponent(id)}`;
}

class Router {
  /** Below the application's root. */
  path = $state(pathBelow(location.pathname));
  route = $derived(parseRoute(this.path));

  constructor() {
    addEventListener('popstate', () => (this.path = pathBelow(location.pathname)));
  }

  go(path: string, { replace = false } = {}): void {
    if (path !== this.path) {
      if (replace) history.replaceState(null, '', address(path));
      else history.pushState(null, '', address(path));
    }
    this.path = path;
  }

  /** For `onclick` on a link: modified clicks stay the browser's. */
  link = (event: MouseEvent): void => {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const anchor = event.currentTarget as HTMLAnchorElement;
    event.preventDefault();
    this.go(pathBelow(anchor.pathname));
  };
}

export const router = new Router();
