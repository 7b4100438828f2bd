"""How often somebody may try: a sliding window per key, bounded in keys."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

from parlour.errors import RateLimited

MOST_KEYS: Final = 20_000
"""Beyond it the key that was used longest ago is forgotten: memory is bounded, whoever knocks."""


class Attempts:
    """At most `limit` attempts per key within `window_ms`. Kept per process.

    An attempt counts when it begins, so that many at once cannot slip through, and is given back
    when it succeeds."""

    def __init__(self, limit: int, window_ms: int) -> None:
        self._limit = limit
        self._window_ms = window_ms
        self._tries: OrderedDict[str, deque[int]] = OrderedDict()

    def begin(self, key: str, now_ms: int) -> None:
        """Count one. Raises `RateLimited`, with `retry_after_ms`, where the window is full."""
        tries = self._tries.setdefault(key, deque())
        self._tries.move_to_end(key)
        while tries and tries[0] <= now_ms - self._window_ms:
            tries.popleft()
        if len(tries) >= self._limit:
            wait = tries[0] + self._window_ms - now_ms
            raise RateLimited("Too many attempts; try again later.", retry_after_ms=wait)
        tries.append(now_ms)
        if len(self._tries) > MOST_KEYS:
            self._tries.popitem(last=False)

    def forgive(self, key: str) -> None:
        """Give back the newest attempt."""
        tries = self._tries.get(key)
        if tries:
            tries.pop()
