"""How many commands a user may send over HTTP: one token bucket per user, in this process."""

from __future__ import annotations

from collections import OrderedDict
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
