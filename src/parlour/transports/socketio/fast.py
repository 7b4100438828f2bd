"""The fast WebSocket: an `asyncio.Protocol` that uvicorn hands an upgraded connection to.

uvicorn keeps the port, TLS, HTTP and the lifetime; its `ws=` setting takes a class like this one.
Nothing here is a task, a queue or an await: what comes is parsed and handled in the callback that
brings it, what goes is one write per connection and turn of the loop (`turn.py`), of frames that were
made once per broadcast (`parlour.native`).

The bound is the transport's own buffer: past its high-water mark it says `pause_writing`, and
packets wait in the connection's outbox until `resume_writing`. uvicorn's constructor signature is a
convention, not an interface; `tests/interop/test_uvicorn_contract.py` holds it still."""

from __future__ import annotations

import asyncio
import binascii
import hashlib
import sys
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast
from urllib.parse import unquote

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from parlour.native import Outlet
from parlour.server.endpoint import Handshake
from parlour.transports.socketio import refusal
from parlour.transports.socketio.admission import check_websocket
from parlour.transports.socketio.connection import EngineConnection
from parlour.transports.socketio.handshake import NO_COOKIES, Cookies, Headers, query_of
from parlour.transports.socketio.proxies import TrustedProxies
from parlour.transports.socketio.refusal import Refusal
from parlour.wire import deflate
from parlour.wire.packets import Encoded
from parlour.wire.websocket import (
    NO_CODE,
    NORMAL,
    PONG,
    TOO_BIG,
    Close,
    Ping,
    Pong,
    Receiver,
    WebSocketError,
    as_framed,
    frame,
    frame_close,
    frame_encoded,
)

if TYPE_CHECKING:
    from parlour.transports.socketio.server import EngineServer

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_DEFLATES: Final = f"sec-websocket-extensions: {deflate.ACCEPTED}\r\n".encode()
_OF_THE_UPGRADE: Final = ("sec-websocket-", "upgrade:", "connection:")
_MAX_EARLY: Final = 64 * 1024
"""Bytes that a client may send before its request is answered, which no client should."""

_DRAIN_SECONDS: Final = 1.0
"""How long a client that sends too much is listened to, so that it reads why it is closed: closing
with unread data would reset the connection and lose the close frame."""


def fast_protocol(*servers: EngineServer) -> Any:
    """What uvicorn's `ws=` setting takes: upgrades on a server's path are served here, all others
    by uvicorn's own protocol, so that other WebSocket routes of the application go on working."""
    trusted: dict[int, TrustedProxies] = {}

    def build(config: Any, server_state: Any, app_state: Any, _loop: Any = None) -> FastWebSocket:
        key = id(config)
        if key not in trusted:
            hosts = (config.forwarded_allow_ips or "127.0.0.1") if config.proxy_headers else ()
            trusted[key] = TrustedProxies(hosts)
        return FastWebSocket(servers, trusted[key], config, server_state, app_state)

    return build


