"""Leases within one process."""

from __future__ import annotations

from collections.abc import Sequence

from parlour.errors import LeaseLost
from parlour.ports import Clock, Lease


class MemoryLeases:
    """`ports.Leases` of a single node.

    The generations of a name begin at the time in seconds: they are the fences of streams that
    outlive this process, so after a restart they must be higher than before."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._leases: dict[str, Lease] = {}

    async def acquire(self, name: str, owner: str, ttl_ms: int) -> Lease | None:
        now = self._clock.now_ms()
        last = self._leases.get(name)
        held = last is not None and last.expires_at > now
        if last is not None and held and last.owner != owner:
            return None
        generation = _generation(last, now)
        lease = Lease(name, owner, generation, now + ttl_ms)
        self._leases[name] = lease
        return lease

    async def renew(self, lease: Lease, ttl_ms: int) -> Lease:
        now = self._clock.now_ms()
        held = self._mine(lease)
        if held is None or held.expires_at <= now:
            raise LeaseLost(f"the lease {lease.name} is no longer held by {lease.owner}")
        renewed = Lease(lease.name, lease.owner, lease.generation, now + ttl_ms)
        self._leases[lease.name] = renewed
        return renewed

    async def release(self, lease: Lease) -> None:
        if self._mine(lease) is not None:
            self._leases[lease.name] = Lease(lease.name, lease.owner, lease.generation, 0)

    async def holder(self, name: str) -> Lease | None:
        lease = self._leases.get(name)
        return lease if lease is not None and lease.expires_at > self._clock.now_ms() else None

    async def abandoned(
        self, prefix: str, limit: int, *, owner: str | None = None
    ) -> Sequence[Lease]:
        now = self._clock.now_ms()
        # A released lease has no time of expiry.
        over = [
            lease
            for name, lease in self._leases.items()
            if name.startswith(prefix)
            and lease.expires_at > 0
            and (lease.expires_at <= now or lease.owner == owner)
        ]
        return sorted(over, key=lambda lease: lease.expires_at)[:limit]

    def _mine(self, lease: Lease) -> Lease | None:
        held = self._leases.get(lease.name)
        if held is None or (held.owner, held.generation) != (lease.owner, lease.generation):
            return None
        return held


def _generation(last: Lease | None, now: int) -> int:
    """The generation that the next holder gets; the same one while it is held."""
    if last is None:
        return now // 1000
    return last.generation if last.expires_at > now else last.generation + 1
