"""Leases in Redis; its clock decides, and each step compares and acts in one script."""

from __future__ import annotations

from parlour.backends.redis.connection import Redis
from parlour.backends.redis.scripts import script
from parlour.errors import LeaseLost
from parlour.ports import Lease


class RedisLeases:
    """`ports.Leases` in Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def acquire(self, name: str, owner: str, ttl_ms: int) -> Lease | None:
        reply = await self._redis.run(script("lease_acquire"), self._keys(name), (owner, ttl_ms))
        return Lease(name, owner, int(reply[0]), int(reply[1])) if reply else None

    async def renew(self, lease: Lease, ttl_ms: int) -> Lease:
        reply = await self._change(lease, ttl_ms)
        if not reply:
            raise LeaseLost(f"the lease {lease.name} is no longer held by {lease.owner}")
        return Lease(lease.name, lease.owner, lease.generation, int(reply[0]))

    async def release(self, lease: Lease) -> None:
        await self._change(lease, 0)

    async def holder(self, name: str) -> Lease | None:
        reply = await self._redis.run(script("lease_holder"), self._keys(name), ())
        return Lease(name, reply[0].decode(), int(reply[1]), int(reply[2])) if reply else None

    async def _change(self, lease: Lease, ttl_ms: int) -> list[bytes]:
        values = (lease.owner, lease.generation, ttl_ms)
        found: list[bytes] = await self._redis.run(
            script("lease_change"), self._keys(lease.name), values
        )
        return found

    def _keys(self, name: str) -> list[str]:
        return [f"{self._redis.prefix}:lease:{{{name}}}"]
