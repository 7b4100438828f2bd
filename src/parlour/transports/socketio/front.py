"""The first bytes of a connection: who serves it, and how long it may take to say what it wants.

uvicorn's HTTP protocol is right for requests and dear for sockets: it would parse the request, make a
scope, throw both away and hand over. So uvicorn's `http=` setting gets this class. A plain request to
upgrade on a socket server's path goes straight to `FastWebSocket`; everything else, and everything
that is in any way unusual, to uvicorn's own protocol, which gets the very bytes.

A head that does not become whole in time is answered 408: half-open requests cost their sender
nothing. uvicorn has no such limit, so it holds for later requests of a connection, too."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from parlour.transports.socketio.fast import fast_protocol

if TYPE_CHECKING:
    from parlour.transports.socketio.server import EngineServer

MAX_HEAD: Final = 64 * 1024
"""Bytes of a request's head."""

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PLAIN: Final = re.compile(
    rb"GET (/[!-~]*) HTTP/1\.1\r\n(?:" + _TOKEN + rb":[\t -~\x80-\xff]*\r\n)+\r\n"
)
_UPGRADE: Final = re.compile(rb"(?i)\r\nupgrade:[\t ]*websocket[\t ]*\r\n")
_CONNECTION: Final = re.compile(rb"(?i)\r\nconnection:(?:[^\r]*[,\t ])?upgrade[,\t \r]")
_UNUSUAL: Final = re.compile(
    rb"(?i)\r\n(?:content-length|transfer-encoding|expect|host:[^\r]*\r\nhost):"
)

_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n"
    b"connection: close\r\n\r\n"
)


def front_protocol(*servers: EngineServer, head_seconds: float) -> Any:
    """What uvicorn's `http=` setting takes. Without servers it only keeps the time."""
    fast = fast_protocol(*servers)
    heads = Heads(head_seconds)

    def build(config: Any, server_state: Any, app_state: Any, _loop: Any = None) -> Front:
        return Front(_Reception(servers, fast, heads, config, server_state, app_state))

    return build


class Late(Protocol):
    def too_slow(self) -> None:
        """The head was not whole in time."""


class Heads:
    """Whose request is not whole yet. One timer for all: the first to come is the first to go."""

    def __init__(self, seconds: float) -> None:
        self._seconds: Final = seconds
        self._until: dict[Late, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def expect(self, one: Late) -> None:
        loop = asyncio.get_running_loop()
        self._until.pop(one, None)
        self._until[one] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._look)

    def whole(self, one: Late) -> None:
        """Its head is here, or it went away."""
        self._until.pop(one, None)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer, now = None, loop.time()
        while self._until:
            one, until = next(iter(self._until.items()))
            if until > now:
                self._timer = loop.call_at(until, self._look)
                return
            del self._until[one]
            one.too_slow()


class _Reception:
    """What every connection of a server needs; the same for all but for uvicorn's arguments."""

    __slots__ = ("app_state", "config", "fast", "heads", "server_state", "servers")

    def __init__(
        self,
        servers: tuple[EngineServer, ...],
        fast: Any,
        heads: Heads,
        config: Any,
        server_state: Any,
        app_state: Any,
    ) -> None:
        self.servers = servers
        self.fast = fast
        self.heads = heads
        self.config = config
        self.server_state = server_state
        self.app_state = app_state

    def choose(self, head: bytes) -> asyncio.Protocol:
        """The protocol that serves a connection which begins like this."""
        if self.servers and self._asks_for_us(head):
            fast = self.fast(self.config, self.server_state, self.app_state)
            return cast(asyncio.Protocol, fast)
        return _TimedHttp(self.heads, self.config, self.server_state, self.app_state)

    def _asks_for_us(self, head: bytes) -> bool:
        plain = _PLAIN.fullmatch(head)
        if plain is None or not _UPGRADE.search(head) or not _CONNECTION.search(head):
            return False
        path = plain[1].partition(b"?")[0].decode("ascii")
        return any(server.matches(path) for server in self.servers) and not _UNUSUAL.search(head)


class Front(asyncio.Protocol):
    """A connection whose first request is not whole yet."""

    __slots__ = ("_head", "_reception", "_transport")

    def __init__(self, reception: _Reception) -> None:
        self._reception = reception
        self._head = b""
        self._transport: asyncio.Transport = None  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._reception.server_state.connections.add(self)
        self._reception.heads.expect(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def data_received(self, data: bytes) -> None:
        head = self._head = self._head + data if self._head else data
        # Not only for whole heads: what is no HTTP at all is for uvicorn to refuse, at once.
        if b"\r\n\r\n" not in head and head[:1].isalpha():
            if len(head) > MAX_HEAD:
                self._refuse(_TOO_LARGE)
            return
        self._leave()
        chosen = self._reception.choose(head)
        chosen.connection_made(self._transport)
        self._transport.set_protocol(chosen)
        chosen.data_received(head)

    def eof_received(self) -> None:
        """Let the transport close."""

    def pause_writing(self) -> None:
        """Nothing is written here that would have to wait."""

    def resume_writing(self) -> None:
        """The same."""

    def too_slow(self) -> None:
        self._refuse(_TOO_SLOW)

    def shutdown(self) -> None:
        """uvicorn is going away."""
        self._transport.close()

    def _refuse(self, answer: bytes) -> None:
        self._transport.write(answer)
        self._transport.close()

    def _leave(self) -> None:
        self._reception.server_state.connections.discard(self)
        self._reception.heads.whole(self)


class _TimedHttp(HttpToolsProtocol):
    """uvicorn's own, with a time limit on each request's head."""

    def __init__(self, heads: Heads, config: Any, server_state: Any, app_state: Any) -> None:
        super().__init__(config=config, server_state=server_state, app_state=app_state)
        self._heads = heads

    def on_message_begin(self) -> None:
        self._heads.expect(self)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._heads.whole(self)
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._heads.whole(self)
        super().connection_lost(exc)

    def too_slow(self) -> None:
        """For `Heads`."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_TOO_SLOW)
        self.transport.close()
