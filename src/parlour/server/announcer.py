"""The announcer: appends what changes have written for streams, once and in order.

A change of a channel commits its events together with itself (the outbox); this appends them to their
streams right afterwards, and whoever did not live to do so is done by another node within seconds. The
key of an announcement is the dedupe key of its append, so that two who announce the same do it once;
and because changes of one channel commit in the order of their announcements, whoever sees one sees
all before it that are left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from parlour.core.streams import Appended, Dedupe, Position
from parlour.errors import ParlourError, Unavailable
from parlour.ports import Announcement, Announcements, Clock, Leases
from parlour.server.streams import Streams
from parlour.server.tasks import Tasks

log = structlog.get_logger(__name__)

ANNOUNCED_AT_ONCE = 200
STREAMS_AT_ONCE = 100

LEFT_AFTER_MS = 2_000
"""An announcement that is older was left by somebody."""

LEASE = "announcer"
LEASE_TTL_MS = 10_000

Hook = Callable[[Announcement], Awaitable[None]]


class Told(Protocol):
    """Hears of each append, after it."""

    def __call__(self, announcement: Announcement, appended: Appended) -> Awaitable[None]: ...


class Announcer:
    """One per node. `before` is awaited ahead of each append (who has to hear it enters the room), `after`
    behind it; both may run more than once for one announcement."""

    def __init__(
        self,
        announcements: Announcements,
        streams: Streams,
        leases: Leases,
        clock: Clock,
        tasks: Tasks,
        owner: str,
    ) -> None:
        self._announcements = announcements
        self._streams = streams
        self._leases = leases
        self._clock = clock
        self._tasks = tasks
        self._owner = owner
        self._waiters: dict[str, dict[str, asyncio.Future[Position | None]]] = {}
        self._first = True
        self.before: Hook = _nothing
        self.after: Told = _nothing_after

    async def settle(self, told: Sequence[tuple[str, str]]) -> list[Position | None]:
        """Wait until these `(stream, key)` are appended; gives back where each stands (None where that is
        no longer known). Raises `Unavailable`: then they are appended later."""
        waiting = [self._wait(stream, key) for stream, key in told]
        try:
            return list(await asyncio.gather(*(asyncio.shield(one) for one in waiting)))
        finally:
            for one in waiting:
                # Nobody may be left to hear of a failure; it was logged.
                one.add_done_callback(lambda future: future.cancelled() or future.exception())

    def _wait(self, stream: str, key: str) -> asyncio.Future[Position | None]:
        idle = stream not in self._waiters
        waiters = self._waiters.setdefault(stream, {})
        if key not in waiters:
            waiters[key] = asyncio.get_running_loop().create_future()
        waiter = waiters[key]
        if idle:
            self._tasks.spawn(self._drain(stream), f"announce {stream}")
        return waiter

    # -- one stream ------------------------------------------------------------------------------

    async def _drain(self, stream: str) -> None:
        """Append what waits, until nobody waits any more. One at a time per stream on this node."""
        waiters = self._waiters[stream]
        try:
            while waiters:
                asked = list(waiters)
                await self._announce(stream, waiters)
                for key in asked:
                    if key in waiters:
                        # Announced before, here or elsewhere.
                        known = await self._streams.known(stream, key)
                        waiters.pop(key).set_result(None if known is None else known.position)
        except ParlourError as error:
            log.warning("announcements delayed", stream=stream, error=str(error))
            _fail(waiters, Unavailable(error.message))
        finally:
            _fail(waiters, Unavailable("The server is going away."))
            del self._waiters[stream]

    async def _announce(
        self, stream: str, waiters: dict[str, asyncio.Future[Position | None]]
    ) -> None:
        while True:
            pending = await self._announcements.pending(stream, ANNOUNCED_AT_ONCE)
            for one in pending:
                position = await self._append(one)
                waiter = waiters.pop(one.key, None)
                if waiter is not None and not waiter.done():
                    waiter.set_result(position)
            if pending:
                await self._announcements.announced([one.key for one in pending])
            if len(pending) < ANNOUNCED_AT_ONCE:
                return

    async def _append(self, one: Announcement) -> Position | None:
        if not one.events:
            return None
        await self.before(one)
        appended = await self._streams.append_records(one.stream, one.events, Dedupe(one.key))
        await self.after(one, appended)
        return appended.position

    # -- what others left ------------------------------------------------------------------------

    async def catch_up(self) -> int:
        """Announce what nobody announced in time, one node at a time; gives back how many streams had any."""
        grace = 0 if self._first else LEFT_AFTER_MS
        before = self._clock.now_ms() - grace
        if not await self._announcements.waiting(before, 1):
            self._first = False
            return 0
        lease = await self._leases.acquire(LEASE, self._owner, LEASE_TTL_MS)
        if lease is None:
            return 0
        try:
            left = await self._announcements.waiting(before, STREAMS_AT_ONCE)
            for stream in left:
                await self._announce(stream, {})
        finally:
            await self._leases.release(lease)
        self._first = False
        if left:
            log.info("announced what was left", streams=len(left))
        return len(left)


def _fail(waiters: dict[str, asyncio.Future[Position | None]], error: Unavailable) -> None:
    for waiter in waiters.values():
        if not waiter.done():
            waiter.set_exception(error)
    waiters.clear()


async def _nothing(announcement: Announcement) -> None:
    return None


async def _nothing_after(announcement: Announcement, appended: Appended) -> None:
    return None
