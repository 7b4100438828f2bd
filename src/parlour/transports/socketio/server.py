"""The Engine.IO server: connections by id, one timer, one task group, and an ASGI callable."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context, copy_context
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Final, Self

from parlour.server.endpoint import Handshake
from parlour.server.randomness import connection_id
from parlour.server.starting import start_now
from parlour.transports.socketio.arrivals import Arrivals
from parlour.transports.socketio.asgi_websocket import serve_websocket
from parlour.transports.socketio.connection import Carrier, EngineConnection
from parlour.transports.socketio.departures import Departures
from parlour.transports.socketio.handshake import Scope
from parlour.transports.socketio.polling import serve_http
from parlour.transports.socketio.settings import SocketSettings
from parlour.transports.socketio.turn import Turn
from parlour.transports.socketio.wheel import TimerWheel
from parlour.wire.engineio_session import EngineSession, State
from parlour.wire.packets import Encoded

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(slots=True)
class Counters:
    """What happened since the start."""

    opened: int = 0
    closed: int = 0
    refused: int = 0
    slow_consumers: int = 0
    protocol_errors: int = 0


class EngineServer:
    """Base of the socket transport: what is the same for every meaning of the messages.

    `async with server:` owns every task; at its end all connections are closed. Constructing does
    nothing."""

    def __init__(self, settings: SocketSettings) -> None:
        self.settings: Final = settings
        self.counters = Counters()
        self.connections: Final[dict[str, EngineConnection]] = {}
        self.draining = False
        self._tasks: asyncio.TaskGroup | None = None
        self._wheel: TimerWheel | None = None
        self._turn: Turn | None = None
        self._arrivals: Arrivals | None = None
        self._departures: Departures | None = None
        self._empty: asyncio.Event | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._wheel = TimerWheel(loop, self.settings.timer_resolution)
        self._turn = Turn(loop)
        self._arrivals = Arrivals(loop)
        self._departures = Departures(loop)
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.draining = True
        self.abort_all("server shutting down")
        self.wheel.stop()
        assert self._tasks is not None
        # Not told of the body's error: the group would wrap it, and callers look for its class.
        await self._tasks.__aexit__(None, None, None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, for the scopes `http` and `websocket`. The path is not looked at: whoever routes
        here has done that (`matches`)."""
        serve = serve_websocket if scope["type"] == "websocket" else serve_http
        await serve(self, scope, receive, send)

    def make(
        self, engine: EngineSession, handshake: Handshake, carrier: Carrier
    ) -> EngineConnection:
        """The connection's class, decided by the subclass."""
        raise NotImplementedError

    @property
    def wheel(self) -> TimerWheel:
        assert self._wheel is not None, "the transport is not running"
        return self._wheel

    @property
    def turn(self) -> Turn:
        assert self._turn is not None, "the transport is not running"
        return self._turn

    @property
    def arrivals(self) -> Arrivals:
        assert self._arrivals is not None, "the transport is not running"
        return self._arrivals

    @property
    def departures(self) -> Departures:
        assert self._departures is not None, "the transport is not running"
        return self._departures

    def now(self) -> float:
        """Seconds of the loop's clock."""
        return self.wheel.now()

    def matches(self, path: str) -> bool:
        """Whether a request's path is the transport's."""
        return path == self.settings.path or path == self.settings.path + "/"

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Run in the transport's task group; None where it needed no waiting and is done. The work
        must not raise."""
        return start_now(work, copy_context(), self._go_on)

    def _go_on(self, work: Coroutine[Any, Any, None], context: Context) -> asyncio.Task[None]:
        assert self._tasks is not None, "the transport is not running"
        return self._tasks.create_task(work, context=context)

    def open(self, handshake: Handshake, carrier: Carrier) -> EngineConnection:
        """A new connection; its first packet, the handshake, is sent."""
        settings = self.settings
        on_websocket = carrier.name == "websocket"
        state = State.WEBSOCKET if on_websocket else State.POLLING
        engine = EngineSession(connection_id(), state, settings.heartbeat, self.now())
        connection = self.make(engine, handshake, carrier)
        self.connections[engine.sid] = connection
        self.counters.opened += 1
        upgrades = ["websocket"] if settings.websocket and not on_websocket else []
        connection.send(Encoded((engine.open_packet(settings.limits.max_payload, upgrades),)))
        connection.schedule()
        return connection

    def forget(self, connection: EngineConnection) -> None:
        """The connection is over and its carrier needs nothing more. Idempotent."""
        self.wheel.cancel(connection)
        if self.connections.pop(connection.engine.sid, None) is None:
            return
        self.counters.closed += 1
        if self._empty is not None and not self.connections:
            self._empty.set()

    def full(self) -> bool:
        """Whether new connections are refused for now."""
        return self.draining or len(self.connections) >= self.settings.max_connections

    def abort_all(self, reason: str) -> None:
        for connection in list(self.connections.values()):
            connection.abort(reason)

    async def wait_empty(self, seconds: float) -> bool:
        """Wait until there is no connection. False when the time is over first."""
        self._empty = asyncio.Event()
        if not self.connections:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    def stats(self) -> dict[str, int]:
        """Counts since the start, and of now: connections by carrier and bytes that wait."""
        now = list(self.connections.values())
        websockets = sum(connection.carrier.name == "websocket" for connection in now)
        return {
            **asdict(self.counters),
            "connections": len(now),
            "websocket": websockets,
            "polling": len(now) - websockets,
            "buffered_bytes": sum(connection.buffered for connection in now),
        }
