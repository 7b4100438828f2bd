"""A token bucket as a value: how often something may happen."""

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
