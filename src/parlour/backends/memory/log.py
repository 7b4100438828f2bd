"""The event log in this process's memory: the hot window of a single node.

Three ways to use it:

- alone (`origin` and `journal` None): nothing outlives the process, what leaves the window is gone;
- with an `origin` (durability `hot` or `memory` over a database): an append is one synchronous
step, the
  synchroniser writes behind (`HotLog`), and what the archive lacks never leaves the window;
- with a `journal` (durability `stored`): appends are committed in groups before anybody sees them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

from parlour.backends.epochs import first_epoch
from parlour.backends.flights import SingleFlight
from parlour.backends.memory.committer import Committer
from parlour.backends.memory.stream import Draft, HeldStream, draft
from parlour.backends.records import encode_records
from parlour.backends.sinks import HeldAttachment
from parlour.backends.window import WindowLimits
from parlour.core.streams import Appended, Batch, Dedupe, NewEvent, Page, Position
from parlour.errors import ShuttingDown, Unavailable
from parlour.ports import (
    Archive,
    Attachment,
    Clock,
    Entry,
    Follower,
    Opening,
    Origin,
    Sink,
    follow_with,
)

LOOKED_AT = 8
"""Held streams that each opening of another one looks at, whether they rest."""


class MemoryLog:
    """`ports.EventLog` and `ports.HotLog` in memory.

    `journal` brings its own origin unless one is given. `limits` bound the window and what the
    archive may lack.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        origin: Origin | None = None,
        journal: Archive | None = None,
        limits: WindowLimits | None = None,
    ) -> None:
        if journal is not None and origin is None:
            origin = journal.origin(writes_through=True)
        self._clock = clock
        self._origin = origin
        self._limits = limits or WindowLimits()
        self._committer: Committer | None = None
        if journal is not None and origin is not None:
            self._committer = Committer(journal, origin, clock, self._limits)
        self._writes_behind = origin is not None and journal is None
        self._epoch = first_epoch()
        self._streams: dict[str, HeldStream] = {}
        self._opening: SingleFlight[None] = SingleFlight()
        self._turn: Iterator[str] = iter(())
        self._dirty: dict[str, None] = {}
        self._unsynced_events = 0
        self._unsynced_bytes = 0
        self._closed = False

    # -- EventLog --------------------------------------------------------------------------------

    async def append(
        self,
        stream: str,
        events: Sequence[NewEvent],
        *,
        expected: int | None = None,
        fence: int | None = None,
        dedupe: Dedupe | None = None,
    ) -> Appended:
        """Also raises `InvalidPayload` for data that is not JSON and `TooLarge`."""
        if self._committer is None and dedupe is None and fence is None and expected is None:
            records = encode_records(events, self._limits.event_bytes)
            held = self._streams.get(stream)
            if held is None or held.leaving is not None or self._closed:
                held = await self._held(stream)
            return self._append_plain(held, events, records)
        made = draft(
            stream,
            events,
            self._limits.event_bytes,
            expected=expected,
            fence=fence,
            dedupe=dedupe,
        )
        held = self._streams.get(stream)
        if held is None or held.leaving is not None or self._closed:
            held = await self._held(stream)
        if self._committer is None:
            return self._append_now(held, made)
        return await self._committer.commit(held, made)

    async def read(self, stream: str, after: Position | None, limit: int) -> Page:
        return (await self._held(stream)).read(after, limit)

    async def head(self, stream: str) -> Position:
        return (await self._held(stream)).position

    async def attach(self, stream: str, sink: Sink) -> Attachment:
        held = await self._held(stream)
        return HeldAttachment(held.sinks, sink, held.position)

    def follow(self, stream: str, limit: int = 1024) -> AbstractAsyncContextManager[Follower]:
        return follow_with(self, stream, limit)

    async def trim(self, stream: str, through: int) -> None:
        (await self._held(stream)).trim(through)

    async def close(self) -> None:
        self._closed = True
        if self._committer is not None:
            await self._committer.close()
        await self._opening.close()
        self._streams.clear()

    # -- HotLog ----------------------------------------------------------------------------------

    async def window(self, stream: str) -> tuple[int, int]:
        held = await self._held(stream)
        return held.floor, held.head

    async def dirty(self, limit: int) -> Sequence[str]:
        return list(self._dirty)[:limit]

    async def unsynced(self, stream: str, limit: int) -> Sequence[Entry]:
        held = self._streams.get(stream)
        return held.unsynced(limit) if held is not None else ()

    async def mark_synced(self, stream: str, position: Position) -> None:
        held = self._streams.get(stream)
        if held is None or held.epoch != position.epoch:
            return
        events, size = held.mark_synced(position.offset)
        self._unsynced_events -= events
        self._unsynced_bytes -= size
        self._dirty.pop(stream, None)
        if held.synced < held.head:
            self._dirty[stream] = None  # it waits again, behind the others
        held.shrink(self._limits)

    async def idle(self, limit: int) -> Sequence[str]:
        found: list[str] = []
        for name, held in self._streams.items():
            if len(found) == limit:
                break
            if self._is_idle(held):
                found.append(name)
        return found

    async def evict(self, stream: str, seal: Callable[[Position], Awaitable[bool]]) -> bool:
        held = self._streams.get(stream)
        if held is None or not self._is_idle(held):
            return False
        held.leaving = asyncio.Event()
        try:
            sealed = await seal(held.position)
            if sealed:
                del self._streams[stream]
            return sealed
        finally:
            held.leaving.set()
            held.leaving = None

    async def leave(self, seal: Callable[[str, Position], Awaitable[bool]]) -> None:
        """The process ends: seal every wholly synchronised stream, so that its next opening keeps
        the epoch. Nothing may be appended any more."""
        for name, held in list(self._streams.items()):
            if held.synced >= held.head:
                await seal(name, held.position)

    async def touch(self, stream: str) -> None:
        held = self._streams.get(stream)
        if held is not None:
            held.touched = self._clock.now_ms()

    # -- the parts -------------------------------------------------------------------------------

    async def _held(self, name: str) -> HeldStream:
        """The stream, opened where it is not held. Nothing is awaited after it was found."""
        while True:
            if self._closed:
                raise ShuttingDown("the log is closed")
            held = self._streams.get(name)
            if held is None:
                await self._open(name)
            elif held.leaving is not None:
                await held.leaving.wait()
            else:
                return held

    async def _open(self, name: str) -> None:
        """Open once for all who wait for it."""
        if self._origin is None:
            opening = Opening(Position(self._epoch, 0))
            self._streams[name] = HeldStream(name, opening, self._clock.now_ms())
            return
        await self._opening.run(name, partial(self._load, name, self._origin))

    async def _load(self, name: str, origin: Origin) -> None:
        opening = await origin.open(name)
        self._streams[name] = HeldStream(name, opening, self._clock.now_ms())
        if self._committer is not None:
            self._drop_idle()

    def _drop_idle(self) -> None:
        """Where everything is written through, a resting stream needs no seal and nobody's help:
        each opening looks at a few, in turn, so that the memory follows the streams in use."""
        for _ in range(LOOKED_AT):
            name = next(self._turn, None)
            if name is None:
                self._turn = iter(tuple(self._streams))
                return
            held = self._streams.get(name)
            if held is not None and self._is_idle(held):
                del self._streams[name]

    def _append_plain(
        self, held: HeldStream, events: Sequence[NewEvent], records: Sequence[bytes]
    ) -> Appended:
        """An append that nothing is to be checked for, as nearly all are: tokens of an answer."""
        if self._writes_behind:
            self._reserve(records)
        return self._show(held, held.extend(events, records, self._clock.now_ms()))

    def _append_now(self, held: HeldStream, made: Draft) -> Appended:
        now = self._clock.now_ms()
        appended = held.decide(made, now)
        if appended.duplicate:
            return appended
        if self._writes_behind:
            self._reserve(made.records)
        self._show(held, held.apply(made, appended, now))
        return appended

    def _show(self, held: HeldStream, batch: Batch) -> Appended:
        """Announce what the stream holds now; gives the batch's offsets."""
        if self._writes_behind:
            self._dirty.setdefault(held.name)
        else:
            held.mark_synced(held.head)
        held.shrink(self._limits)
        held.sinks.announce(batch)
        return Appended(batch.epoch, batch.since + 1, batch.since + len(batch.events))

    def _reserve(self, records: Sequence[bytes]) -> None:
        events = self._unsynced_events + len(records)
        size = self._unsynced_bytes + sum(map(len, records))
        if events > self._limits.unsynced_events or size > self._limits.unsynced_bytes:
            raise Unavailable("the database is too far behind; try again later")
        self._unsynced_events, self._unsynced_bytes = events, size

    def _is_idle(self, held: HeldStream) -> bool:
        return (
            self._origin is not None
            and held.synced == held.head
            and not held.pending
            and not len(held.sinks)
            and held.leaving is None
            and held.touched <= self._clock.now_ms() - self._limits.expiry_ms
        )
