"""Real time and real ids. Tests inject their own."""

from __future__ import annotations

import time
import uuid


class SystemClock:
    """The machine's clocks (`ports.Clock`)."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


def new_id() -> str:
    """A fresh id of 32 hexadecimal digits."""
    return uuid.uuid4().hex
