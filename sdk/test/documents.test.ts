import 'fake-indexeddb/auto';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import * as Y from 'yjs';

import { connect, DocumentCopies, type Connection } from '../src/index.js';
import {
  DocumentProvider,
  OpenDocuments,
  plainText,
  type DocumentStatus,
} from '../src/documents/index.js';
import { splitUpdate } from '../src/documents/pieces.js';
import { DOCUMENT, DocumentServer } from './document-server.js';
import { when } from './stores.js';

let server: DocumentServer;
let people = 0;
const ends: (() => unknown)[] = [];

beforeEach(async () => {
  server = await DocumentServer.start();
});
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  await server.socket.stop();
});

interface Page {
  connection: Connection;
  provider: DocumentProvider;
}

/** Somebody's page with the document; with `copies` it is kept over the page's end. */
function open(copies?: DocumentCopies): Page {
  const connection = connect({ url: server.socket.url, transports: ['websocket'] });
  const provider = new DocumentProvider({
    ...{ connection, documentId: DOCUMENT, user: { name: 'Ada', color: '#305500' } },
    ...(copies ? { copies } : {}),
  });
  ends.push(() => {
    provider.close();
    connection.close();
  });
  return { connection, provider };
}

function somebody(): string {
  return `person ${(people += 1)}`;
}

function copiesOf(userId: string): DocumentCopies {
  const copies = new DocumentCopies({ userId });
  ends.push(() => copies.close());
  return copies;
}

const titleOf = ({ provider }: Page): Y.Text => provider.replica.get().doc.getText('title');
const textOf = (page: Page): string => titleOf(page).toString();
const write = (page: Page, text: string): void => {
  const title = titleOf(page);
  title.insert(title.length, text);
};

async function status(
  { provider }: Page,
  wanted: (status: DocumentStatus) => boolean,
): Promise<DocumentStatus> {
  return when(provider.status, wanted);
}
const phase = (page: Page, ...phases: string[]) =>
  status(page, (status) => phases.includes(status.phase));
const stored = (page: Page) =>
  status(page, ({ phase, pending }) => pending === 0 && (phase === 'synced' || phase === 'saved'));

/** Resolves when the page's text is this one. */
function shows(page: Page, text: string | RegExp): Promise<void> {
  const is = (now: string) => (typeof text === 'string' ? now === text : text.test(now));
  return new Promise((resolve) => {
    const look = () => is(textOf(page)) && resolve();
    page.provider.replica.subscribe(({ doc }) => doc.on('update', look));
    look();
  });
}

async function goOffline({ connection, provider }: Page): Promise<void> {
  server.socket.refusal = { code: 'shutting_down', message: 'Soon.' };
  server.socket.cut();
  await when(connection.state, ({ phase }) => phase === 'offline');
  await when(provider.status, ({ phase }) => phase === 'offline');
}

function comeBack({ connection }: Page): void {
  server.socket.refusal = null;
  connection.retryNow();
}

describe('two pages', () => {
  test('hear each other’s edits, and are equal after writing at once', async () => {
    const [ada, bob] = [open(), open()];
    await Promise.all([phase(ada, 'saved'), phase(bob, 'saved')]);

    write(ada, 'one');
    write(bob, 'two');
    await Promise.all([stored(ada), stored(bob)]);
    await Promise.all([shows(ada, server.text), shows(bob, server.text)]);

    expect([...server.text].sort().join('')).toBe([...'onetwo'].sort().join(''));
  });

  test('see each other’s cursor, until the other one leaves', async () => {
    const [ada, bob] = [open(), open()];
    await Promise.all([phase(ada, 'saved'), phase(bob, 'saved')]);
    const { awareness } = bob.provider.replica.get();
    const seen = (): Promise<Record<string, unknown>[]> =>
      new Promise((resolve) => {
        const look = () => {
          const states = [...awareness.getStates()];
          const others = states.filter(([id]) => id !== awareness.clientID).map(([, one]) => one);
          if (others.some((one) => 'user' in one)) resolve(others);
        };
        awareness.on('update', look);
        look();
      });

    ada.provider.replica.get().awareness.setLocalStateField('user', { name: 'Ada' });

    expect(await seen()).toEqual([{ user: { name: 'Ada' } }]);
  });

  test('a cursor is told again after the connection was lost', async () => {
    const ada = open();
    await phase(ada, 'saved');
    ada.provider.replica.get().awareness.setLocalStateField('user', { name: 'Ada' });
    await goOffline(ada);
    const told = server.socket.of('ydoc:awareness:update').length;

    comeBack(ada);
    await server.socket.until(() => server.socket.of('ydoc:awareness:update').length > told);

    expect(ada.provider.status.get().phase).toBe('saved');
  });
});

