"""HTTP long-polling: GET waits for packets, POST brings some.

At most one GET and one POST of a connection may be under way; a second one ends the connection,
since the order of packets would be lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, Final

from parlour.errors import PayloadTooLarge, ProtocolError
from parlour.server.endpoint import Handshake
from parlour.transports.socketio import refusal
from parlour.transports.socketio.connection import EngineConnection
from parlour.transports.socketio.handshake import Scope, origin_allowed, read_scope
from parlour.transports.socketio.refusal import Refusal, check_query
from parlour.wire import engineio
from parlour.wire.engineio import decode_payload, encode_payload
from parlour.wire.engineio_session import State
from parlour.wire.packets import Encoded

if TYPE_CHECKING:
    from parlour.transports.socketio.server import EngineServer, Receive, Send

_TEXT: Final = b"text/plain; charset=UTF-8"
_JSON: Final = b"application/json"
_UPGRADE_POLL: Final = 0.1
"""Seconds that a poll is held during an upgrade; the public server looks as often."""


class PollingCarrier:
    """Holds the GET that waits. Everything goes through the outbox."""

    __slots__ = ("_finishing", "_waiter", "connection", "posting")

    name: ClassVar[str] = "polling"

    def __init__(self) -> None:
        self.connection: EngineConnection | None = None
        self.posting = False
        self._waiter: asyncio.Future[None] | None = None
        self._finishing = False

    @property
    def waiting(self) -> bool:
        return self._waiter is not None

    def write(self, encoded: Encoded) -> bool:
        return False

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def finish(self) -> None:
        self._finishing = True
        self.wake()

    def abort(self) -> None:
        self.wake()

    def take(self, connection: EngineConnection) -> list[Encoded]:
        """What the waiting GET is answered with; never empty."""
        packets = connection.take_all()
        if packets:
            # The close packet waits for the next poll: a client acts on it before it acts on the
            # messages of the same body, and would not hear why.
            return packets
        if self._finishing:
            connection.lost()
            return [engineio.CLOSE]
        return [engineio.NOOP]

    async def wait(self, receive: Receive, seconds: float | None) -> bool:
        """Wait until something is to be said, at most so long. False when the client hung up."""
        self._waiter = asyncio.get_running_loop().create_future()
        listener = asyncio.ensure_future(_hung_up(receive))
        try:
            both = {self._waiter, listener}
            await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            return self._waiter.done() or not listener.done()
        finally:
            listener.cancel()
            try:
                await asyncio.gather(listener, return_exceptions=True)
            finally:
                # Not earlier: a poll that comes meanwhile would wait for a connection that this one
                # is about to report lost, and nobody would wake it.
                self._waiter = None


async def serve_http(server: EngineServer, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one HTTP request."""
    handshake = read_scope(scope)
    exchange = _Exchange(server, handshake, receive, send)
    if not origin_allowed(server.settings.allowed_origins, handshake.headers):
        server.counters.refused += 1
        await exchange.refuse(refusal.FORBIDDEN)
    elif scope["method"] == "OPTIONS":
        await exchange.answer(204, b"", _TEXT)
    else:
        await exchange.serve(scope["method"])


