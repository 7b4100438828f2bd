"""Finding the code that holds up everybody.

An `async def` handler that calls something blocking (a synchronous client, `time.sleep`) stops
every conversation of its node. Nothing can interrupt it; but a thread beside the loop can see it
and say where it is, which is otherwise the hardest kind of mistake to find.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from types import FrameType
from typing import Final

import structlog

log = structlog.get_logger(__name__)

STALL_SECONDS: Final = 2.0
"""How long the loop may be silent before the log says where it is."""

GRACE_SECONDS: Final = 0.2
"""After a machine that slept both sides are late; the loop gets this long to answer first."""


class StallWatch:
    """Asks the loop for a sign of life, again and again, from a thread of its own."""

    def __init__(self, limit: float = STALL_SECONDS) -> None:
        self._limit = limit
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Watch the running loop, which is on the thread that calls this."""
        loop, owner = asyncio.get_running_loop(), threading.get_ident()
        self._thread = threading.Thread(
            target=self._watch, args=(loop, owner), name="parlour-stalls", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Idempotent; the thread ends by itself within a moment."""
        self._over.set()

    def join(self) -> None:
        """Wait for the thread's end; not on the loop."""
        if self._thread is not None:
            self._thread.join()

    def _watch(self, loop: asyncio.AbstractEventLoop, owner: int) -> None:
        while not self._over.is_set():
            alive = threading.Event()
            try:
                loop.call_soon_threadsafe(alive.set)
            except RuntimeError:  # the loop is closed
                return
            answered = alive.wait(self._limit) or alive.wait(GRACE_SECONDS)
            if not answered and not self._over.is_set() and not loop.is_closed():
                self._report(alive, owner)
            self._over.wait(self._limit / 2)

    def _report(self, alive: threading.Event, owner: int) -> None:
        since = time.monotonic() - self._limit - GRACE_SECONDS
        frame = sys._current_frames().get(owner)
        log.warning(
            "the event loop is blocked: nobody on this node is served; use make_async, or a plain "
            "`def` handler",
            at=_place(frame),
            stack="".join(traceback.format_stack(frame)[-6:]) if frame is not None else "",
        )
        while not alive.wait(0.5) and not self._over.is_set():
            continue
        log.warning("the event loop goes on", after_seconds=round(time.monotonic() - since, 1))


def _place(frame: FrameType | None) -> str:
    """`file:line in function` of the innermost frame."""
    if frame is None:
        return "unknown"
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