class FastWebSocket(Outlet, asyncio.Protocol):
    """One WebSocket connection: the carrier and the asyncio protocol in one object."""

    __slots__ = (
        "_connection",
        "_departed",
        "_finishing",
        "_receiver",
        "_said_goodbye",
        "_setup",
        "_siblings",
    )

    name: ClassVar[str] = "websocket"

    def __init__(
        self,
        servers: tuple[EngineServer, ...],
        trusted: TrustedProxies,
        config: Any,
        server_state: Any,
        app_state: Any,
    ) -> None:
        super().__init__()
        self._setup: _Setup | None = _Setup(servers, trusted, config, server_state, app_state)
        self._siblings: set[Any] = server_state.connections
        self._connection: EngineConnection | None = None
        self._receiver: Receiver | None = None
        self._finishing = False
        self._departed = False
        self._said_goodbye = False

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.attach(transport, _descriptor(cast(asyncio.Transport, transport)))
        self._siblings.add(self)

    def data_received(self, data: bytes) -> None:
        receiver = self._receiver
        if receiver is None:
            self._request(data)
            return
        if self._said_goodbye and receiver.closed:
            return
        connection = self._connection
        assert connection is not None
        try:
            text = receiver.whole(data)
            if text is not None and connection.carrier is self:
                connection.receive(text)
                return
            for message in receiver.receive(data):
                if isinstance(message, str | bytes):
                    if connection.carrier is self:
                        connection.receive(message)
                    else:
                        connection.receive_on_candidate(message)
                else:
                    self._control(message)
        except WebSocketError as error:
            self._fail(connection, error)

    def eof_received(self) -> bool:
        """Whether the transport stays open for now. Closing a socket is half of what the end of a
        connection costs, so that waits for its turn too; asyncio allows it without TLS only."""
        connection = self._connection
        if connection is None or connection.carrier is not self or self._is_secure():
            return False
        self._gone(connection)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        # From here on the descriptor may be another connection's.
        self.detach()
        self._setup = None
        self._siblings.discard(self)
        connection = self._connection
        if connection is None:
            return
        if connection.carrier is self:
            self._gone(connection)
        else:
            self._connection = None
            connection.candidate_lost(self)

    def depart(self) -> None:
        """For the departures: the peer went away."""
        # Without this reference nothing of the connection is part of a cycle: it goes at once, not when
        # the collector comes.
        connection, self._connection = self._connection, None
        assert connection is not None
        connection.lost()
        self._shut()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = self._departed
        if not self._departed and self._connection is not None:
            self._drain(self._connection)

    def shutdown(self) -> None:
        """uvicorn is going away."""
        if self._connection is None:
            self.transport.close()
        elif self._connection.carrier is self:
            self._connection.close("server shutting down")
        else:
            self.abort()

    # the connection's side

    def wake(self) -> None:
        if not self.paused and self._connection is not None:
            self._drain(self._connection)

    def finish(self) -> None:
        self._finishing = True
        self.wake()

    def abort(self) -> None:
        if self._departed:
            return
        self.flush()
        if self.transport.get_write_buffer_size():
            # The peer does not read: a goodbye would wait behind what it does not take.
            self.transport.abort()
            return
        self._goodbye(NORMAL)
        self._shut()

    def write_aside(self, encoded: Encoded) -> None:
        self.put(frame_encoded(encoded))

    # inside

    def _drain(self, connection: EngineConnection) -> None:
        self.flush()
        while not self.paused and connection.carrier is self and (packets := connection.take()):
            self.put_packets(packets)
        if self._finishing and not self.paused:
            self._goodbye(NORMAL)

    def _goodbye(self, code: int) -> None:
        if not self._said_goodbye:
            self._said_goodbye = True
            self.put(frame_close(code))

    def _control(self, message: Ping | Pong | Close) -> None:
        if isinstance(message, Ping):
            # Past the mark the answer is left out: a flood of pings must not fill the buffer.
            if not self.paused and not self._said_goodbye:
                self.put(frame(PONG, message.payload))
        elif isinstance(message, Close):
            self._goodbye(NORMAL if message.code == NO_CODE else message.code)
            self._close_transport()

    def _fail(self, connection: EngineConnection, error: WebSocketError) -> None:
        assert self._receiver is not None
        self._receiver.closed = True
        self._goodbye(error.close_code)
        if connection.carrier is self:
            connection.over(error)
        else:
            connection.candidate_lost(self)
        if error.close_code == TOO_BIG:
            asyncio.get_running_loop().call_later(_DRAIN_SECONDS, self._shut)
        else:
            self._close_transport()

    def _gone(self, connection: EngineConnection) -> None:
        """The peer reads no more; what is sent until `depart` goes into the outbox, which is bounded."""
        if not self._departed:
            self._departed = self.paused = True
            connection.server.departures.add(self)

    def _is_secure(self) -> bool:
        return self.transport.get_extra_info("sslcontext") is not None

    def _shut(self) -> None:
        # What comes behind the close frame is the transport's to drop.
        self.detach()
        self.transport.close()

    def _close_transport(self) -> None:
        """Close when what was written is out, by force after a while."""
        self._shut()
        if self.transport.get_write_buffer_size():
            loop = asyncio.get_running_loop()
            loop.call_later(_DRAIN_SECONDS, self.transport.abort)

    # the request

    def _request(self, data: bytes) -> None:
        """The request, and whatever comes before it is answered."""
        setup = self._setup
        if setup is None:
            # It was refused, and the transport is closing.
            return
        if setup.head:
            setup.early += data
            if len(setup.early) > _MAX_EARLY:
                self._setup = None
                self.transport.abort()
            return
        setup.head = data
        if setup.servers:
            setup.servers[0].arrivals.run(self._begin)
        else:
            self._begin()

    def _begin(self) -> None:
        setup, self._setup = self._setup, None
        if setup is None:
            # The client went away while it waited for its turn.
            return
        request = _Request(setup.head)
        server = setup.find(request.path)
        if server is None:
            self._hand_over(setup)
            return
        handshake = setup.handshake(request, self.transport)
        query = handshake.query
        refused = request.check() or check_websocket(server, query, request.headers)
        if refused is not None:
            server.counters.refused += 1
            self._refuse(refused)
            return
        self.deflates = server.settings.compression and request.offers_deflate()
        self._accept(server, handshake, query.get("sid"), request.accept(self.deflates))
        if setup.early:
            self.data_received(setup.early)

    def _accept(
        self, server: EngineServer, handshake: Handshake, sid: str | None, answer: bytes
    ) -> None:
        self.transport.set_write_buffer_limits(server.settings.outbox.high_water)
        limit = server.settings.limits.max_payload
        self._receiver = Receiver(limit, inflates=self.deflates)
        self.turn = server.turn
        # It leaves with the first packet, in one system call.
        self.write(as_framed(answer))
        if sid is None:
            self._connection = server.open(handshake, self)
            return
        connection = server.connections.get(sid)
        if connection is None or not connection.offer(self):
            self._receiver.closed = True
            self._goodbye(NORMAL)
            self._close_transport()
            return
        self._connection = connection

    def _refuse(self, refused: Refusal) -> None:
        self.transport.write(
            b"HTTP/1.1 %d Refused\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%s" % (refused.status, len(refused.body), refused.body)
        )
        self._close_transport()

    def _hand_over(self, setup: _Setup) -> None:
        """Another route's WebSocket: uvicorn's own protocol takes the connection."""
        self._siblings.discard(self)
        other = WebSocketsSansIOProtocol(setup.config, setup.server_state, setup.app_state)
        other.connection_made(self.transport)
        other.data_received(setup.head)
        if setup.early:
            other.data_received(setup.early)
        # uvicorn sets this object as the protocol right after this callback; before any more data
        # can come, the other one takes its place.
        asyncio.get_running_loop().call_soon(self.transport.set_protocol, other)


