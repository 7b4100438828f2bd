"""The machine's clock."""

from __future__ import annotations

import time


class SystemClock:
    """`ports.Clock` on the operating system's clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()