describe('saved', () => {
  test('is said only when the server has stored the edit and the text of lists has it', async () => {
    const ada = open();
    await phase(ada, 'saved');
    server.socket.silent.add('ydoc:document:update');
    write(ada, 'a');
    const saving = await phase(ada, 'saving');
    server.socket.silent.clear();
    server.socket.cut();
    await phase(ada, 'offline');
    ada.connection.retryNow();
    const synced = await phase(ada, 'synced');

    server.saved();
    const saved = await phase(ada, 'saved');

    expect([saving.pending, synced.pending, saved.pending]).toEqual([1, 0, 0]);
    expect(saved.savedAt).toBe(7);
  });

  test('edits that are made while one is on its way leave together', async () => {
    const ada = open();
    await phase(ada, 'saved');

    for (const letter of 'abcdefgh') write(ada, letter);
    await stored(ada);

    expect(server.text).toBe('abcdefgh');
    expect(server.socket.of('ydoc:document:update')).toHaveLength(2);
  });

  test('what is on its way when the page leaves the document still arrives', async () => {
    const ada = open();
    await phase(ada, 'saved');

    for (const letter of 'abc') write(ada, letter);
    ada.provider.close();
    await server.socket.until(() => server.socket.of('ydoc:document:leave').length === 1);

    expect(server.text).toBe('abc');
  });
});