class _Exchange:
    """One request and its answer."""

    def __init__(
        self, server: EngineServer, handshake: Handshake, receive: Receive, send: Send
    ) -> None:
        self._server = server
        self._handshake = handshake
        self._receive = receive
        self._send = send

    async def serve(self, method: str) -> None:
        query = self._handshake.query
        refused = check_query(query, "polling")
        sid = query.get("sid")
        if refused is not None:
            await self.refuse(refused)
        elif sid is None:
            await self._open(method)
        elif method == "GET":
            await self._poll(sid)
        elif method == "POST":
            await self._post(sid)
        else:
            await self.refuse(refusal.BAD_METHOD)

    async def _open(self, method: str) -> None:
        if method != "GET":
            return await self.refuse(refusal.BAD_METHOD)
        if self._server.full():
            return await self.refuse(refusal.UNAVAILABLE)
        carrier = PollingCarrier()
        connection = self._server.open(self._handshake, carrier)
        carrier.connection = connection
        await self._answer_packets(connection.take_all())

    def _find(self, sid: str) -> EngineConnection | None:
        connection = self._server.connections.get(sid)
        if connection is not None:
            # The wheel may be behind by its resolution; a request never meets an expired
            # connection.
            connection.tick(self._server.now())
        return self._server.connections.get(sid)

    async def _poll(self, sid: str) -> None:
        connection = self._find(sid)
        if connection is None:
            return await self.refuse(refusal.UNKNOWN_SESSION)
        carrier = connection.carrier
        if not isinstance(carrier, PollingCarrier):
            return await self.refuse(refusal.BAD_REQUEST)
        if carrier.waiting:
            connection.send(engineio.CLOSE)
            connection.abort("transport error")
            return await self.refuse(refusal.BAD_REQUEST)
        if not await self._wait(connection, carrier):
            return connection.lost()
        if connection.carrier is not carrier:
            return await self.refuse(refusal.BAD_REQUEST)
        await self._answer_packets(carrier.take(connection))

    async def _wait(self, connection: EngineConnection, carrier: PollingCarrier) -> bool:
        """Wait until the poll is to be answered. False when the client hung up.

        A poll that was there before a WebSocket offered itself is released by the probe at once.
        One that comes later is held for a moment: what completes the upgrade may be right behind
        it, and then the poll is void."""
        before = connection.engine.state
        idle = before is not State.UPGRADING and not connection.closed and not connection.buffered
        if idle and not await carrier.wait(self._receive, None):
            return False
        upgrading = connection.engine.state is State.UPGRADING
        if upgrading and before is not State.POLLING and not connection.buffered:
            return await carrier.wait(self._receive, _UPGRADE_POLL)
        return True

    async def _post(self, sid: str) -> None:
        connection = self._find(sid)
        if connection is None:
            return await self.refuse(refusal.UNKNOWN_SESSION)
        carrier = connection.carrier
        if not isinstance(carrier, PollingCarrier):
            return await self.refuse(refusal.BAD_REQUEST)
        if carrier.posting:
            connection.abort("transport error")
            return await self.refuse(refusal.BAD_REQUEST)
        carrier.posting = True
        try:
            refused = await self._take_in(connection)
        finally:
            carrier.posting = False
        if refused is not None:
            return await self.refuse(refused)
        await self.answer(200, b"ok", b"text/html")

    async def _take_in(self, connection: EngineConnection) -> Refusal | None:
        """Read the body and hand its packets over."""
        limits = self._server.settings.limits
        try:
            body = await self._read_body(limits.max_payload)
            if body is None:
                connection.lost()
                return refusal.BAD_REQUEST
            for packet in decode_payload(body, limits):
                connection.receive_packet(packet)
        except ProtocolError as error:
            connection.broken(error)
            return refusal.TOO_LARGE if isinstance(error, PayloadTooLarge) else refusal.BAD_REQUEST
        return None

    async def _read_body(self, limit: int) -> bytes | None:
        """The body; None when the client hung up or was too slow. Raises PayloadTooLarge before it
        is all buffered."""
        told = self._handshake.headers.get("content-length", "")
        if told.isdecimal() and int(told) > limit:
            raise PayloadTooLarge()
        parts: list[bytes] = []
        size = 0
        beat = self._server.settings.heartbeat
        try:
            async with asyncio.timeout(beat.interval + beat.timeout):
                while True:
                    event = await self._receive()
                    if event["type"] == "http.disconnect":
                        return None
                    parts.append(event.get("body", b""))
                    size += len(parts[-1])
                    if size > limit:
                        raise PayloadTooLarge()
                    if not event.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            return None

    async def _answer_packets(self, packets: list[Encoded]) -> None:
        body = encode_payload(part for packet in packets for part in packet.parts)
        await self.answer(200, body, _TEXT)

    async def refuse(self, refused: Refusal) -> None:
        await self.answer(refused.status, refused.body, _JSON)

    async def answer(self, status: int, body: bytes, content_type: bytes) -> None:
        headers = [
            (b"content-type", content_type),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            *self._cors(status),
        ]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    def _cors(self, status: int) -> list[tuple[bytes, bytes]]:
        """What lets a page of an allowed other origin read the answer."""
        origin = self._handshake.headers.get("origin")
        if origin is None or status == refusal.FORBIDDEN.status:
            return []
        return [
            (b"access-control-allow-origin", origin.encode("latin-1", "replace")),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
            (b"access-control-allow-headers", b"content-type, authorization"),
            (b"vary", b"Origin"),
        ]


async def _hung_up(receive: Receive) -> None:
    """Return when the client has closed its request."""
    while (await receive())["type"] != "http.disconnect":
        pass
