"""One Engine.IO connection, whatever carries it.

    SocketTransport ──owns──► EngineConnection ──has──► EngineSession (state), Outbox (what waits)
                                     │ carried by one Carrier at a time
                                     ▼
                 PollingCarrier · AsgiWebSocket · FastWebSocket

A carrier moves bytes and nothing else. Its owner calls `receive`, `lost`, `take`; the connection
calls the carrier's four methods. Both directions are plain calls that never wait."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from parlour.errors import ProtocolError
from parlour.server.endpoint import Handshake
from parlour.server.outbox import Outbox
from parlour.wire import engineio
from parlour.wire.engineio import Packet, decode_packet
from parlour.wire.engineio_session import Action, Deliver, Do, EngineSession, State
from parlour.wire.packets import Encoded

if TYPE_CHECKING:
    from parlour.transports.socketio.server import EngineServer
    from parlour.transports.socketio.wheel import Timed

log = logging.getLogger("parlour.transports.socketio")


class Carrier(Protocol):
    """What moves the bytes of one connection."""

    name: ClassVar[str]
    """`websocket` or `polling`."""

    def write(self, encoded: Encoded) -> bool:
        """Write now, or say False: then the packet goes to the outbox and `wake` follows."""

    def wake(self) -> None:
        """Something waits in the outbox."""

    def finish(self) -> None:
        """Write what waits, then close. The connection takes no more packets."""

    def abort(self) -> None:
        """Close now. Idempotent."""


class Candidate(Carrier, Protocol):
    """A WebSocket that wants to take a polling connection over."""

    def write_aside(self, encoded: Encoded) -> None:
        """Write a packet of the upgrade itself, past the outbox."""


class EngineConnection:
    """Subclasses give the messages a meaning; they override the three methods below `# meaning`.

    After `close`, `abort` or `lost` nothing is received and `send` does nothing; `left` is called
    once."""

    __slots__ = (
        "_candidate",
        "_closing_at",
        "_ended",
        "carrier",
        "engine",
        "handshake",
        "mixes",
        "outbox",
        "server",
        "timer_slot",
    )

    def __init__(
        self,
        server: EngineServer,
        engine: EngineSession,
        handshake: Handshake,
        carrier: Carrier,
    ) -> None:
        self.server = server
        self.engine: Final = engine
        self.handshake: Final = handshake
        self.timer_slot: set[Timed] | None = None
        self.carrier = carrier
        self._candidate: Candidate | None = None
        self.outbox: Outbox | None = None
        self.mixes = False
        """Whether the client reads `message:deltas`."""
        self._closing_at: float | None = None
        self._ended = False

    # meaning

    def message(self, data: str | bytes, start: int) -> None:
        """A message; a text's content begins at `start`. May raise ProtocolError."""

    def left(self, reason: str) -> None:
        """The connection is over."""

    def deadline(self) -> float | None:
        """The subclass's own deadline, beside Engine.IO's."""
        return None

    def expire(self, now: float) -> None:
        """Look at the subclass's own deadline."""

    # state

    @property
    def closed(self) -> bool:
        return self.engine.state is State.CLOSED

    @property
    def buffered(self) -> int:
        return 0 if self.outbox is None else self.outbox.size

    # out

    def send(self, encoded: Encoded, barrier: bool = False) -> None:
        """Write the packet or put it in the outbox. A reader that is too slow is closed."""
        if self._ended:
            return
        if self.outbox is None and self.carrier.write(encoded):
            return
        self._queue(encoded, barrier)

    def take(self) -> list[Encoded]:
        """For the carrier: the next packets to write; empty when nothing waits."""
        outbox = self.outbox
        if outbox is None:
            return []
        packets = outbox.take()
        if not len(outbox):
            self.outbox = None
        return packets

    def take_all(self) -> list[Encoded]:
        """For the carrier: everything that waits."""
        outbox, self.outbox = self.outbox, None
        return [] if outbox is None else outbox.take_all()

    def _queue(self, encoded: Encoded, barrier: bool) -> None:
        outbox = self.outbox
        if outbox is None:
            outbox = self.outbox = Outbox(self.server.settings.outbox, mixes=self.mixes)
        if outbox.push(encoded, barrier=barrier):
            self.carrier.wake()
            return
        self.server.counters.slow_consumers += 1
        outbox.clear()
        self.overflow()

    def overflow(self) -> None:
        """The outbox refused; everything that waited is dropped."""
        self.close("slow_consumer")

    # in

    def receive(self, message: str | bytes) -> None:
        """A WebSocket message."""
        try:
            if isinstance(message, bytes) or message.startswith("4"):
                # Messages never change the Engine.IO state, so the hot path goes round it.
                if not self._ended:
                    self.message(message, 1)
            else:
                self._perform(self.engine.receive(decode_packet(message), self.server.now()))
        except ProtocolError as error:
            self.broken(error)

    def receive_packet(self, packet: Packet) -> None:
        """A packet of a long-polling body. Raises ProtocolError, so that the request can tell."""
        self._perform(self.engine.receive(packet, self.server.now()))

    def broken(self, error: ProtocolError) -> None:
        """The peer does not speak the protocol: close at once."""
        self.over(error)
        self.carrier.abort()

    def over(self, error: ProtocolError) -> None:
        """The same where the carrier closes itself."""
        log.info("closing %s: %s", self.engine.label, error.message)
        self.server.counters.protocol_errors += 1
        self._end("parse error")
        self.server.forget(self)

    # upgrade

    def offer(self, candidate: Candidate) -> bool:
        """A WebSocket asks to take over. False when it may not."""
        if not self.engine.offer_candidate(self.server.now()):
            return False
        self._candidate = candidate
        self.schedule()
        return True

    def receive_on_candidate(self, message: str | bytes) -> None:
        """A message on the candidate. A mistake ends the candidate only."""
        try:
            self._perform(self.engine.receive_on_candidate(decode_packet(message)))
        except ProtocolError:
            self._drop_candidate()

    def candidate_lost(self, candidate: Candidate) -> None:
        """The candidate went away."""
        if self._candidate is candidate:
            self._candidate = None
            self.engine.lose_candidate()

    def _drop_candidate(self) -> None:
        candidate, self._candidate = self._candidate, None
        self.engine.lose_candidate()
        if candidate is not None:
            candidate.abort()

    def _switch(self) -> None:
        candidate = self._candidate
        assert candidate is not None
        self._candidate = None
        self.carrier = candidate
        self.schedule()
        candidate.wake()

    # time

    def tick(self, now: float) -> None:
        """A deadline has come (or a request asks whether one has)."""
        if self._closing_at is not None:
            if now >= self._closing_at:
                self.carrier.abort()
                # A client that polled and went away leaves nobody else to say so.
                self.lost()
            return
        self._perform(self.engine.tick(now))
        if not self.closed:
            self.expire(now)
        if not self.closed:
            self.schedule()

    def schedule(self) -> None:
        """Tell the timer wheel about the earliest deadline."""
        when = self.engine.deadline
        own = self.deadline()
        self.server.wheel.schedule(self, when if own is None or own > when else own)

    # end

    def close(self, reason: str) -> None:
        """Write what waits, then close the carrier, by force after the close time limit."""
        if self._ended:
            return
        upgrading = self._candidate is not None
        self._end(reason)
        if upgrading:
            # The client has stopped polling, or is about to: it hears of the end now or by no ping.
            self._queue(engineio.CLOSE, True)
        self._closing_at = self.server.now() + self.server.settings.close_timeout
        self.server.wheel.schedule(self, self._closing_at)
        self.carrier.finish()

    def abort(self, reason: str) -> None:
        """Close at once; what waits is dropped, except for a poll that is being answered."""
        upgrading = self._candidate is not None
        self._end(reason)
        self.server.forget(self)
        if upgrading:
            # Told, not only released: a client that is about to upgrade polls no more, and would not
            # notice until its ping is missing. Any other one sees its poll fail, and comes back.
            self.carrier.finish()
        else:
            self.carrier.abort()

    def lost(self, reason: str = "transport close") -> None:
        """The carrier is gone."""
        self._end(reason)
        self.outbox = None
        self.server.forget(self)

    def _end(self, reason: str) -> None:
        if self._ended:
            return
        self._ended = True
        self.engine.close()
        candidate, self._candidate = self._candidate, None
        if candidate is not None:
            candidate.abort()
        self.left(reason)

    def _perform(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            if isinstance(action, Deliver):
                self.message(action.data, 0)
            else:
                self._do(action)

    def _do(self, action: Do) -> None:
        match action:
            case Do.SEND_PING:
                self.send(engineio.PING)
            case Do.SEND_PROBE:
                if self._candidate is not None:
                    self._candidate.write_aside(engineio.PONG_PROBE)
            case Do.RELEASE_POLL:
                self.carrier.wake()
            case Do.SWITCH:
                self._switch()
            case Do.DROP_CANDIDATE:
                self._drop_candidate()
            case Do.CLOSE:
                self.abort("transport close")
            case Do.TIME_OUT:
                self.abort("ping timeout")
