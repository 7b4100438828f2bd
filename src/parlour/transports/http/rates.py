"""How much of the server one user may take over HTTP, in this process: commands in a time, and answers
that are held open at once."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from parlour.core.rates import Bucket, take, wait_seconds
from parlour.errors import RateLimited

MOST_USERS: Final = 10_000
"""Beyond it the user that was seen longest ago is forgotten, who then starts with a full bucket."""


class RateLimits:
    """`rate` per second on average, `burst` at once."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, user_id: str, now: float) -> None:
        """Use one. Raises `RateLimited` with `retry_after_ms`."""
        bucket = self._buckets.get(user_id, Bucket(self._burst, now))
        left = take(bucket, now, rate=self._rate, burst=self._burst)
        if left is None:
            wait = wait_seconds(bucket, now, rate=self._rate)
            raise RateLimited("Too many requests.", retry_after_ms=int(wait * 1000) + 1)
        self._buckets[user_id] = left
        self._buckets.move_to_end(user_id)
        if len(self._buckets) > MOST_USERS:
            self._buckets.popitem(last=False)


class OpenAnswers:
    """Long polls and event streams that are open: at most `limit` per user."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._open.total()

    def check(self, user_id: str) -> None:
        """Raises `RateLimited` where there is no room for another one."""
        if self._open[user_id] >= self._limit:
            raise RateLimited(f"At most {self._limit} answers may be open.", retry_after_ms=1000)

    @contextmanager
    def one(self, user_id: str) -> Iterator[None]:
        """Take a place while the block lasts. Raises as `check`."""
        self.check(user_id)
        self._open[user_id] += 1
        try:
            yield
        finally:
            self._open[user_id] -= 1
            if not self._open[user_id]:
                del self._open[user_id]
