// The public JavaScript client. Usage: node client.mjs <port>; prints one JSON object: a result or an error
// per scenario, for each way of connecting.
import { io } from "socket.io-client";

const url = `http://127.0.0.1:${process.argv[2]}`;
const path = "/ws/socket.io";
const ways = {
  websocket: ["websocket"],
  polling: ["polling"],
  upgrade: ["polling", "websocket"],
};
const wanted = process.argv.slice(3);

function connect(transports, options = {}, namespace = "/") {
  const socket = io(url + namespace, {
    path,
    transports,
    forceNew: true,
    reconnectionDelay: 10,
    reconnectionDelayMax: 20,
    ...options,
  });
  return socket;
}

function once(socket, event) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${event}`)), 8000);
    socket.once(event, (...args) => {
      clearTimeout(timer);
      resolve(args);
    });
  });
}

async function upgraded(socket, transports) {
  const { engine } = socket.io;
  if (transports.length > 1 && engine.transport.name === "polling") await once(engine, "upgrade");
}

function plain(value) {
  if (Buffer.isBuffer(value)) return { bytes: [...value] };
  if (Array.isArray(value)) return value.map(plain);
  return value;
}

const scenarios = {
  async auth(transports) {
    const socket = connect(transports, { auth: { token: "t1" } });
    const [heard] = await once(socket, "welcome");
    socket.close();
    return heard;
  },
  async event(transports) {
    const socket = connect(transports);
    socket.emit("echo", 1, "zwölf €", { a: [null, true] });
    const heard = await once(socket, "echo");
    socket.close();
    return heard;
  },
  async binary(transports) {
    const socket = connect(transports);
    const answer = await socket
      .timeout(5000)
      .emitWithAck("echo", Buffer.from([0, 1, 255]), { deep: [Buffer.from([7])] });
    socket.close();
    return [plain(answer[0]), plain(answer[1].deep)];
  },
  async acknowledged(transports) {
    const socket = connect(transports);
    const answer = await socket.timeout(5000).emitWithAck("echo", "a");
    socket.close();
    return answer;
  },
  async called(transports) {
    const socket = connect(transports);
    socket.on("question", (one, two, done) => done(one + two, Buffer.from([9])));
    const answer = await socket.timeout(5000).emitWithAck("ask me", 1, 2);
    socket.close();
    return plain(answer);
  },
  async unanswered(transports) {
    const socket = connect(transports);
    await once(socket, "connect");
    const outcome = await socket.timeout(50).emitWithAck("silence").catch((error) => error.message);
    socket.close();
    return outcome;
  },
  async namespace(transports) {
    const main = connect(transports);
    const other = main.io.socket("/other", { auth: { token: "o" } });
    const [heard] = await once(other, "welcome");
    const answers = [
      await other.timeout(5000).emitWithAck("echo", "other"),
      await main.timeout(5000).emitWithAck("echo", "main"),
    ];
    main.close();
    other.close();
    return [heard, ...answers];
  },
  async "unknown namespace"(transports) {
    const socket = connect(transports, {}, "/nowhere");
    const [error] = await once(socket, "connect_error");
    socket.close();
    return error.message;
  },
  async refused(transports) {
    const socket = connect(transports, { auth: { token: "bad" } });
    const [error] = await once(socket, "connect_error");
    socket.close();
    return [error.message, error.data];
  },
  async reconnects(transports) {
    const socket = connect(transports);
    await once(socket, "connect");
    const first = socket.id;
    const gone = once(socket, "disconnect");
    socket.emit("cut");
    const [reason] = await gone;
    if (!socket.connected) await once(socket, "connect");
    const answer = await socket.timeout(5000).emitWithAck("echo", "again");
    const result = [first !== socket.id, typeof reason, answer];
    socket.close();
    return result;
  },
  async "closed by the server"(transports) {
    const socket = connect(transports);
    await once(socket, "connect");
    // In the middle of an upgrade the client is told by a close packet, and gives another reason.
    await upgraded(socket, transports);
    const gone = once(socket, "disconnect");
    socket.emit("close");
    const [reason] = await gone;
    socket.close();
    return reason;
  },
  async carrier(transports) {
    const socket = connect(transports);
    await once(socket, "connect");
    await upgraded(socket, transports);
    const answer = await socket.timeout(5000).emitWithAck("carrier");
    socket.close();
    return answer;
  },
  async order(transports) {
    const socket = connect(transports);
    const heard = [];
    const all = new Promise((resolve) => {
      socket.on("number", (number) => {
        heard.push(number);
        if (heard.length === 2000) resolve();
      });
    });
    socket.emit("many", 2000, 100);
    await all;
    socket.close();
    return heard.every((number, index) => number === index);
  },
  async heartbeat(transports) {
    const socket = connect(transports);
    await once(socket, "connect");
    let pings = 0;
    await new Promise((resolve) => socket.io.on("ping", () => ++pings === 2 && resolve()));
    const alive = socket.connected;
    socket.close();
    return alive;
  },
};

const results = {};
for (const [way, transports] of Object.entries(ways)) {
  if (wanted.length && !wanted.includes(way)) continue;
  results[way] = {};
  await Promise.all(
    Object.entries(scenarios).map(async ([name, run]) => {
      results[way][name] = await run(transports).catch((error) => `failed: ${error.message}`);
    }),
  );
}
console.log(JSON.stringify(results));
process.exit(0);
