"""The synchroniser: writes the hot window behind to the database, so that nothing expires unsaved.

Reference document 004, done right: on an interval, on window pressure, before expiry and on shutdown;
idempotent by (stream, offset); one node at a time per stream; retried with exponential back-off and
jitter. With durability `stored` over a hot log that does not write through, an acknowledgement waits
for `settle`, which groups everybody who waits into one transaction.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import structlog

from parlour.core.streams import Event, NewEvent
from parlour.errors import LeaseLost, ParlourError, StreamError, Unavailable
from parlour.ports import Archive, Entry, HotLog, Lease, Leases

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from parlour.telemetry import Metrics

log = structlog.get_logger(__name__)

T = TypeVar("T")

LEASE_TTL_MS = 30_000
STREAMS_AT_ONCE = 64
"""Streams that are held at once; their appends travel to the database together."""

EVENTS_AT_ONCE = 500
"""Events in one transaction: about three milliseconds of the event loop."""

EVENTS_OF_STREAM = 2_000
"""Events of one stream after which the others have their turn."""

BACKOFF_SECONDS = (0.2, 10.0)
"""First and longest wait after a failed pass, before jitter."""

_REFUSALS = (StreamError, LeaseLost)
"""An archive's No to one stream, which trying again does not change."""

Synced = Callable[[str, Sequence[Event]], None]
"""Hears of a stream's events that are in the archive now."""


@dataclass(slots=True)
class Waiter:
    """Somebody whose acknowledgement waits until the archive holds `stream` up to `offset`."""

    stream: str
    offset: int
    done: asyncio.Future[None]


class Group:
    """What travels to the database in one transaction, by stream."""

    def __init__(self) -> None:
        self.size = 0
        self._entries: dict[str, Sequence[Entry]] = {}

    def add(self, stream: str, entries: Sequence[Entry]) -> int:
        """Gives how many events were added."""
        count = sum(len(entry.events) for entry in entries)
        self._entries[stream] = entries
        self.size += count
        return count

    def take(self) -> dict[str, Sequence[Entry]]:
        """What was added, and begin anew."""
        entries, self._entries, self.size = self._entries, {}, 0
        return entries


