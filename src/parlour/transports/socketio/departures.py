"""Connections whose peers went away, ended over as many turns of the event loop as it takes.

When a network breaks, or an office closes its laptops, thousands are lost in one moment; the event
loop tells of all of them in one turn, and ending them there would make everybody else wait."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

ENDED_PER_TURN: Final = 24
"""About two milliseconds."""


class Departed(Protocol):
    def depart(self) -> None:
        """The peer is gone: say so to whom it concerns, and let go of the socket."""


class Departures:
    """Nobody is left out: what waits when the loop ends has been aborted by then."""

    __slots__ = ("_gone", "_loop", "_scheduled")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop: Final = loop
        self._gone: deque[Departed] = deque()
        self._scheduled = False

    def add(self, departed: Departed) -> None:
        """Call `depart` in one of the next turns, in order."""
        self._gone.append(departed)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._end)

    def _end(self) -> None:
        self._scheduled = False
        try:
            for _ in range(min(len(self._gone), ENDED_PER_TURN)):
                self._gone.popleft().depart()
        finally:
            # Also when one raised: the others are gone all the same.
            if self._gone:
                self._schedule()
