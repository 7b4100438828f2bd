"""An encoded Socket.IO packet, made once and written to many connections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Delta:
    """What a slow reader's outbox has to know to join text deltas of one message.

    The packet takes a reader of `stream` from offset `since` to `last` of `epoch` and appends
    `text` to the message. Two deltas of the same message are joined when the second begins where
    the first ended; `encode(since, last, text)` makes the packet that stands for both."""

    stream: str
    message_id: str
    epoch: str
    since: int
    last: int
    text: str
    encode: Callable[[int, int, str], Encoded]
    namespace: str = "/"


class Encoded:
    """One Socket.IO packet as Engine.IO message payloads: header as text, then binary attachments.

    `parts[0]` is the text (with the Engine.IO message type `4` in front), the rest are bytes.
    `framed` keeps the packet as server-to-client WebSocket frames, made at the first use. `delta`,
    where set, says that this packet is a text delta that a slow reader's outbox may join with
    others. `batch`, where set, are the packets that this one stands for: they are written as one,
    and only an outbox looks at them singly.
    """

    __slots__ = ("batch", "delta", "framed", "parts", "size")

    def __init__(
        self,
        parts: tuple[str | bytes, ...],
        delta: Delta | None = None,
        batch: tuple[Encoded, ...] | None = None,
    ) -> None:
        self.parts: Final = parts
        self.size: Final = sum(map(len, parts))
        self.framed: bytes | None = None
        self.delta = delta
        self.batch = batch
