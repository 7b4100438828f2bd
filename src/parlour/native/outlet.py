"""What happens once for every delivery: a packet is noted for a connection, and written when the turn
of the event loop is over.

`_outlet.c` is the same, compiled: there a connection's socket is written to directly, by one system
call of our own per connection and turn, and the transport is asked only where the socket does not take
everything. This module says what both do, and serves where nothing was compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from parlour.wire.packets import Encoded
from parlour.wire.websocket import frame_deflated, frame_encoded

MAX_PENDING: Final = 256
"""Packets that are noted for one turn; what comes on top is written at once, so that the transport
can say that it is full."""


class Turn(Protocol):
    """Whose end is waited for. `schedule` is called when the first one waits."""

    waiting: list[Any]

    def schedule(self) -> None: ...


class Outlet:
    """Where the packets of one connection leave. Base of a transport's protocol class.

    `attach` gives it the transport, and the socket's file descriptor where that may be written to
    directly (plain TCP; -1 otherwise); `detach` has to be called before the descriptor is closed, which
    transports do after `connection_lost`. While `paused` nothing is taken. `deflates` says that the
    client reads compressed messages."""

    __slots__ = ("deflates", "fd", "paused", "pending", "transport", "turn")

    def __init__(self) -> None:
        self.pending: Any = None
        self.transport: Any = None
        self.turn: Any = None
        self.fd = -1
        self.paused = False
        self.deflates = False

    def attach(self, transport: Any, fd: int) -> None:
        self.transport = transport
        self.fd = fd

    def detach(self) -> None:
        self.fd = -1

    def write(self, encoded: Encoded) -> bool:
        """Note a packet for the end of this turn. False while the transport is full."""
        if self.paused:
            return False
        pending = self.pending
        if pending is None:
            waiting = self.turn.waiting
            if not waiting:
                self.turn.schedule()
            waiting.append(self)
            self.pending = encoded
        elif isinstance(pending, list):
            pending.append(encoded)
            if len(pending) >= MAX_PENDING:
                self.flush()
        else:
            self.pending = [pending, encoded]
        return True

    def flush(self) -> None:
        """Write what was noted, in one piece."""
        pending, self.pending = self.pending, None
        if pending is None:
            return
        try:
            self.transport.write(self._frames(pending))
        except RuntimeError:
            # uvloop's, for a socket that broke in this very turn: `connection_lost` comes next, and
            # the other carriers of the turn must not go without their packets.
            return

    def put(self, data: bytes) -> None:
        """Write bytes now, behind what was noted."""
        self.flush()
        self.transport.write(data)

    def put_packets(self, packets: list[Encoded]) -> None:
        """Write packets now, behind what was noted."""
        self.flush()
        self.transport.write(self._frames(packets))

    def _frames(self, packets: Encoded | list[Encoded]) -> bytes:
        frames = frame_deflated if self.deflates else frame_encoded
        return b"".join(map(frames, packets)) if isinstance(packets, list) else frames(packets)


class Port:
    """How packets come to a connection. Base of a link: `connection` has a `carrier`, an `outbox` (None
    where nothing waits) and a `send` that decides; while it is not `live` packets are `hold`ed."""

    __slots__ = ("connection", "live")

    def __init__(self) -> None:
        self.connection: Any = None
        self.live = False

    def send(self, encoded: Encoded) -> None:
        if not self.live:
            self.hold(encoded)
            return
        # What the connection's own `send` does first, without the call. A link that is live has a
        # connection that has not ended.
        connection = self.connection
        if connection.outbox is not None or not connection.carrier.write(encoded):
            connection.send(encoded)

    def hold(self, encoded: Encoded) -> None:
        raise NotImplementedError


def tell(connections: Sequence[Any], encoded: Encoded) -> None:
    """Send to the `link` of each. What one raises does not keep the packet from the others; the first
    error is raised in the end."""
    failed: Exception | None = None
    for connection in connections:
        try:
            connection.link.send(encoded)
        except Exception as error:  # noqa: BLE001 - see above
            failed = failed or error
    if failed is not None:
        try:
            raise failed
        finally:
            # An error refers to this frame: without this only the collector would give both back.
            failed = None


def flush_each(carriers: list[Any], start: int, stop: int) -> None:
    """Flush a part of the carriers. Errors as in `tell`."""
    failed: Exception | None = None
    for carrier in carriers[start:stop]:
        try:
            carrier.flush()
        except Exception as error:  # noqa: BLE001 - see above
            failed = failed or error
    if failed is not None:
        try:
            raise failed
        finally:
            # An error refers to this frame: without this only the collector would give both back.
            failed = None
