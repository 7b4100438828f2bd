/**
 * The service worker: the page opens without a network, and nothing more.
 *
 * It keeps the page's own files, which are the same for everybody. What the server answers about people and
 * what they wrote is never kept: those requests are not touched.
 */

declare const self: ServiceWorkerGlobalScope;

/** Filled in by the build: what is needed for the first paint, below the worker's own address, and a name
 * that changes whenever one of these files does. */
declare const SHELL: readonly string[];
declare const VERSION: string;

const CACHE = `parlour-${VERSION}`;
const SCOPE = new URL('./', self.location.href);
const INDEX = new URL('index.html', SCOPE).href;
/** What the server itself answers. */
const SERVER = /^(api|ws|health|metrics)(\/|$)/;

self.addEventListener('install', (event) => {
  event.waitUntil(install());
});

self.addEventListener('activate', (event) => {
  event.waitUntil(activate());
});

self.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== 'GET' || !url.href.startsWith(SCOPE.href)) return;
  const path = url.href.slice(SCOPE.href.length).replace(/[?#].*/, '');
  if (SERVER.test(path)) return;
  if (request.mode === 'navigate') event.respondWith(openPage(request));
  else if (path.startsWith('assets/')) event.respondWith(fromCache(request));
  else if (SHELL.includes(path)) event.respondWith(fromNetwork(request));
});

self.addEventListener('notificationclick', (event) => {
  event.notification.close();
  const { url } = (event.notification.data ?? {}) as { url?: string };
  event.waitUntil(show(new URL(url ?? './', SCOPE).href));
});

async function install(): Promise<void> {
  const cache = await caches.open(CACHE);
  // Past the browser's own cache: the files of one version belong together.
  await cache.addAll(SHELL.map((path) => new Request(new URL(path, SCOPE), { cache: 'reload' })));
  // Files are named by their content and the page itself comes from the network, so that an older page may go
  // on beside a newer worker.
  await self.skipWaiting();
}

async function activate(): Promise<void> {
  for (const name of await caches.keys()) {
    if (name.startsWith('parlour-') && name !== CACHE && (await isOurs(name))) {
      await caches.delete(name);
    }
  }
  await self.clients.claim();
}

/** Another application on this host has caches of its own. */
async function isOurs(name: string): Promise<boolean> {
  return (await (await caches.open(name)).match(INDEX)) !== undefined;
}

/** The server's page where there is a server; otherwise the one that was kept. */
async function openPage(request: Request): Promise<Response> {
  try {
    return await fetch(request);
  } catch (error) {
    const kept = await caches.match(INDEX, { cacheName: CACHE });
    if (kept) return kept;
    throw error;
  }
}

/** Named by their content: what was once right stays right. */
async function fromCache(request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request, { ignoreVary: true });
  if (kept) return kept;
  const fresh = await fetch(request);
  if (fresh.ok) await cache.put(request, fresh.clone());
  return fresh;
}

async function fromNetwork(request: Request): Promise<Response> {
  try {
    return await fetch(request);
  } catch (error) {
    const kept = await caches.match(request, { cacheName: CACHE, ignoreVary: true });
    if (kept) return kept;
    throw error;
  }
}

async function show(address: string): Promise<void> {
  const pages = await self.clients.matchAll({ type: 'window' });
  const page = pages.find(({ url }) => url === address) ?? pages[0];
  if (!page) {
    await self.clients.openWindow(address);
    return;
  }
  await page.focus();
  if (page.url !== address) await page.navigate(address).catch(() => null);
}

export {};
