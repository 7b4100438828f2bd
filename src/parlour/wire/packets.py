"""An encoded Socket.IO packet, made once and written to many connections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Delta(Protocol):
    """What a slow reader's outbox has to know to join text deltas.

    The packet takes a reader of `stream` from offset `since` to `last` of `epoch` and appends
    `text` to the message. Two deltas are joined when the second begins where the first ended."""

    @property
    def stream(self) -> str: ...

    @property
    def message_id(self) -> str: ...

    @property
    def epoch(self) -> str: ...

    @property
    def since(self) -> int: ...

    @property
    def last(self) -> int: ...

    @property
    def text(self) -> str: ...

    @property
    def namespace(self) -> str: ...

    def encode(self, since: int, last: int, texts: Mapping[str, str]) -> Encoded:
        """The packet that stands for several: from `since` to `last`, with what each message (by id)
        gets. More than one message only for readers that said that they know this."""
        ...


class Encoded:
    """One Socket.IO packet as Engine.IO message payloads: header as text, then binary attachments.

    `parts[0]` is the text (with the Engine.IO message type `4` in front), the rest are bytes.
    A packet that is text alone may be given as its UTF-8 bytes: most are framed for WebSockets and
    never looked at as text. `framed` keeps the packet as server-to-client WebSocket frames, made at
    the first use; `deflated` is the same, compressed. `delta`, where set, says that this packet is a
    text delta that a slow reader's outbox may join with others. `batch`, where set, are the packets
    that this one stands for: they are written as one, and only an outbox looks at them singly.
    `size` is in bytes, for a text given as `str` in characters.
    """

    __slots__ = ("_parts", "batch", "deflated", "delta", "framed", "size", "utf8")

    def __init__(
        self,
        parts: tuple[str | bytes, ...] | bytes,
        delta: Delta | None = None,
        batch: tuple[Encoded, ...] | None = None,
    ) -> None:
        self._parts: tuple[str | bytes, ...] | None = None
        self.utf8: bytes | None = None
        if isinstance(parts, bytes):
            self.utf8 = parts
            self.size = len(parts)
        else:
            self._parts = parts
            self.size = sum(map(len, parts))
        self.framed: bytes | None = None
        self.deflated: bytes | None = None
        self.delta = delta
        self.batch = batch

    @property
    def parts(self) -> tuple[str | bytes, ...]:
        parts = self._parts
        if parts is None:
            assert self.utf8 is not None
            parts = self._parts = (self.utf8.decode(),)
        return parts


def join_encoded(packets: Sequence[Encoded]) -> Encoded:
    """Several packets as one that is pushed, framed and written at once: for what happens to a
    whole room in one step."""
    return packets[0] if len(packets) == 1 else _Joined(packets)


class _Joined(Encoded):
    """Its parts are put together only where a carrier asks for them."""

    __slots__ = ()

    def __init__(self, packets: Sequence[Encoded]) -> None:
        super().__init__((), batch=tuple(packets))
        self.size = sum(packet.size for packet in packets)
        self._parts = None

    @property
    def parts(self) -> tuple[str | bytes, ...]:
        parts = self._parts
        if parts is None:
            assert self.batch is not None
            parts = self._parts = tuple(part for packet in self.batch for part in packet.parts)
        return parts
