"""Leases in Redis; its clock decides, and each step compares and acts in one script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from parlour.backends.redis.connection import Redis
from parlour.backends.redis.scripts import script
from parlour.errors import LeaseLost
from parlour.ports import Lease

INDEXED: Final = frozenset({"run", "node", "agent"})
"""Kinds of leases (the part of the name before the colon) that `abandoned` can be asked for."""


def _kind(name: str) -> str:
    return name.partition(":")[0]


class RedisLeases:
    """`ports.Leases` in Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def acquire(self, name: str, owner: str, ttl_ms: int) -> Lease | None:
        if _kind(name) in INDEXED:
            # Before the lease itself: an entry too many is found out by `abandoned`, one too few is
            # not.
            await self._redis.call("ZADD", self._index(name), "NX", 0, name)
        reply = await self._redis.run(script("lease_acquire"), self._keys(name), (owner, ttl_ms))
        return Lease(name, owner, int(reply[0]), int(reply[1])) if reply else None

    async def renew(self, lease: Lease, ttl_ms: int) -> Lease:
        reply = await self._change(lease, ttl_ms)
        if not reply:
            raise LeaseLost(f"the lease {lease.name} is no longer held by {lease.owner}")
        return Lease(lease.name, lease.owner, lease.generation, int(reply[0]))

    async def release(self, lease: Lease) -> None:
        # The index entry stays until `abandoned` looks at it: removing it here could meet an
        # acquirer.
        await self._change(lease, 0)

    async def holder(self, name: str) -> Lease | None:
        reply = await self._redis.run(script("lease_holder"), self._keys(name), ())
        return Lease(name, reply[0].decode(), int(reply[1]), int(reply[2])) if reply else None

    async def abandoned(
        self, prefix: str, limit: int, *, owner: str | None = None
    ) -> Sequence[Lease]:
        """Only for kinds in `INDEXED`. The index's scores are hints when to look again; the leases
        decide."""
        seconds, micros = await self._redis.call("TIME")
        now = int(seconds) * 1000 + int(micros) // 1000
        upto = "+inf" if owner is not None else now
        names = await self._redis.call(
            "ZRANGEBYSCORE", self._index(prefix), "-inf", upto, "LIMIT", 0, limit
        )
        found = []
        for raw in names:
            lease = await self._examine(raw.decode(), now)
            if lease is not None and (lease.expires_at <= now or lease.owner == owner):
                found.append(lease)
        return sorted(found, key=lambda lease: lease.expires_at)

    async def _examine(self, name: str, now: int) -> Lease | None:
        """The lease behind an index entry; what was released leaves the index once it rested."""
        key = self._keys(name)[0]
        owner, generation, expires = await self._redis.call(
            "HMGET", key, "owner", "generation", "expires"
        )
        if owner is None or int(expires) == 0:
            await self._redis.call("ZREM", self._index(name), name)
            # An acquirer between the two calls has its lease, which only lacks its entry: put it
            # back.
            if await self.holder(name) is not None:
                await self._redis.call("ZADD", self._index(name), now, name)
            return None
        if int(expires) > now:
            await self._redis.call("ZADD", self._index(name), "XX", int(expires), name)
        return Lease(name, owner.decode(), int(generation), int(expires))

    async def _change(self, lease: Lease, ttl_ms: int) -> list[bytes]:
        values = (lease.owner, lease.generation, ttl_ms)
        found: list[bytes] = await self._redis.run(
            script("lease_change"), self._keys(lease.name), values
        )
        return found

    def _index(self, name: str) -> str:
        return f"{self._redis.prefix}:leases:{_kind(name)}"

    def _keys(self, name: str) -> list[str]:
        return [self._redis.keys.own(f"lease:{name}")]
