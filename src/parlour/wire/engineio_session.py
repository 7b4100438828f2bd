"""The life of one Engine.IO connection on the server, without sockets and without a clock.

    POLLING ──websocket asks──► PROBING ──"2probe"──► UPGRADING ──"5"──► WEBSOCKET
       ▲────────────candidate closed or too slow──────────┘
    any state ──close packet, missing pong, broken packet──► CLOSED

The caller passes the time in, does what the returned actions say, in order, and calls `tick` when
`deadline` has come.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from parlour.errors import ProtocolError
from parlour.wire import json
from parlour.wire.engineio import Packet, PacketType


class State(Enum):
    POLLING = "polling"
    PROBING = "probing"
    UPGRADING = "upgrading"
    WEBSOCKET = "websocket"
    CLOSED = "closed"


class Do(Enum):
    """What the caller has to do now."""

    SEND_PING = "send ping"
    SEND_PROBE = "send 3probe on the candidate"
    RELEASE_POLL = "answer a waiting poll with noop"
    SWITCH = "the candidate carries the connection from now on"
    DROP_CANDIDATE = "close the candidate, the connection goes on over polling"
    CLOSE = "close"
    TIME_OUT = "close, the peer is gone"


@dataclass(frozen=True, slots=True)
class Deliver:
    """A message for the application."""

    data: str | bytes


Action = Do | Deliver
NOTHING: Final[tuple[Action, ...]] = ()


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Seconds. A ping follows `interval` after the opening or the last pong; the pong must come
    within `timeout`; a WebSocket that offers itself must have taken over within `upgrade`."""

    interval: float = 25.0
    timeout: float = 20.0
    upgrade: float = 10.0


class EngineSession:
    """One connection's state. `deadline` is when `tick` has something to do."""

    __slots__ = ("_awaiting_pong", "_beat", "_probe_until", "_pulse_at", "sid", "state")

    def __init__(self, sid: str, state: State, beat: Heartbeat, now: float) -> None:
        self.sid: Final = sid
        self.state = state
        self._beat: Final = beat
        self._awaiting_pong = False
        self._pulse_at = now + beat.interval
        self._probe_until: float | None = None

    @property
    def deadline(self) -> float:
        if self._probe_until is None:
            return self._pulse_at
        return min(self._pulse_at, self._probe_until)

    @property
    def closed(self) -> bool:
        return self.state is State.CLOSED

    @property
    def label(self) -> str:
        """Names the connection in logs. The whole id is a secret: whoever knows it may poll."""
        return self.sid[:6]

    def open_packet(self, max_payload: int, upgrades: list[str]) -> str:
        """The first packet to the client."""
        # By hand: ids are of letters, digits, `-` and `_`, and this is said to everybody.
        offered = json.dumps(upgrades).decode() if upgrades else "[]"
        beat = self._beat
        return (
            f'0{{"sid":"{self.sid}","upgrades":{offered},'
            f'"pingInterval":{round(beat.interval * 1000)},'
            f'"pingTimeout":{round(beat.timeout * 1000)},"maxPayload":{max_payload}}}'
        )

    def receive(self, packet: Packet, now: float) -> tuple[Action, ...]:
        """A packet on the transport that carries the connection. Raises ProtocolError."""
        if self.closed:
            return NOTHING
        match packet.type:
            case PacketType.MESSAGE:
                return (Deliver(packet.data),)
            case PacketType.PONG:
                return self._pong(now)
            case PacketType.CLOSE:
                return self.close()
            case PacketType.NOOP:
                return NOTHING
            case _:
                raise ProtocolError(f"a client may not send {packet.type.name} here")

    def offer_candidate(self, now: float) -> bool:
        """A WebSocket names this connection. False when it may not take over (a second candidate,
        or the connection is on a WebSocket already)."""
        if self.state is not State.POLLING:
            return False
        self.state = State.PROBING
        self._probe_until = now + self._beat.upgrade
        return True

    def receive_on_candidate(self, packet: Packet) -> tuple[Action, ...]:
        """A packet on the WebSocket that wants to take over. Raises ProtocolError, which ends the
        candidate, not the connection."""
        if self.state is State.PROBING and packet == (PacketType.PING, "probe"):
            self.state = State.UPGRADING
            return (Do.SEND_PROBE, Do.RELEASE_POLL)
        if self.state is State.UPGRADING and packet.type is PacketType.UPGRADE:
            self.state = State.WEBSOCKET
            self._probe_until = None
            return (Do.RELEASE_POLL, Do.SWITCH)
        if self.closed:
            return NOTHING
        raise ProtocolError("the upgrade was not in order")

    def lose_candidate(self) -> None:
        """The candidate went away before it took over."""
        if self.state in (State.PROBING, State.UPGRADING):
            self.state = State.POLLING
            self._probe_until = None

    def tick(self, now: float) -> tuple[Action, ...]:
        """Time has passed."""
        if self.closed:
            return NOTHING
        if now >= self._pulse_at:
            return self._pulse(now)
        if self._probe_until is not None and now >= self._probe_until:
            self.lose_candidate()
            return (Do.DROP_CANDIDATE,)
        return NOTHING

    def close(self) -> tuple[Action, ...]:
        """Idempotent; the first call releases a waiting poll."""
        if self.closed:
            return NOTHING
        self.state = State.CLOSED
        return (Do.RELEASE_POLL, Do.CLOSE)

    def _pong(self, now: float) -> tuple[Action, ...]:
        # A pong that nobody asked for does not move the clock: it would let a peer avoid pings.
        if self._awaiting_pong:
            self._awaiting_pong = False
            self._pulse_at = now + self._beat.interval
        return NOTHING

    def _pulse(self, now: float) -> tuple[Action, ...]:
        if self._awaiting_pong:
            self.state = State.CLOSED
            return (Do.RELEASE_POLL, Do.TIME_OUT)
        self._awaiting_pong = True
        self._pulse_at += self._beat.timeout
        if self._pulse_at > now:
            return (Do.SEND_PING,)
        # The loop was held up for longer than both limits: the peer gets its full time from now.
        self._pulse_at = now + self._beat.timeout
        return (Do.SEND_PING,)
