export type Route =
  | { name: 'new' }
  | { name: 'thread'; id: string }
  | { name: 'sign-in' }
  | { name: 'sign-up' }
  | { name: 'not-found' };

export function parseRoute(path: string): Route {
  const parts = path.split('/').filter(Boolean);
  if (parts.length === 0) return { name: 'new' };
  if (parts.length === 1 && parts[0] === 'sign-in') return { name: 'sign-in' };
  if (parts.length === 1 && parts[0] === 'sign-up') return { name: 'sign-up' };
  const id = parts[1];
  if (parts.length === 2 && parts[0] === 'c' && id && /^[A-Za-z0-9][\w-]{7,63}$/.test(id)) {
    return { name: 'thread', id };
  }
  return { name: 'not-found' };
}

export function threadPath(id: string): string {
  return `/c/${encodeURIComponent(id)}`;
}

class Router {
  path = $state(location.pathname);
  route = $derived(parseRoute(this.path));

  constructor() {
    addEventListener('popstate', () => (this.path = location.pathname));
  }

  go(path: string, { replace = false } = {}): void {
    if (path !== location.pathname) {
      if (replace) history.replaceState(null, '', path);
      else history.pushState(null, '', path);
    }
    this.path = path;
  }

  /** For `onclick` on a link: modified clicks stay the browser's. */
  link = (event: MouseEvent): void => {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const anchor = event.currentTarget as HTMLAnchorElement;
    event.preventDefault();
    this.go(anchor.pathname);
  };
}

export const router = new Router();