class Synchroniser:
    """One per node. Without `leases` nobody else holds the hot log: the process keeps it to itself."""

    def __init__(
        self,
        hot: HotLog,
        archive: Archive,
        leases: Leases | None,
        owner: str,
        metrics: Metrics,
        *,
        interval: float,
        pressure: int,
        synced: Synced,
    ) -> None:
        self._hot = hot
        self._archive = archive
        self._leases = leases
        self._owner = owner
        self._metrics = metrics
        self._interval = interval
        self._pressure = max(1, pressure)
        self._synced = synced
        self._appended = 0
        self._wake = asyncio.Event()
        self._waiters: list[Waiter] = []
        self._waiting = asyncio.Event()

    def touched(self, stream: str, events: Sequence[NewEvent]) -> None:
        """Something was appended on this node; a full window does not wait for the interval."""
        self._appended += len(events)
        if self._appended >= self._pressure:
            self._wake.set()

    async def run(self) -> None:
        """Synchronise on the interval and under pressure, for ever."""
        delay = 0.0
        while True:
            try:
                async with asyncio.timeout(delay or self._interval):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            self._appended = 0
            delay = self._next_delay(delay, await self._attempt())

    def _next_delay(self, delay: float, succeeded: bool) -> float:
        if succeeded:
            return 0.0
        first, longest = BACKOFF_SECONDS
        return min(longest, max(first, delay * 2)) * random.uniform(0.5, 1.0)

    async def _attempt(self) -> bool:
        started = time.monotonic()
        try:
            await self.flush()
            await self.let_go()
        except ParlourError as error:
            log.warning("synchronisation delayed", error=str(error), code=error.code)
            self._metrics.syncs.labels("failed").inc()
            return False
        self._metrics.syncs.labels("done").inc()
        self._metrics.sync_seconds.observe(time.monotonic() - started)
        return True

    async def flush(self) -> None:
        """Archive everything that is in the hot window now, whoever appended it. Raises `Unavailable`."""
        skipped: set[str] = set()
        while True:
            dirty = await self._hot.dirty(STREAMS_AT_ONCE + len(skipped))
            todo = [stream for stream in dirty if stream not in skipped][:STREAMS_AT_ONCE]
            if not todo:
                return
            done = await self.sync(todo)
            # What another node holds, or what an archive refuses, must not be asked for again at once.
            skipped |= set(todo) - done

    async def sync(self, streams: Sequence[str]) -> set[str]:
        """Archive some of each of these streams, in transactions of bounded size; gives back those that
        moved."""
        moved: set[str] = set()
        async with self._holding(streams) as held:
            group = Group()
            for stream in held:
                await self._collect(stream, group, moved)
            await self._write(group, moved)
        return moved

    async def _collect(self, stream: str, group: Group, moved: set[str]) -> None:
        """Add what waits of a stream to the group, and write the group whenever it is full."""
        taken = 0
        while taken < EVENTS_OF_STREAM:
            found = await self._hot.unsynced(stream, EVENTS_AT_ONCE - group.size)
            if not found:
                return
            taken += group.add(stream, found)
            if group.size < EVENTS_AT_ONCE:
                return
            await self._write(group, moved)
            if stream not in moved:
                return

    async def _write(self, group: Group, moved: set[str]) -> None:
        """All together; where one stream is refused, each alone, so that it does not hold up the others."""
        entries = group.take()
        if not entries:
            return
        try:
            await self._archive.write([entry for run in entries.values() for entry in run])
        except _REFUSALS:
            for stream in list(entries):
                await self._write_alone(stream, entries)
        for stream, run in entries.items():
            await self._hot.mark_synced(stream, run[-1].events[-1].position)
            moved.add(stream)
            self._synced(stream, [event for entry in run for event in entry.events])

    async def _write_alone(self, stream: str, entries: dict[str, Sequence[Entry]]) -> None:
        try:
            await self._archive.write(entries[stream])
        except _REFUSALS as error:
            del entries[stream]
            log.error("the archive refuses a stream", stream=stream, error=str(error))
            self._metrics.unexpected_errors.labels("synchroniser").inc()

    @asynccontextmanager
    async def _holding(self, streams: Sequence[str]) -> AsyncIterator[list[str]]:
        """The streams among these that no other node synchronises at the moment. All are asked for at
        once: a database takes them in one transaction, and each costs it a write to the disk."""
        if self._leases is None:
            yield list(streams)
            return
        leases: list[Lease] = []
        try:
            await _together(self._acquire(self._leases, stream, leases) for stream in streams)
            held = {lease.name for lease in leases}
            yield [stream for stream in streams if f"sync:{stream}" in held]
        finally:
            await asyncio.shield(self._release(self._leases, leases))

    async def _acquire(self, store: Leases, stream: str, leases: list[Lease]) -> None:
        """Into the list at once, so that it is released whatever happens to the others."""
        lease = await store.acquire(f"sync:{stream}", self._owner, LEASE_TTL_MS)
        if lease is not None:
            leases.append(lease)

    async def _release(self, store: Leases, leases: Iterable[Lease]) -> None:
        await _together(self._release_one(store, lease) for lease in leases)

    async def _release_one(self, store: Leases, lease: Lease) -> None:
        try:
            await store.release(lease)
        except Unavailable as error:
            log.warning("lease not released", lease=lease.name, error=str(error))

    async def let_go(self) -> int:
        """Drop streams that rested longer than the activity time limit from the hot window: sealed
        first, and only when the archive holds all of them (promise I12)."""
        idle = await self._hot.idle(STREAMS_AT_ONCE)
        return sum(
            await _together(
                self._hot.evict(stream, partial(self._archive.seal, stream)) for stream in idle
            )
        )

    # -- durability `stored` ---------------------------------------------------------------------

    async def settle(self, stream: str, offset: int) -> None:
        """Wait until the archive holds `stream` up to `offset`. Raises `Unavailable` when it cannot."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(Waiter(stream, offset, done))
        self._waiting.set()
        await done

    async def run_settling(self) -> None:
        """Serve everybody who waits, in groups, for ever."""
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            waiters, self._waiters = self._waiters, []
            try:
                await self._settle_all(waiters)
            except ParlourError as error:
                for waiter in waiters:
                    if not waiter.done.done():
                        waiter.done.set_exception(_as_unavailable(error))
            finally:
                for waiter in waiters:
                    if not waiter.done.done():
                        waiter.done.set_exception(Unavailable("The server is going away."))

    async def _settle_all(self, waiters: list[Waiter]) -> None:
        left = list(waiters)
        while left:
            streams = list(dict.fromkeys(waiter.stream for waiter in left))
            for start in range(0, len(streams), STREAMS_AT_ONCE):
                await self.sync(streams[start : start + STREAMS_AT_ONCE])
            still = []
            for waiter in left:
                head = await self._archive.head(waiter.stream)
                if head is not None and head.offset >= waiter.offset:
                    if not waiter.done.done():
                        waiter.done.set_result(None)
                else:
                    still.append(waiter)
            if len(still) == len(left):
                # Another node is about to archive these: look again in a moment.
                await asyncio.sleep(0.02)
            left = still


async def _together(calls: Iterable[Awaitable[T]]) -> list[T]:
    """Await all of them, also where one fails, and then raise the first failure."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]


def _as_unavailable(error: ParlourError) -> ParlourError:
    return error if isinstance(error, Unavailable) else Unavailable(error.message)