describe('offline', () => {
  test('edits of both sides meet, and nothing is doubled', async () => {
    const ada = open();
    await phase(ada, 'saved');
    write(ada, 'begin ');
    await stored(ada);
    await goOffline(ada);
    write(ada, 'mine');
    const offline = ada.provider.status.get();
    server.write('theirs ');

    comeBack(ada);
    await stored(ada);

    expect(offline.pending).toBe(1);
    expect(server.text).toBe('theirs begin mine');
    expect(textOf(ada)).toBe('theirs begin mine');
  });

  test('deletions alone arrive, too', async () => {
    const ada = open();
    await phase(ada, 'saved');
    write(ada, 'too much');
    await stored(ada);
    await goOffline(ada);
    titleOf(ada).delete(0, 4);

    comeBack(ada);
    await stored(ada);

    expect(server.text).toBe('much');
  });

  test('an edit whose acknowledgement was lost is not written twice', async () => {
    const ada = open();
    await phase(ada, 'saved');
    write(ada, 'a');
    await stored(ada);
    server.socket.answer('ydoc:document:update', (payload, socket) => {
      Y.applyUpdate(server.doc, payload['update'] as Uint8Array);
      socket.conn.close();
      return {};
    });
    write(ada, 'b');
    await phase(ada, 'offline');
    server.socket.answer('ydoc:document:update', () => ({ offset: 3 }));

    ada.connection.retryNow();
    await stored(ada);

    expect(server.text).toBe('ab');
    expect(textOf(ada)).toBe('ab');
  });

  test('edits are there after a reload without a connection, and are sent later', async () => {
    const user = somebody();
    const first = copiesOf(user);
    const ada = open(first);
    await phase(ada, 'saved');
    write(ada, 'before ');
    await stored(ada);
    await goOffline(ada);
    write(ada, 'offline');
    ada.provider.close();
    ada.connection.close();

    const again = open(copiesOf(user));
    const shown = await status(again, ({ ready }) => ready);
    const text = textOf(again);
    const waiting = await first.unsaved();
    comeBack(again);
    await phase(again, 'synced');

    expect(text).toBe('before offline');
    expect(waiting).toEqual([DOCUMENT]);
    expect([shown.permission, shown.pending]).toEqual(['write', 1]);
    expect(server.text).toBe('before offline');
    await expect.poll(() => first.unsaved()).toEqual([]);
  });

  test('edits of a document that nobody opens again are sent with the next connection', async () => {
    const copies = copiesOf(somebody());
    const ada = open(copies);
    await phase(ada, 'saved');
    write(ada, 'begun ');
    await stored(ada);
    await goOffline(ada);
    write(ada, 'and left');
    ada.provider.close();

    comeBack(ada);
    await when(ada.connection.state, ({ phase }) => phase === 'live');
    await new OpenDocuments(ada.connection, copies).sendLeft();
    await server.socket.until(() => server.socket.of('ydoc:document:leave').length === 1);

    expect(server.text).toBe('begun and left');
    await expect.poll(() => copies.unsaved()).toEqual([]);
  });

  test('a long stored copy is replaced by its state, whole', async () => {
    const user = somebody();
    const ada = open(copiesOf(user));
    await phase(ada, 'saved');
    for (let i = 0; i < 900; i += 1) write(ada, 'x');
    await stored(ada);
    ada.provider.close();
    server.joinRefusal = { code: 'unavailable', retryable: true };

    const copies = copiesOf(user);
    const again = open(copies);
    await status(again, ({ ready }) => ready);
    const stored_ = await copies.copy(DOCUMENT).load();

    expect(textOf(again)).toBe('x'.repeat(900));
    expect(stored_!.updates.length).toBeLessThan(850);
  });

  test('after signing out nothing is left in the browser', async () => {
    const copies = copiesOf(somebody());
    const ada = open(copies);
    await phase(ada, 'saved');
    write(ada, 'secret');
    await stored(ada);
    ada.provider.close();

    await copies.clear();

    expect(await copies.copy(DOCUMENT).load()).toBeNull();
  });
});

