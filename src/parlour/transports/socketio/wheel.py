"""One timer for all connections of a node.

A timer per connection and ping would be the largest part of an idle connection's cost. Deadlines
are rounded up to the resolution and kept in buckets; the loop holds one handle, for the first
bucket that is not empty. Thousands that connected in one moment have their deadlines in one moment
too: they are called in slices, and other work has its turn in between."""

from __future__ import annotations

import asyncio
import heapq
import math
from typing import Final, Protocol

CALLS_PER_TURN: Final = 128
"""Entries that are called in one turn of the loop: about a millisecond of pings."""


class Timed(Protocol):
    """Something with at most one deadline."""

    timer_slot: set[Timed] | None
    """For the wheel: where the deadline is noted."""

    def tick(self, now: float) -> None:
        """The deadline has come. Has to schedule itself again where it wants to."""


class TimerWheel:
    """Times are seconds of the running loop's clock. Nothing is called after `stop`."""

    __slots__ = ("_buckets", "_due", "_handle", "_loop", "_order", "_over", "_resolution")

    def __init__(self, loop: asyncio.AbstractEventLoop, resolution: float) -> None:
        self._loop: Final = loop
        self._resolution: Final = resolution
        self._buckets: dict[int, set[Timed]] = {}
        self._order: list[int] = []
        self._over = -1
        self._due: set[Timed] = set()
        """Those whose deadline has come and who were not called yet; none belongs to `_buckets`."""
        self._handle: asyncio.Handle | None = None

    def now(self) -> float:
        return self._loop.time()

    def schedule(self, entry: Timed, when: float) -> None:
        """Set or move the entry's deadline; it is not called earlier, and later by at most the
        resolution and the turns that the others of that moment take."""
        # Never into a slot that is over: an entry whose deadline is ahead by less than a rounding
        # error would be called again and again within one turn.
        slot = max(math.ceil(when / self._resolution), self._over + 1)
        bucket = self._buckets.get(slot)
        if bucket is None:
            bucket = self._open(slot)
        held = entry.timer_slot
        if held is bucket:
            return
        if held is not None:
            held.discard(entry)
        entry.timer_slot = bucket
        bucket.add(entry)

    def cancel(self, entry: Timed) -> None:
        """Forget the entry's deadline."""
        bucket = entry.timer_slot
        if bucket is not None:
            entry.timer_slot = None
            bucket.discard(entry)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._buckets.clear()
        self._order.clear()
        self._due.clear()

    def _open(self, slot: int) -> set[Timed]:
        bucket = self._buckets[slot] = set()
        heapq.heappush(self._order, slot)
        if self._order[0] == slot and not self._due:
            self._arm()
        return bucket

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._due:
            self._handle = self._loop.call_soon(self._fire)
        elif self._order:
            self._handle = self._loop.call_at(self._order[0] * self._resolution, self._fire)

    def _fire(self) -> None:
        now = self._loop.time()
        try:
            for _ in range(CALLS_PER_TURN):
                if not self._due and not self._next(now):
                    break
                # An entry that is called may move or cancel others of the same bucket, which are not
                # called then.
                entry = self._due.pop()
                entry.timer_slot = None
                entry.tick(now)
        finally:
            # Also when an entry raised: the others have to be called all the same.
            self._arm()

    def _next(self, now: float) -> bool:
        """Make the first bucket that has come, and has entries, the one that is due."""
        while not self._due and self._order and self._order[0] * self._resolution <= now:
            self._over = heapq.heappop(self._order)
            self._due = self._buckets.pop(self._over)
        return bool(self._due)
