"""A WebSocket over plain ASGI: one reader (the request itself) and one writer task.

The server below does the framing; a packet's parts are given to it one by one, all that wait in one
go, so that they leave together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from parlour.errors import PayloadTooLarge
from parlour.transports.socketio.admission import check_websocket
from parlour.transports.socketio.connection import EngineConnection
from parlour.transports.socketio.handshake import Scope, read_scope
from parlour.wire.packets import Encoded
from parlour.wire.websocket import NORMAL, TOO_BIG

if TYPE_CHECKING:
    from parlour.transports.socketio.server import EngineServer, Receive, Send


class _Finished(Exception):
    """The writer is done: the reader is to stop."""


class AsgiWebSocket:
    """The carrier. Everything goes through the outbox; the writer takes it from there."""

    __slots__ = ("_aborted", "_aside", "_finishing", "_receive", "_send", "_wake", "_writer")

    name: ClassVar[str] = "websocket"

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._wake = asyncio.Event()
        self._aside: list[Encoded] = []
        self._writer: asyncio.Task[None] | None = None
        self._finishing = False
        self._aborted = False

    def write(self, encoded: Encoded) -> bool:
        return False

    def wake(self) -> None:
        self._wake.set()

    def finish(self) -> None:
        self._finishing = True
        self._wake.set()

    def abort(self) -> None:
        self._aborted = True
        if self._writer is not None:
            self._writer.cancel()

    def write_aside(self, encoded: Encoded) -> None:
        self._aside.append(encoded)
        self._wake.set()

    async def run(self, connection: EngineConnection) -> None:
        """Serve until one of the two sides closes."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._writer = tasks.create_task(self._write(connection))
                if self._aborted:
                    self._writer.cancel()
                await self._read(connection)
        except* (_Finished, OSError):
            # OSError: the server below noticed first that the client is gone.
            pass
        finally:
            self._leave(connection)

    async def close(self, connection: EngineConnection, code: int = NORMAL) -> None:
        """Say goodbye, as far as the client still listens."""
        try:
            async with asyncio.timeout(connection.server.settings.close_timeout):
                await self._send({"type": "websocket.close", "code": code})
        except (OSError, RuntimeError, TimeoutError):
            # RuntimeError: an ASGI server's word for "closed already".
            pass

    def _leave(self, connection: EngineConnection) -> None:
        if connection.carrier is self:
            connection.lost()
        else:
            connection.candidate_lost(self)

    async def _read(self, connection: EngineConnection) -> None:
        limit = connection.server.settings.limits.max_payload
        while True:
            event = await self._receive()
            if event["type"] == "websocket.disconnect":
                raise _Finished
            text = event.get("text")
            message: str | bytes = event["bytes"] if text is None else text
            if len(message) > limit:
                connection.broken(PayloadTooLarge())
                return await self.close(connection, TOO_BIG)
            if connection.carrier is self:
                connection.receive(message)
            else:
                connection.receive_on_candidate(message)

    async def _write(self, connection: EngineConnection) -> None:
        try:
            await self._write_until_finished(connection)
        except asyncio.CancelledError:
            if not self._aborted:
                raise
        await self.close(connection)
        raise _Finished

    async def _write_until_finished(self, connection: EngineConnection) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._write_parts(self._take_aside())
            while connection.carrier is self and (packets := connection.take()):
                await self._write_parts(packets)
            if self._finishing:
                return

    def _take_aside(self) -> list[Encoded]:
        aside, self._aside = self._aside, []
        return aside

    async def _write_parts(self, packets: list[Encoded]) -> None:
        for packet in packets:
            for part in packet.parts:
                kind = "text" if isinstance(part, str) else "bytes"
                await self._send({"type": "websocket.send", kind: part})


async def serve_websocket(server: EngineServer, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one WebSocket request."""
    handshake = read_scope(scope)
    query = handshake.query
    await receive()  # websocket.connect
    refused = check_websocket(server, query, handshake.headers)
    if refused is not None:
        server.counters.refused += 1
        # ASGI turns this into a 403. There is an extension for other answers, but uvicorn logs its
        # use as an error of the application, once per refused request.
        return await send({"type": "websocket.close"})
    sid = handshake.query.get("sid")
    carrier = AsgiWebSocket(receive, send)
    await send({"type": "websocket.accept"})
    if sid is None:
        return await carrier.run(server.open(handshake, carrier))
    connection = server.connections.get(sid)
    if connection is None or not connection.offer(carrier):
        # Accepted and closed, as the public server does: a refused handshake is an error to
        # clients.
        return await send({"type": "websocket.close", "code": NORMAL})
    await carrier.run(connection)
