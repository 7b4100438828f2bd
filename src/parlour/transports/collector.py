"""Python's garbage collector in a process that only serves: short pauses, and still nothing is lost.

Most of a server's objects die by themselves, when nobody refers to them any more; the collector is there for
cycles. To find them it walks everything that lives, and everybody waits: 60 ms with 20,000 sessions, beside what
the program itself is made of. So what has survived a full collection is put out of its sight (`gc.freeze`),
and each one walks only what came since: a few milliseconds, however many people are there.

A cycle that is dropped after it was put away would stay for good. So now and then (`thaw`) everything is walked
after all: only when twice as much memory is in use as the last time, not more often than every ten minutes, and in a
quiet moment: with 15,000 connections everybody waits for a quarter of a second. A server that is never quiet is walked
after an hour. A program without such cycles pays for it a few times in its life, one with many keeps about as much
garbage as it has living objects.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

import structlog

log = structlog.get_logger(__name__)

YOUNG_OBJECTS: Final = 1_500
"""New objects between two looks at the youngest; Python's default is 700."""

LOOKS: Final = (3, 2)
"""After more looks than this at the youngest the younger ones are looked at, and after more of those all
that is not put away. At 0.16 µs for an object that is in no cache that is three milliseconds."""

THAW_SECONDS: Final = 600.0
PATIENCE_SECONDS: Final = 3600.0
"""How long a thaw that is due waits for a quiet moment."""

CHECK_SECONDS: Final = 15.0
QUIET: Final = 0.3
"""Share of a core that the loop's thread uses at most in a quiet moment."""


class Collector:
    """The collector's settings while the block lasts; there is one for the whole process.

    `clock` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._before = gc.get_threshold()
        self._living = 0
        self._thawed_at = 0.0
        self._thawing = False

    def __enter__(self) -> Collector:
        """What was made until now (modules, routes, models) is looked at once more and put away."""
        self._before = gc.get_threshold()
        gc.set_threshold(YOUNG_OBJECTS, *LOOKS)
        gc.callbacks.append(self._collected)
        self.thaw()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        gc.callbacks.remove(self._collected)
        gc.set_threshold(*self._before)
        gc.unfreeze()

    def _collected(self, phase: str, info: dict[str, Any]) -> None:
        """Python calls this at both ends of each collection."""
        if phase == "stop" and info["generation"] == 2 and not self._thawing:
            gc.freeze()

    def is_due(self) -> bool:
        """Whether everything should be walked: half of what is there may be garbage."""
        # Blocks, which Python counts by the pool: to count the objects would walk them, too.
        waited = self._clock() - self._thawed_at
        return waited >= THAW_SECONDS and sys.getallocatedblocks() >= 2 * self._living

    def thaw(self) -> float:
        """Walk everything, give back what nobody refers to, and put the rest away. Gives back how long
        everybody waited for it, in milliseconds."""
        began = time.perf_counter()
        self._thawing = True
        try:
            gc.unfreeze()
            gc.collect()
            gc.freeze()
            # Python waits with the next collection for a quarter of what this one found alive; to find
            # nothing now makes it begin with what comes from here on.
            gc.collect()
        finally:
            self._thawing = False
        self._living = sys.getallocatedblocks()
        self._thawed_at = self._clock()
        return (time.perf_counter() - began) * 1000

    async def run(self) -> None:
        """Thaw when it is due, until cancelled."""
        since: float | None = None
        used = time.thread_time()
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            before, used = used, time.thread_time()
            if since is None and self.is_due():
                since = self._clock()
            if since is not None and self.may_thaw(since, (used - before) / CHECK_SECONDS):
                since = None
                took = self.thaw()
                log.info("memory was walked", blocks=self._living, took_ms=round(took, 1))

    def may_thaw(self, since: float, busy: float) -> bool:
        """Whether a thaw that is due since then is done now; `busy` is the share of a core in use."""
        return busy <= QUIET or self._clock() - since >= PATIENCE_SECONDS
