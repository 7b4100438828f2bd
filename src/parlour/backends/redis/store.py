"""Everything that is kept in Redis, opened and closed as one."""

from __future__ import annotations

from collections.abc import Sequence

from parlour.backends.redis.bus import RedisBus
from parlour.backends.redis.connect import connect_redis
from parlour.backends.redis.connection import Redis
from parlour.backends.redis.documents import LastingDocuments, RedisDocumentStore
from parlour.backends.redis.leases import RedisLeases
from parlour.backends.redis.log import RedisLog
from parlour.backends.redis.pool import RedisPool
from parlour.backends.redis.sessions import RedisSessionStore
from parlour.backends.redis.usage import RedisUsage
from parlour.backends.window import WindowLimits
from parlour.ports import Origin


class RedisStore:
    """The stores on one Redis: `bus`, `leases`, `sessions`, `pool`, `usage`, `log(…)`
    and `documents(…)`. Made by
    `open_redis`."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.subscriptions = redis.subscriptions()
        self.bus = RedisBus(redis, self.subscriptions)
        self.leases = RedisLeases(redis)
        self.sessions = RedisSessionStore(redis)
        self.pool = RedisPool(redis)
        self.usage = RedisUsage(redis)

    def log(self, *, origin: Origin | None = None, limits: WindowLimits | None = None) -> RedisLog:
        """The event log; `origin` is `archive.origin(writes_through=False)`."""
        return RedisLog(self.redis, self.subscriptions, origin=origin, limits=limits)

    def documents(self, lasting: LastingDocuments, *, settles: bool = False) -> RedisDocumentStore:
        """Documents, in front of the database's; `settles` writes each append through."""
        return RedisDocumentStore(self.redis, lasting, settles=settles)

    async def close(self) -> None:
        """Close the connections, after whatever uses them; idempotent."""
        await self.bus.close()
        await self.subscriptions.close()
        await self.redis.close()


async def open_redis(
    url: str,
    *,
    prefix: str = "parlour",
    time_limit: float = 5.0,
    sentinels: Sequence[tuple[str, int]] = (),
    cluster: bool = False,
) -> RedisStore:
    """Connect to Redis and give its stores; see `connect_redis` for the arguments.

    Raises `SettingsError` for a URL it cannot use and `Unavailable` when Redis does not answer."""
    redis = connect_redis(
        url, prefix=prefix, time_limit=time_limit, sentinels=sentinels, cluster=cluster
    )
    try:
        await redis.call("PING")
    except BaseException:
        await redis.close()
        raise
    return RedisStore(redis)
