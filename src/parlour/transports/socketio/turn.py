"""One write per connection and turn of the event loop.

A turn may bring many packets for one connection: a burst of tokens, an answer and the events behind
it. Each write would be a system call of its own, which costs ten times what joining them costs. So
carriers note what they have to write and are flushed together when the turn is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

from parlour.native import flush_each

SLICE_SECONDS: Final = 0.0025
"""A turn that writes to a large room gives way to other work when it has taken this long. What came first in
it, such as noting the next event for the same room, counts; at least half of this goes into writing."""

CHECK_EVERY: Final = 32
"""Writes between two looks at the clock."""


class Flushable(Protocol):
    def flush(self) -> None:
        """Write what was noted."""


class Turn:
    """The carriers that have something to write."""

    __slots__ = ("_began", "_clock", "_loop", "waiting")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        # Not the loop's own clock: uvloop's counts whole milliseconds.
        self._clock: Final = clock
        self._loop: Final = loop
        self.waiting: list[Flushable] = []
        """Who adds the first one calls `schedule` before."""
        self._began = 0.0

    def add(self, carrier: Flushable) -> None:
        """Flush the carrier when this turn is over."""
        if not self.waiting:
            self.schedule()
        self.waiting.append(carrier)

    def schedule(self) -> None:
        self._began = self._clock()
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        waiting, self.waiting = self.waiting, []
        if len(waiting) <= CHECK_EVERY:
            flush_each(waiting, 0, len(waiting))
        else:
            self._flush_many(waiting)

    def _flush_many(self, waiting: list[Flushable]) -> None:
        end = max(self._began + SLICE_SECONDS, self._clock() + SLICE_SECONDS / 2)
        done = 0
        try:
            while done < len(waiting) and (not done or self._clock() < end):
                start, done = done, done + CHECK_EVERY
                flush_each(waiting, start, done)
        finally:
            # Those that are left come first in the next turn, with what is added until then.
            if done < len(waiting):
                if not self.waiting:
                    self.schedule()
                self.waiting[:0] = waiting[done:]
