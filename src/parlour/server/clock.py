"""Real time and real ids. Tests inject their own."""

from __future__ import annotations

import time

from parlour.server.randomness import random_bytes


class SystemClock:
    """The machine's clocks (`ports.Clock`)."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


def new_id() -> str:
    """A fresh id of 32 hexadecimal digits."""
    return random_bytes(16).hex()
