"""The seam between a transport and the server: what each gives the other.

A transport (plain ASGI today, a raw WebSocket protocol beside it) owns sockets, Engine.IO and
Socket.IO state; the server owns meaning. Everything that happens per packet is a plain synchronous
call in both directions, so no task is created on the way to or from a connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from parlour.wire.packets import Encoded

Ack = Callable[[Any], None]
"""Answers one packet's acknowledgement; the first call counts, later ones do nothing."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """What is known of the HTTP request that opened a connection. Header names are lower case; cookies
    are parsed; `client` is the peer's address after trusted proxy headers."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    client: str
    secure: bool


class Link(Protocol):
    """One Socket.IO connection to one namespace, as the server sees it. Its methods never wait."""

    @property
    def sid(self) -> str: ...

    @property
    def handshake(self) -> Handshake: ...

    @property
    def transport(self) -> str:
        """`websocket` or `polling`, now."""
        ...

    @property
    def buffered(self) -> int:
        """Bytes that wait in the outbox."""
        ...

    def send(self, encoded: Encoded) -> None:
        """Put an encoded packet into the bounded outbox. A slow reader past the hard limit is closed with
        `reconnect {reason: slow_consumer}`; sending to a closed link does nothing."""
        ...

    def call(
        self, event: str, args: Sequence[Any], done: Callable[[Sequence[Any] | None], None]
    ) -> Callable[[], None]:
        """Emit with a request for an acknowledgement. `done` hears the answer's arguments, or None when the link closed
        first; never both, never twice. Gives back a function that forgets the call (time limits are the caller's)."""
        ...

    def mix_deltas(self) -> None:
        """The client reads `message:deltas`: while it is slow, deltas of several messages may become one
        packet."""
        ...

    def close(self, reason: str = "server") -> None:
        """Flush what is in the outbox, send DISCONNECT, close the transport. Idempotent."""
        ...


class Endpoint(Protocol):
    """What a transport calls. One endpoint serves all links of a node."""

    async def connect(self, link: Link, namespace: str, auth: Any) -> Mapping[str, Any]:
        """Decide on a CONNECT packet; `auth` is its payload (any JSON value or None). The mapping
        travels in the CONNECT answer beside `sid`. Raises `ConnectionRefused`. Cancelled when the
        transport closes meanwhile. Events that the endpoint sends from here leave after the
        answer."""
        ...

    def receive(self, link: Link, event: str, args: Sequence[Any], ack: Ack | None) -> None:
        """An EVENT. Returns at once and must not raise."""
        ...

    def disconnected(self, link: Link, reason: str) -> None:
        """The link is gone; called exactly once for each link whose `connect` returned."""
        ...
