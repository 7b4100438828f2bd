"""The sinks of one stream, and how they hear what was appended."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from parlour.core.streams import Batch, Position
from parlour.ports import Lost, Sink

log = logging.getLogger(__name__)


class Sinks:
    """Sinks in the order of their attachment. A sink may detach itself or others while it hears."""

    __slots__ = ("_sinks",)

    def __init__(self) -> None:
        self._sinks: dict[object, Sink] = {}

    def __len__(self) -> int:
        return len(self._sinks)

    def add(self, key: object, sink: Sink) -> None:
        self._sinks[key] = sink

    def remove(self, key: object) -> None:
        self._sinks.pop(key, None)

    def announce(self, batch: Batch) -> None:
        for key, sink in tuple(self._sinks.items()):
            if key in self._sinks:
                try:
                    sink(batch)
                except Exception:  # one follower's defect must not stop the append nor the others
                    log.exception("a follower of %s failed", batch.stream)

    def lose(self, stream: str) -> None:
        """Tell every sink once that continuity is broken, and forget them all."""
        sinks, self._sinks = self._sinks, {}
        for sink in sinks.values():
            try:
                sink(Lost(stream))
            except Exception:  # as above
                log.exception("a follower of %s failed", stream)


class HeldAttachment:
    """`ports.Attachment` on `Sinks`."""

    __slots__ = ("_detached", "_ended", "_position", "_sinks")

    def __init__(
        self,
        sinks: Sinks,
        sink: Sink,
        position: Position,
        detached: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._sinks = sinks
        self._position = position
        self._detached = detached
        self._ended = False
        sinks.add(self, sink)

    @property
    def position(self) -> Position:
        return self._position

    async def detach(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._sinks.remove(self)
        if self._detached is not None:
            await self._detached()
