"""The server that the public clients talk to in these tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from parlour.errors import ConnectionRefused
from parlour.server.endpoint import Ack, Link
from parlour.transports.socketio.connection import EngineConnection
from parlour.transports.socketio.settings import SocketSettings
from parlour.transports.socketio.transport import SocketTransport
from parlour.wire.engineio_session import Heartbeat
from parlour.wire.socketio import encode_event
from tests.interop.protocol_server import SystemClock
from tests.interop.serving import fast, serving

PATH = "/ws/socket.io"


class ClientEndpoint:
    """Answers each event in a way that shows one ability."""

    def __init__(self) -> None:
        self.transport: SocketTransport | None = None
        self.links: dict[str, tuple[Link, str]] = {}
        self.left: list[str] = []
        self._calls: dict[str, Any] = {}

    async def connect(self, link: Link, namespace: str, auth: Any) -> Mapping[str, Any]:
        token = (auth or {}).get("token")
        if token == "bad":
            raise ConnectionRefused("forbidden", "not you", hint="sign in")
        if token == "slow":
            await asyncio.Event().wait()
        self.links[link.sid] = (link, namespace)
        link.send(encode_event("welcome", [auth], namespace=namespace))
        return {"session_id": "s1"}

    def receive(self, link: Link, event: str, args: Sequence[Any], ack: Ack | None) -> None:
        namespace = self.links[link.sid][1]
        if event == "echo":
            answer = ack or (
                lambda value: link.send(encode_event("echo", value, namespace=namespace))
            )
            answer(list(args))
        elif event == "ask me" and ack is not None:
            link.call("question", args, lambda answer: ack(answer))
        elif event == "cut":
            self._connection(link).abort("test")
        elif event == "close":
            link.close("test")
        elif event == "carrier" and ack is not None:
            ack(link.transport)
        elif event == "many":
            for number in range(args[0]):
                link.send(encode_event("number", [number, "x" * args[1]], namespace=namespace))

    def disconnected(self, link: Link, reason: str) -> None:
        del self.links[link.sid]
        self.left.append(reason)

    def _connection(self, link: Link) -> EngineConnection:
        assert self.transport is not None
        [connection] = [
            connection
            for connection in self.transport.connections.values()
            if link in connection.links()  # type: ignore[attr-defined]
        ]
        return connection


@asynccontextmanager
async def running_for_clients(
    transport: str, **settings: Any
) -> AsyncIterator[tuple[int, ClientEndpoint]]:
    """Gives the port and the endpoint."""
    endpoint = ClientEndpoint()
    settings = {
        "path": PATH,
        "heartbeat": Heartbeat(interval=1, timeout=10),
        "namespaces": frozenset({"/", "/other"}),
    } | settings
    sockets = SocketTransport(endpoint, SocketSettings(**settings), SystemClock())
    endpoint.transport = sockets
    options = fast(sockets) if transport == "fast" else {}
    async with sockets, serving(sockets, **options) as port:
        yield port, endpoint
