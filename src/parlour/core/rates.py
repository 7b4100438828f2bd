"""How often something may happen: a token bucket as a value, and the same rule as one number."""

from __future__ import annotations

from typing import NamedTuple


class Bucket(NamedTuple):
    """`tokens` at time `at` (seconds)."""

    tokens: float
    at: float


def take(
    bucket: Bucket, now: float, *, rate: float, burst: float, cost: float = 1.0
) -> Bucket | None:
    """The bucket after one use, or None where it is empty. Refills with `rate` per second up to `burst`."""
    tokens = min(burst, bucket.tokens + (now - bucket.at) * rate)
    return Bucket(tokens - cost, now) if tokens >= cost else None


def wait_seconds(bucket: Bucket, now: float, *, rate: float, cost: float = 1.0) -> float:
    """Seconds until the next use is allowed."""
    return max(0.0, (cost - bucket.tokens - (now - bucket.at) * rate) / rate)


def book(until: float, now: float, *, interval: float, ahead: float) -> float | None:
    """The same rule with less to remember (ITU-T I.371's virtual schedule): each use is booked
    `interval` seconds behind the last one, and may lie up to `ahead` seconds in the future. Gives
    back until when is booked now, or None where that would be too far ahead; `until` begins at 0.

    A bucket of `burst` uses that refills with `rate` is `interval = 1 / rate` and `ahead =
    (burst - 1) / rate`."""
    if until <= now:
        return now + interval
    return until + interval if until - now <= ahead else None
