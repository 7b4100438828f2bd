// A real Yjs document on the public Socket.IO client. Usage: node yjs_client.mjs <url> <token> <document id>;
// reads one JSON command a line, prints one JSON answer a line.
import { createInterface } from 'node:readline';
import { io } from 'socket.io-client';
import { Awareness, applyAwarenessUpdate, encodeAwarenessUpdate } from 'y-protocols/awareness';
import * as Y from 'yjs';

const [url, token, documentId] = process.argv.slice(2);
const doc = new Y.Doc();
const awareness = new Awareness(doc);
const fragment = doc.getXmlFragment('default');
const title = doc.getText('title');
let socket = null;
let generation;
let form = 'binary';

const out = (bytes) => (form === 'binary' ? bytes : Array.from(bytes));
const ask = (event, payload) => socket.timeout(20000).emitWithAck(event, payload);

async function push(update) {
  const answer = await ask('ydoc:document:update', {
    document_id: documentId,
    update: out(update),
  });
  if (!answer.ok) throw new Error(answer.error.code);
  return answer;
}

let pushing = Promise.resolve();
doc.on('update', (update, origin) => {
  if (origin === 'server' || !socket?.connected) return;
  pushing = pushing.then(() => push(update));
});

async function join() {
  const answer = await ask('ydoc:document:join', {
    document_id: documentId,
    ...(form === 'binary'
      ? { state_vector: Y.encodeStateVector(doc), generation }
      : { user_id: 'x', user_name: 'x', user_color: '#123456' }),
  });
  if (!answer.ok) throw new Error(answer.error.code);
  generation = answer.generation;
  const lacking = Y.encodeStateAsUpdate(doc, new Uint8Array(answer.state_vector));
  if (lacking.length > 2) await push(lacking);
  await ask('ydoc:awareness:update', {
    document_id: documentId,
    update: out(encodeAwarenessUpdate(awareness, [doc.clientID])),
  });
  return answer;
}

function connect() {
  socket = io(url, {
    path: '/ws/socket.io',
    transports: ['websocket'],
    auth: { token },
    forceNew: true,
  });
  socket.on('ydoc:document:state', ({ state }) =>
    Y.applyUpdate(doc, new Uint8Array(state), 'server'),
  );
  socket.on('ydoc:document:update', ({ update }) =>
    Y.applyUpdate(doc, new Uint8Array(update), 'server'),
  );
  socket.on('ydoc:awareness:update', ({ update }) =>
    applyAwarenessUpdate(awareness, new Uint8Array(update), 'server'),
  );
  return new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('connect_error', reject);
  });
}

function paragraph(text, marks) {
  const element = new Y.XmlElement('paragraph');
  const inside = new Y.XmlText();
  inside.insert(0, text, marks ?? {});
  element.insert(0, [inside]);
  return element;
}

async function until(condition) {
  for (let tries = 0; tries < 1500; tries += 1) {
    if (condition()) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`still ${fragment.toString()}`);
}

const commands = {
  async online({ arrays }) {
    form = arrays ? 'arrays' : 'binary';
    await connect();
    const { permission, status } = await join();
    return { permission, status };
  },
  async offline() {
    socket.close();
    return {};
  },
  async heading({ text, level }) {
    const element = new Y.XmlElement('heading');
    element.setAttribute('level', level);
    const inside = new Y.XmlText();
    inside.insert(0, text);
    element.insert(0, [inside]);
    fragment.insert(0, [element]);
    return {};
  },
  async paragraph({ text, marks }) {
    fragment.push([paragraph(text, marks)]);
    return {};
  },
  async task({ text, checked }) {
    const list = new Y.XmlElement('taskList');
    const item = new Y.XmlElement('taskItem');
    item.setAttribute('checked', checked);
    item.insert(0, [paragraph(text)]);
    list.insert(0, [item]);
    fragment.push([list]);
    return {};
  },
  async title({ text }) {
    title.insert(title.length, text);
    return {};
  },
  async cursor({ state }) {
    awareness.setLocalState(state);
    await ask('ydoc:awareness:update', {
      document_id: documentId,
      update: out(encodeAwarenessUpdate(awareness, [doc.clientID])),
    });
    return {};
  },
  async stored() {
    await pushing;
    return {};
  },
  async has({ text }) {
    await until(() => fragment.toString().includes(text));
    return { xml: fragment.toString() };
  },
  async seen({ name }) {
    const others = () =>
      [...awareness.getStates().values()].filter((one) => one?.user?.name === name);
    await until(() => others().length > 0);
    return { state: others()[0] };
  },
  async attributes() {
    return fragment.toArray().map((element) => {
      const found = element.getAttributes?.() ?? {};
      return Object.fromEntries(
        Object.entries(found).map(([name, value]) => [name, [typeof value, value]]),
      );
    });
  },
  async state() {
    return { xml: fragment.toString(), title: title.toString() };
  },
};

const lines = createInterface({ input: process.stdin });
for await (const line of lines) {
  const { command, ...options } = JSON.parse(line);
  try {
    console.log(JSON.stringify({ ok: await commands[command](options) }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error.message ?? error) }));
  }
}
awareness.destroy();
socket?.close();
process.exit(0);
