"""A clock that stands still until a test moves it."""

from __future__ import annotations


class ManualClock:
    """`ports.Clock` in a test's hand. `now` is milliseconds since 1970 UTC."""

    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self._now = now
        self._elapsed = 0.0

    def now_ms(self) -> int:
        return self._now

    def monotonic(self) -> float:
        return self._elapsed

    def advance(self, ms: int) -> None:
        """Move both times forward."""
        self._now += ms
        self._elapsed += ms / 1000
