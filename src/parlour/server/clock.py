"""Real time and real ids. Tests inject their own."""

from __future__ import annotations

import time

from parlour.server.randomness import random_bytes


class SystemClock:
    """The machine's clocks (`ports.Clock`)."""

    monotonic = staticmethod(time.monotonic)

    def __init__(self) -> None:
        self._last = 0

    def now_ms(self) -> int:
        now = time.time_ns() // 1_000_000
        if now != self._last:
            self._last = now
        # What is noted within one millisecond shares one number: a connection keeps three of them.
        return self._last


def new_id() -> str:
    """A fresh id of 32 hexadecimal digits."""
    return random_bytes(16).hex()
