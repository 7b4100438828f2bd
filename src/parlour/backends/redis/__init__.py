"""Redis (or Valkey): the hot window, bus, leases and sessions that many nodes share."""

from parlour.backends.redis.log import RedisLog
from parlour.backends.redis.store import RedisStore, open_redis

__all__ = ["RedisLog", "RedisStore", "open_redis"]
