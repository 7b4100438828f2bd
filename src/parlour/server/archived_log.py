"""A hot window over the archive, as one log: what left the window is read from the database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager

from parlour.core.streams import Appended, Dedupe, NewEvent, Page, Position
from parlour.errors import PositionLost
from parlour.ports import Archive, Attachment, EventLog, Follower, Sink, follow_with

Settle = Callable[[str, int], Awaitable[None]]
"""Waits until the archive holds a stream up to an offset."""


class ArchivedLog:
    """`EventLog` over a hot log and an archive.

    `settle`, where given, makes every append wait until the archive holds it (durability `stored` over a
    hot log that does not write through).
    """

    def __init__(self, hot: EventLog, archive: Archive, settle: Settle | None = None) -> None:
        self._hot = hot
        self._archive = archive
        self._settle = settle
        if settle is None:
            # Nothing is added: callers reach the hot log without a detour.
            self.append = hot.append  # type: ignore[method-assign]

    async def append(
        self,
        stream: str,
        events: Sequence[NewEvent],
        *,
        expected: int | None = None,
        fence: int | None = None,
        dedupe: Dedupe | None = None,
    ) -> Appended:
        appended = await self._hot.append(
            stream, events, expected=expected, fence=fence, dedupe=dedupe
        )
        if self._settle is not None:
            await self._settle(stream, appended.last)
        return appended

    async def read(self, stream: str, after: Position | None, limit: int) -> Page:
        if after is not None:
            try:
                return await self._hot.read(stream, after, limit)
            except PositionLost:
                head = await self._hot.head(stream)
                if after.epoch != head.epoch or after.offset > head.offset:
                    raise
        page = await self._archive.read(stream, after, limit)
        if not page.events:
            # Neither has it: it was trimmed before the archive got it.
            return await self._hot.read(stream, after, limit)
        return Page(page.events, page.position, await self._hot.head(stream))

    async def head(self, stream: str) -> Position:
        return await self._hot.head(stream)

    async def attach(self, stream: str, sink: Sink) -> Attachment:
        return await self._hot.attach(stream, sink)

    def follow(self, stream: str, limit: int = 1024) -> AbstractAsyncContextManager[Follower]:
        return follow_with(self, stream, limit)

    async def trim(self, stream: str, through: int) -> None:
        await self._hot.trim(stream, through)
        await self._archive.compact(stream, through)

    async def close(self) -> None:
        await self._hot.close()
