"""The server that the public Engine.IO 4 and Socket.IO 5 suites expect, on the real transport.

    python -m tests.interop.protocol_server --port 3000 [--transport asgi|fast]

`/engine.io/` echoes every message. `/socket.io/` has the namespaces `/` and `/custom`: on entry the
client hears `auth` with what it presented; `message` comes back as `message-back`;
`message-with-ack` is acknowledged with its arguments. Heartbeat 300 ms and 200 ms, payloads up to
1,000,000 bytes."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import uvloop

from parlour.server.endpoint import Ack, Handshake, Link
from parlour.transports.socketio.connection import Carrier, EngineConnection
from parlour.transports.socketio.handshake import Scope
from parlour.transports.socketio.link import Answer
from parlour.transports.socketio.server import EngineServer, Receive, Send
from parlour.transports.socketio.settings import SocketSettings
from parlour.transports.socketio.transport import SocketTransport
from parlour.wire.engineio_session import EngineSession, Heartbeat
from parlour.wire.packets import Encoded
from parlour.wire.socketio import encode_event
from tests.interop.serving import fast, serving

HEARTBEAT = Heartbeat(interval=0.3, timeout=0.2)
GREETING_DELAY = 0.01


class EchoConnection(EngineConnection):
    """Sends every message back."""

    __slots__ = ()

    def message(self, data: str | bytes, start: int) -> None:
        part = data if isinstance(data, bytes) else "4" + data[start:]
        self.send(Encoded((part,)))


class EchoServer(EngineServer):
    def make(
        self, engine: EngineSession, handshake: Handshake, carrier: Carrier
    ) -> EngineConnection:
        return EchoConnection(self, engine, handshake, carrier)


class SuiteEndpoint:
    """What the Socket.IO suite talks to."""

    def __init__(self) -> None:
        self._namespaces: dict[str, str] = {}

    async def connect(self, link: Link, namespace: str, auth: Any) -> Mapping[str, Any]:
        self._namespaces[link.sid] = namespace
        # The suite listens for one message at a time and misses the second of two that arrive in one
        # read, which is how they leave when they are written in one turn of the loop.
        greeting = encode_event("auth", [auth or {}], namespace=namespace)
        asyncio.get_running_loop().call_later(GREETING_DELAY, link.send, greeting)
        return {}

    def receive(self, link: Link, event: str, args: Sequence[Any], ack: Ack | None) -> None:
        if event == "message":
            namespace = self._namespaces[link.sid]
            link.send(encode_event("message-back", args, namespace=namespace))
        elif event == "message-with-ack" and ack is not None:
            cast(Answer, ack)(*args)

    def disconnected(self, link: Link, reason: str) -> None:
        self._namespaces.pop(link.sid, None)


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


@asynccontextmanager
async def running(
    port: int = 0, transport: str = "asgi", heartbeat: Heartbeat = HEARTBEAT
) -> AsyncIterator[int]:
    """The suites' server in this process; gives its port."""
    anyone = ("*",)
    echo = EchoServer(
        SocketSettings(path="/engine.io", heartbeat=heartbeat, allowed_origins=anyone)
    )
    sockets = SocketTransport(
        SuiteEndpoint(),
        SocketSettings(
            path="/socket.io",
            heartbeat=heartbeat,
            allowed_origins=anyone,
            namespaces=frozenset({"/", "/custom"}),
        ),
        SystemClock(),
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        server = echo if echo.matches(scope["path"]) else sockets
        await server(scope, receive, send)

    options = fast(echo, sockets) if transport == "fast" else {}
    async with echo, sockets, serving(app, port=port, **options) as actual:
        yield actual


async def main(port: int, transport: str) -> None:
    async with running(port, transport) as actual:
        print(f"listening on {actual}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=3000)
    parser.add_argument("--transport", choices=["asgi", "fast"], default="asgi")
    options = parser.parse_args()
    with (
        contextlib.suppress(KeyboardInterrupt),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(main(options.port, options.transport))
