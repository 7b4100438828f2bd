"""Every setting of the socket transport, with its default."""

from __future__ import annotations

from dataclasses import dataclass, field

from parlour.server.outbox import OutboxLimits
from parlour.wire.engineio_session import Heartbeat
from parlour.wire.limits import Limits


@dataclass(frozen=True, slots=True)
class SocketSettings:
    """Times are seconds, sizes bytes."""

    path: str = "/ws/socket.io"
    """Where clients connect; a slash at the end of a request's path is ignored."""

    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    limits: Limits = field(default_factory=Limits)
    outbox: OutboxLimits = field(default_factory=OutboxLimits)

    websocket: bool = True
    """False leaves long-polling alone; the handshake then offers no upgrade."""

    compression: bool = False
    """Whether clients that offer permessage-deflate get it. Where the server below frames
    (plain ASGI), that is its own setting."""

    allowed_origins: tuple[str, ...] | None = None
    """Origins (`https://host[:port]`) whose pages may connect, `*` for all; the origin that
    the request's Host header names always may. A request without an Origin header is no browser's:
    it passes."""

    namespaces: frozenset[str] = frozenset({"/"})
    """A CONNECT to any other is refused with `Invalid namespace`."""

    connect_timeout: float = 10.0
    """A connection that is in no namespace for this long is closed."""

    close_timeout: float = 5.0
    """How long a closing connection may take to read what was left for it."""

    slow_consumer_after: float = 1.0
    """What a client that was too slow is told to wait before it comes back."""

    max_connections: int = 100_000
    """Beyond it new connections are answered 503."""

    timer_resolution: float = 0.02
    """Granularity of pings and time limits."""