def _descriptor(transport: asyncio.Transport) -> int:
    """Of a socket that may be written to past its transport; -1 where only the transport can, as with
    TLS."""
    if transport.get_extra_info("sslcontext") is not None:
        return -1
    socket = transport.get_extra_info("socket")
    return -1 if socket is None else int(socket.fileno())


class _Setup:
    """What is needed until the request is read; an open connection does not keep it. `early` is what the
    client sent before it was answered."""

    __slots__ = ("app_state", "config", "early", "head", "server_state", "servers", "trusted")

    def __init__(
        self,
        servers: tuple[EngineServer, ...],
        trusted: TrustedProxies,
        config: Any,
        server_state: Any,
        app_state: Any,
    ) -> None:
        self.servers = servers
        self.trusted = trusted
        self.config = config
        self.server_state = server_state
        self.app_state = app_state
        self.head = b""
        self.early = b""

    def find(self, path: str) -> EngineServer | None:
        for server in self.servers:
            if server.matches(path):
                return server
        return None

    def handshake(self, request: _Request, transport: asyncio.Transport) -> Handshake:
        peer = transport.get_extra_info("peername")
        host = str(peer[0]) if isinstance(peer, tuple) else ""
        head = request.kept()
        secure = transport.get_extra_info("sslcontext") is not None
        client, secure = self.trusted.resolve(host, secure, request.headers)
        return Handshake(
            # Most of this is the same for most clients, and kept as long as they are connected.
            path=sys.intern(request.path),
            query=query_of(request.query),
            headers=Headers(head),
            cookies=Cookies(head) if "cookie" in request.headers else NO_COOKIES,
            client=sys.intern(client),
            secure=secure,
        )


class _Request:
    """The request that asks for the upgrade, as uvicorn repeats it: whole, names in lower case."""

    __slots__ = ("_lines", "headers", "method", "path", "query")

    def __init__(self, data: bytes) -> None:
        line, _, rest = data.partition(b"\r\n")
        method, _, target = line.partition(b" ")
        self.method = method
        path, _, self.query = target.rpartition(b" ")[0].partition(b"?")
        self.path = unquote(path.decode("latin-1"))
        self.headers: dict[str, str] = {}
        self._lines = rest.removesuffix(b"\r\n\r\n").decode("latin-1").split("\r\n")
        for header in self._lines:
            name, _, value = header.partition(":")
            self.headers.setdefault(name.lower(), value.strip())

    def kept(self) -> bytes:
        """The header lines without those of the upgrade, which mean nothing when it is done: connections
        are many, and last."""
        return "\r\n".join(
            [line for line in self._lines if not line.lower().startswith(_OF_THE_UPGRADE)]
        ).encode("latin-1")

    def check(self) -> Refusal | None:
        """RFC 6455, section 4.2.1."""
        headers = self.headers
        try:
            key = binascii.a2b_base64(headers.get("sec-websocket-key", ""), strict_mode=True)
        except ValueError:
            return refusal.BAD_REQUEST
        if self.method != b"GET" or len(key) != 16:
            return refusal.BAD_REQUEST
        if headers.get("sec-websocket-version") != "13":
            return refusal.UPGRADE_REQUIRED
        return None

    def offers_deflate(self) -> bool:
        return deflate.accepts(self.headers.get("sec-websocket-extensions", ""))

    def accept(self, deflates: bool) -> bytes:
        key = self.headers["sec-websocket-key"].encode("latin-1")
        digest = hashlib.sha1(key + _GUID, usedforsecurity=False).digest()
        return (
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
            b"sec-websocket-accept: %s\r\n%s\r\n"
            % (binascii.b2a_base64(digest, newline=False), _DEFLATES if deflates else b"")
        )
