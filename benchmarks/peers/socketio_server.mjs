// The Node peer: what the Python peer does, in socket.io. Usage: node socketio_server.mjs <port> <secret> <text> [<redis url>]
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const [port, secret, deltaText, redis] = process.argv.slice(2);
const http = createServer();
const io = new Server(http, { perMessageDeflate: false, serveClient: false });

if (redis) {
  const publishing = createClient({ url: redis });
  const subscribing = publishing.duplicate();
  await Promise.all([publishing.connect(), subscribing.connect()]);
  io.adapter(createAdapter(publishing, subscribing));
}

function verify(token) {
  const [head, body, signature] = token.split(".");
  const expected = createHmac("sha256", secret).update(`${head}.${body}`).digest("base64url");
  if (!timingSafeEqual(Buffer.from(signature), Buffer.from(expected))) throw new Error("forged");
  const claims = JSON.parse(Buffer.from(body, "base64url"));
  if (claims.exp * 1000 < Date.now()) throw new Error("expired");
  return claims;
}

io.use((socket, next) => {
  try {
    socket.data.user = verify(socket.handshake.auth.token).sub;
    next();
  } catch (error) {
    next(error);
  }
});

const offsets = new Map();

io.on("connection", (socket) => {
  socket.on("subscribe", ({ stream }, ack) => {
    socket.join(stream);
    ack({ ok: true });
  });
  socket.on("publish", ({ stream, n }) => emit(stream, n));
  socket.on("everywhere", ({ prefix, rooms, n }) => {
    for (let room = 0; room < rooms; room++) emit(`${prefix}${room}`, n);
  });
  socket.on("heartbeat", (_, ack) => ack({ ok: true, at: Date.now() }));
});

function emit(stream, count) {
  for (let i = 0; i < count; i++) {
    const offset = (offsets.get(stream) ?? 0) + 1;
    offsets.set(stream, offset);
    io.to(stream).emit("events", event(stream, offset));
  }
}

function event(stream, offset) {
  return {
    chat_id: stream,
    message_id: "m1",
    data: { type: "message:delta", data: { id: "m1", text: deltaText } },
    offset,
  };
}

http.listen(Number(port), "127.0.0.1", () => console.log(JSON.stringify({ ready: true })));
