"""The Socket.IO side of one connection without I/O: namespaces, and acknowledgements both ways.

Each namespace of a connection is in one of these places:

    (unknown) ──CONNECT──► JOINING ──accept──► JOINED ──DISCONNECT or leave──► LEFT
                              └──refuse──► LEFT ──CONNECT──► JOINING

A client may have sent something before it hears that it is out, so events in JOINING and LEFT are
dropped; an event for a namespace that was never named is a broken client, which raises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, Generic, TypeVar

from parlour.errors import ProtocolError, Unavailable
from parlour.wire.limits import DEFAULT_LIMITS, Limits
from parlour.wire.packets import Encoded
from parlour.wire.socketio import (
    EVENT,
    MAIN,
    Decoder,
    Packet,
    PacketType,
    encode_connect,
    encode_connect_error,
    encode_disconnect,
)


class Place(Enum):
    JOINING = "joining"
    JOINED = "joined"
    LEFT = "left"


_JOINED: Final = Place.JOINED
"""Looked up once: a member of an enumeration costs ten times as much as a name."""

T = TypeVar("T")


class ByNamespace(Generic[T]):
    """Something for each namespace of a connection. Nearly every connection is in the main one
    alone: a dictionary for that would take five times as much."""

    __slots__ = ("_others", "main")

    def __init__(self) -> None:
        self.main: T | None = None
        self._others: dict[str, T] | None = None

    def get(self, namespace: str) -> T | None:
        if namespace == MAIN:
            return self.main
        return None if self._others is None else self._others.get(namespace)

    def put(self, namespace: str, value: T) -> None:
        if namespace == MAIN:
            self.main = value
            return
        if self._others is None:
            self._others = {}
        self._others[namespace] = value

    def pop(self, namespace: str) -> T | None:
        if namespace != MAIN:
            return None if self._others is None else self._others.pop(namespace, None)
        value, self.main = self.main, None
        return value

    def pairs(self) -> list[tuple[str, T]]:
        main = [] if self.main is None else [(MAIN, self.main)]
        return main if self._others is None else [*main, *self._others.items()]


class SocketSession:
    """Which namespaces a connection is in. `receive` raises only ProtocolError.

    `connect_by` is the time at which a connection without a namespace is to be closed; None while
    there is one or the server decides about one."""

    __slots__ = ("_decoder", "_limits", "_places", "_timeout", "connect_by")

    def __init__(self, now: float, connect_timeout: float, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits: Final = limits
        self._timeout: Final = connect_timeout
        self._decoder: Final = Decoder(limits)
        self._places: Final[ByNamespace[Place]] = ByNamespace()
        self.connect_by: float | None = now + connect_timeout

    def place(self, namespace: str) -> Place | None:
        return self._places.get(namespace)

    def receive(self, message: str | bytes, start: int = 0) -> Packet | None:
        """The packet that the caller has to act on, if the message completes one."""
        packet = self._decoder.feed(message, start)
        if packet is None:
            return None
        kind, namespace = packet.type, packet.namespace
        if kind is EVENT and namespace is MAIN and self._places.main is _JOINED:
            return packet
        if kind is PacketType.CONNECT:
            return self._begin(packet)
        if kind is PacketType.CONNECT_ERROR:
            raise ProtocolError("a client may not send CONNECT_ERROR")
        place = self._places.get(namespace)
        if place is None:
            raise ProtocolError("a packet for a namespace that was not connected")
        return packet if place is Place.JOINED else None

    def accept(self, namespace: str, sid: str, payload: Mapping[str, Any]) -> Encoded:
        """The server lets the client in; gives back the answer."""
        self._places.put(namespace, Place.JOINED)
        self.connect_by = None
        return encode_connect({**payload, "sid": sid}, namespace=namespace)

    def refuse(self, namespace: str, message: str, data: Any, now: float) -> Encoded:
        """The server does not; gives back the answer."""
        self._leave(namespace, now)
        return encode_connect_error(message, data, namespace=namespace)

    def leave(self, namespace: str, now: float) -> Encoded:
        """The client is out; gives back the packet that tells it (not needed when it asked)."""
        self._leave(namespace, now)
        return encode_disconnect(namespace=namespace)

    def _begin(self, packet: Packet) -> Packet:
        namespace = packet.namespace
        place = self._places.get(namespace)
        if place is Place.JOINING or place is Place.JOINED:
            raise ProtocolError("this namespace is connected already")
        if place is None and len(self._places.pairs()) >= self._limits.max_namespaces:
            raise ProtocolError("too many namespaces")
        self._places.put(namespace, Place.JOINING)
        self.connect_by = None
        return packet

    def _leave(self, namespace: str, now: float) -> None:
        self._places.put(namespace, Place.LEFT)
        if all(place is Place.LEFT for _, place in self._places.pairs()):
            self.connect_by = now + self._timeout


Done = Callable[[Sequence[Any] | None], None]


class PendingCalls:
    """Calls to a client that wait for its acknowledgement, in one namespace.

    Each `done` hears exactly one of: the answer's arguments, None at `close`, nothing when it was
    forgotten."""

    __slots__ = ("_limit", "_next", "_waiting")

    def __init__(self, limit: int = DEFAULT_LIMITS.max_pending_acks) -> None:
        self._limit: Final = limit
        self._next = 0
        self._waiting: dict[int, Done] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def open(self, done: Done) -> int:
        """The id to send. Raises Unavailable when too many calls wait."""
        if len(self._waiting) >= self._limit:
            raise Unavailable("this client leaves too many calls unanswered")
        number = self._next
        self._next += 1
        self._waiting[number] = done
        return number

    def forget(self, number: int) -> None:
        self._waiting.pop(number, None)

    def answer(self, number: int, args: Sequence[Any]) -> bool:
        """False for an id that waits for nothing: answered before, forgotten, or made up."""
        done = self._waiting.pop(number, None)
        if done is None:
            return False
        done(args)
        return True

    def close(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for done in waiting.values():
            done(None)
