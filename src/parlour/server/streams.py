"""The one way to write a stream from this node: numbers come from the log, time from the clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from parlour.core.streams import MAX_OFFSET, Appended, Dedupe, NewEvent
from parlour.errors import ExpectationFailed
from parlour.ports import Clock, EventLog

NEVER: Final = MAX_OFFSET
"""A head that no stream has."""

NewData = tuple[str, Mapping[str, Any]]
"""An event's type and data."""


class Streams:
    """Appends events and tells the projector what changed."""

    def __init__(
        self, log: EventLog, clock: Clock, touched: Callable[[str, Sequence[NewEvent]], None]
    ) -> None:
        self._log = log
        self._clock = clock
        self._touched = touched

    async def append(
        self,
        stream: str,
        *events: NewData,
        source: str = "app",
        cause: str | None = None,
        dedupe: Dedupe | None = None,
        expected: int | None = None,
        fence: int | None = None,
    ) -> Appended:
        """Append, in one step. See `EventLog.append` for what is raised."""
        at = self._clock.now_ms()
        if len(events) == 1:
            ((kind, data),) = events
            records = [NewEvent(kind, data, at, source, cause)]
        else:
            records = [NewEvent(kind, data, at, source, cause) for kind, data in events]
        appended = await self._log.append(
            stream, records, expected=expected, fence=fence, dedupe=dedupe
        )
        if not appended.duplicate:
            self._touched(stream, records)
        return appended

    async def append_records(
        self,
        stream: str,
        records: Sequence[NewEvent],
        dedupe: Dedupe,
        *,
        fence: int | None = None,
    ) -> Appended:
        """Append events that were made before, once per dedupe key."""
        appended = await self._log.append(stream, records, dedupe=dedupe, fence=fence)
        if not appended.duplicate:
            self._touched(stream, records)
        return appended

    async def known(self, stream: str, key: str) -> Appended | None:
        """What an append with this dedupe key did before; None where there was none. Writes nothing: the
        expectation cannot hold, and the key is looked up first."""
        probe = NewEvent("probe", {}, self._clock.now_ms(), "system")
        try:
            return await self._log.append(stream, [probe], expected=NEVER, dedupe=Dedupe(key))
        except ExpectationFailed:
            return None
