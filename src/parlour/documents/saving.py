"""Saving what a document says: a moment after the last edit, and now and then while typing goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from parlour.errors import ParlourError
from parlour.ports import Clock
from parlour.server.tasks import Tasks

log = structlog.get_logger(__name__)

LONGEST_WAIT: Final = 5.0
SHARE: Final = 10
"""Saving a large document may take one part in so many of the time."""


class Saver:
    """Calls `save` a while after `touch`. One save at a time; one that fails is tried again."""

    def __init__(
        self,
        save: Callable[[], Awaitable[object]],
        clock: Clock,
        tasks: Tasks,
        *,
        after: float,
        at_most: float,
    ) -> None:
        self._save = save
        self._clock = clock
        self._tasks = tasks
        self._after = after
        self._at_most = at_most
        self._first: float | None = None
        self._last = 0.0
        self._earliest = 0.0
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> bool:
        """Something is not saved."""
        return self._first is not None

    def touch(self) -> None:
        """There is something new to save."""
        self._last = self._clock.monotonic()
        if self._first is None:
            self._first = self._last
        if self._task is None or self._task.done():
            self._task = self._tasks.spawn(self._run(), "save a document")

    async def flush(self) -> None:
        """Save now what is not saved. Raises what `save` raises."""
        async with self._lock:
            if self._first is not None:
                await self._do()
        self._wake.set()

    async def _run(self) -> None:
        wait = self._after
        while self._first is not None:
            await self._pause(self._due() - self._clock.monotonic())
            if self._first is None or self._due() > self._clock.monotonic():
                continue
            try:
                await self.flush()
                wait = self._after
            except ParlourError as error:
                log.warning("a document is not saved", error=str(error))
                wait = min(LONGEST_WAIT, max(0.1, wait * 2))
                self._earliest = self._clock.monotonic() + wait

    def _due(self) -> float:
        first = self._clock.monotonic() if self._first is None else self._first
        return max(min(self._last + self._after, first + self._at_most), self._earliest)

    async def _pause(self, seconds: float) -> None:
        if seconds <= 0:
            return
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _do(self) -> None:
        began, self._first = self._clock.monotonic(), None
        try:
            await self._save()
        except BaseException:
            self._first = began if self._first is None else self._first
            raise
        now = self._clock.monotonic()
        self._earliest = now + (now - began) * SHARE