/** Numbers between 0 and 1 that are the same at every run. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

test.each([1, 2, 3])(
  'over cuts, refusals, reloads and time offline everything is there once (seed %i)',
  async (seed) => {
    const random = seeded(seed);
    const pick = <T>(all: readonly T[]): T => all[Math.floor(random() * all.length)]!;
    const users = [somebody(), somebody(), somebody()];
    const copies = users.map((user) => copiesOf(user));
    const pages = copies.map((one) => open(one));
    await Promise.all(pages.map((page) => phase(page, 'saved')));
    const said: string[] = [];
    const removed = new Set<string>();
    const deeds = [
      ...[insert, insert, insert, insert, insert, remove],
      ...[cut, refuse, reload, dial, loseAnswer],
    ];
    // Of one length, so that no edit falls into the middle of another.
    function insert(page: Page): void {
      const token = `<${String(said.length).padStart(3, '0')}>`;
      said.push(token);
      const title = titleOf(page);
      title.insert(Math.floor((random() * title.length) / 5) * 5, token);
    }
    function remove(page: Page): void {
      const title = titleOf(page);
      if (title.length < 5) return;
      const at = Math.floor((random() * title.length) / 5) * 5;
      // Two may do it at once.
      removed.add(title.toString().slice(at, at + 5));
      title.delete(at, 5);
    }
    function cut(): void {
      server.socket.cut();
    }
    function refuse(): void {
      server.refusals.push({ code: pick(['unavailable', 'conflict']), retryable: true });
    }
    function loseAnswer(): void {
      server.loseAnswers += 1;
    }
    function dial(page: Page): void {
      page.connection.retryNow();
    }
    async function reload(page: Page): Promise<void> {
      page.provider.close();
      page.connection.close();
      const again = open(copies[pages.indexOf(page)]);
      pages[pages.indexOf(page)] = again;
      await again.provider.loaded;
      await status(again, ({ ready }) => ready);
    }

    for (let step = 0; step < 120; step += 1) {
      await pick(deeds)(pick(pages));
      if (random() < 0.3) await server.socket.until(() => true);
    }
    server.refusals.length = 0;
    server.loseAnswers = 0;
    for (const page of pages) page.connection.retryNow();
    await Promise.all(pages.map((page) => stored(page)));
    await Promise.all(pages.map((page) => shows(page, server.text)));

    const expected = said.filter((token) => !removed.has(token)).sort();
    expect((server.text.match(/<\d+>/g) ?? []).sort()).toEqual(expected);
    expect(server.text).toHaveLength(expected.length * 5);
  },
  30_000,
);

describe('a history that was given up', () => {
  test('is replaced, and what only this page had is offered, not merged', async () => {
    const copies = copiesOf(somebody());
    const ada = open(copies);
    await phase(ada, 'saved');
    write(ada, 'old text');
    await stored(ada);
    await goOffline(ada);
    write(ada, ', never sent');

    server.reset('new text');
    comeBack(ada);
    const aside = await when(ada.provider.aside, (value) => value !== null);
    await phase(ada, 'saved');
    const kept = await copies.copy(DOCUMENT).load();

    expect(aside!.text).toBe('old text, never sent');
    expect(textOf(ada)).toBe('new text');
    expect(server.text).toBe('new text');
    expect(kept!.generation).toBe(2);
    expect(kept!.aside!.state).toEqual(aside!.state);
  });

  test('is replaced without a word where everything was stored', async () => {
    const ada = open();
    await phase(ada, 'saved');
    write(ada, 'old text');
    await stored(ada);

    server.reset('new text');
    await shows(ada, 'new text');
    await stored(ada);

    expect(ada.provider.aside.get()).toBeNull();
  });

  test('an edit of the old one leads to the new one', async () => {
    const ada = open();
    await phase(ada, 'saved');
    server.doc = new Y.Doc();
    server.generation = 2;

    write(ada, 'late');
    const aside = await when(ada.provider.aside, (value) => value !== null);

    expect(aside!.text).toBe('late');
    await stored(ada);
    expect(textOf(ada)).toBe('');
  });
});

describe('a refused edit', () => {
  test('is said with its reason, stays in the text, and can be offered again', async () => {
    const ada = open();
    await phase(ada, 'saved');
    server.refusals.push({ code: 'too_large' });
    write(ada, 'huge');
    const refused = await phase(ada, 'refused');
    write(ada, ' and more');

    ada.provider.retry();
    await stored(ada);

    expect(refused.error!.code).toBe('too_large');
    expect(refused.pending).toBe(1);
    expect(server.text).toBe('huge and more');
  });

  test('can be given up for the server’s text; the own one is kept aside', async () => {
    const ada = open(copiesOf(somebody()));
    await phase(ada, 'saved');
    write(ada, 'fine');
    await stored(ada);
    server.refusals.push({ code: 'invalid_payload' });
    write(ada, ' broken');
    await phase(ada, 'refused');

    ada.provider.startOver();
    await shows(ada, 'fine');
    await stored(ada);

    expect(ada.provider.aside.get()!.text).toBe('fine broken');
    expect(server.text).toBe('fine');
  });

  test.each(['unavailable', 'rate_limited', 'conflict'])(
    'as %s is sent again by itself',
    async (code) => {
      const ada = open();
      await phase(ada, 'saved');
      server.refusals.push({ code, retryable: code !== 'conflict' });

      write(ada, 'patience');
      await stored(ada);

      expect(server.text).toBe('patience');
      expect(ada.provider.status.get().error).toBeNull();
    },
  );
});

describe('somebody who may only read', () => {
  test('sees live changes; nothing of theirs is sent', async () => {
    server.permission = 'read';
    const ada = open();
    await phase(ada, 'readonly');

    write(ada, 'never');
    server.write('live ');
    // Written at one place at once: either may come first.
    await shows(ada, /live /);

    expect(server.socket.of('ydoc:document:update')).toEqual([]);
    expect(ada.provider.status.get()).toMatchObject({ phase: 'readonly', pending: 0 });
  });

  test('gets back what was written before the right to write ended', async () => {
    const ada = open();
    await phase(ada, 'saved');
    write(ada, 'shared ');
    await stored(ada);
    await goOffline(ada);
    write(ada, 'unsent');
    server.permission = 'read';

    comeBack(ada);
    const aside = await when(ada.provider.aside, (value) => value !== null);
    await phase(ada, 'readonly');
    await shows(ada, 'shared ');

    expect(aside!.text).toBe('shared unsent');
    expect(server.text).toBe('shared ');
  });
});

test('a document that is not there is refused, without trying for ever', async () => {
  server.joinRefusal = { code: 'not_found' };
  const ada = open();

  const { error } = await phase(ada, 'refused');

  expect(error!.code).toBe('not_found');
  expect(server.socket.of('ydoc:document:join')).toHaveLength(1);
});

test('a document that was closed to a reader leaves nothing in the browser', async () => {
  const copies = copiesOf(somebody());
  const ada = open(copies);
  await phase(ada, 'saved');
  write(ada, 'shared');
  await stored(ada);

  server.socket.emit('access:updated', { room: `doc_${DOCUMENT}`, reason: 'removed' });
  await phase(ada, 'refused');

  await expect.poll(() => copies.copy(DOCUMENT).load()).toBeNull();
});

describe('an update that is larger than a packet', () => {
  function written(): Y.Doc {
    const doc = new Y.Doc();
    const title = doc.getText('title');
    // One long paste, many small edits at changing places, marks, and deletions in between.
    title.insert(0, 'pasted 🎈 text, '.repeat(400));
    for (let i = 0; i < 300; i += 1)
      title.insert((i * 97) % title.length, `(${i})`, { bold: true });
    for (let i = 0; i < 120; i += 1) title.delete((i * 131) % (title.length - 9), 3);
    doc.getXmlFragment('default').insert(0, [new Y.XmlElement('paragraph')]);
    return doc;
  }

  test.each(['in order', 'in reverse'])('arrives whole in pieces, %s', (order) => {
    const from = written();
    const to = new Y.Doc();

    const pieces = splitUpdate(Y.encodeStateAsUpdate(from), 2000);
    if (order === 'in reverse') pieces.reverse();
    for (const piece of pieces) Y.applyUpdate(to, piece);

    expect(Math.max(...pieces.map((piece) => piece.byteLength))).toBeLessThanOrEqual(2000);
    expect(pieces.length).toBeGreaterThan(5);
    expect(to.getText('title').toDelta()).toEqual(from.getText('title').toDelta());
    expect(Y.encodeStateVector(to)).toEqual(Y.encodeStateVector(from));
    expect(to.store.pendingStructs).toBeNull();
  });

  test('is sent in pieces after a long time offline', async () => {
    const ada = open();
    await phase(ada, 'saved');
    await goOffline(ada);
    write(ada, 'x'.repeat(600_000));

    comeBack(ada);
    await stored(ada);

    const sizes = server.socket
      .of('ydoc:document:update')
      .map(({ update }) => (update as Uint8Array).byteLength);
    expect(server.text).toHaveLength(600_000);
    expect(sizes.length).toBeGreaterThan(1);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(250_000);
  });
});

test('the plain text of a document has a line for each block', () => {
  const doc = new Y.Doc();
  doc.getText('title').insert(0, 'Plan');
  const body = doc.getXmlFragment('default');
  const block = (name: string, ...children: (Y.XmlElement | Y.XmlText)[]) => {
    const element = new Y.XmlElement(name);
    element.insert(0, children);
    return element;
  };
  const item = (text: string) => block('listItem', block('paragraph', new Y.XmlText(text)));
  body.insert(0, [
    block('paragraph', new Y.XmlText('First'), block('hardBreak'), new Y.XmlText('second')),
    block('bulletList', item('a'), item('b')),
  ]);

  const text = plainText(doc);

  expect(text).toBe('Plan\n\nFirst\nsecond\na\nb');
});
