// The public JavaScript client as somebody's page: it connects, prints what it hears, sends what it is told
// and answers calls. Usage: node listener.mjs <url> <auth as JSON>.
//   stdout  {"event", "payload"}, {"answer", "payload"} and {"connected"}, one JSON object per line
//   stdin   {"id", "event", "payload"}, one JSON object per line
import { createInterface } from 'node:readline';
import { io } from 'socket.io-client';

const [url, auth] = process.argv.slice(2);
const socket = io(url, {
  path: '/ws/socket.io',
  transports: ['websocket'],
  auth: JSON.parse(auth),
  reconnectionDelay: 50,
  reconnectionDelayMax: 500,
});
const functions = {
  double: ({ n }) => n * 2,
  refuse: () => ({ ok: false, error: { code: 'declined', message: 'no' } }),
};

function print(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

socket.on('connect', () => print({ connected: socket.id }));
socket.on('disconnect', () => print({ connected: null }));
socket.onAny((event, payload, done) => {
  print({ event, payload });
  const answer = functions[payload?.name];
  // A function that this client does not have is never answered.
  if (event === 'call' && answer) done(answer(payload.args));
});
createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, event, payload } = JSON.parse(line);
  socket.emit(event, payload, (answer) => print({ answer: id, payload: answer }));
});
