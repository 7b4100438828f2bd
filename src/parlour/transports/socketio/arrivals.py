"""Connections that begin, a part of them in each turn of the event loop.

When a server is started again, everybody who was connected comes within moments, and the event loop
tells of up to a thousand of them in one turn. Reading their requests and letting them in there would
make those who are in already wait for a tenth of a second."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

BEGUN_PER_TURN: Final = 32
"""Requests that are read, or clients that are let in: two to three milliseconds."""


class Arrivals:
    """Who comes alone is served at once; of a crowd each has its turn, in order. What waits is bounded by
    the connections that are open: each waits at most once for each of its two steps."""

    __slots__ = ("_left", "_loop", "_scheduled", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop: Final = loop
        self._waiting: deque[Callable[[], None]] = deque()
        self._left = BEGUN_PER_TURN
        self._scheduled = False

    def run(self, begin: Callable[[], None]) -> None:
        """Call now, or in one of the next turns. Who went away by then has to say so itself."""
        self._schedule()
        if self._left:
            self._left -= 1
            begin()
        else:
            self._waiting.append(begin)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        """A new turn."""
        self._scheduled = False
        self._left = BEGUN_PER_TURN
        try:
            while self._waiting and self._left:
                self._left -= 1
                self._waiting.popleft()()
        finally:
            # Also when one raised: the others have come all the same.
            if self._left < BEGUN_PER_TURN:
                self._schedule()
