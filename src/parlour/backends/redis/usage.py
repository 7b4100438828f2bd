"""Models in use, in Redis: its clock decides, and each step is one script on one slot."""

from __future__ import annotations

from collections.abc import Mapping

from parlour.backends.redis.connection import Redis
from parlour.backends.redis.scripts import script


class RedisUsage:
    """`ports.UsagePool` in Redis.

    One sorted set per model holds its sessions by when they run out, another the models by their
    latest one. All stand in one slot, so that one script sees them together; there are as many keys
    as models in use."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._models = f"{redis.prefix}:{{usage}}:models"

    async def renew(self, model: str, session_id: str, ttl_ms: int) -> None:
        keys = [self._models, self._of(model)]
        await self._redis.run(script("usage_renew"), keys, (model, session_id, ttl_ms))

    async def release(self, model: str, session_id: str) -> None:
        keys = [self._models, self._of(model)]
        await self._redis.run(script("usage_release"), keys, (model, session_id))

    async def in_use(self) -> Mapping[str, int]:
        reply = await self._redis.run(script("usage_in_use"), [self._models], (self._of(""),))
        return {
            model.decode(): int(number)
            for model, number in zip(reply[::2], reply[1::2], strict=True)
        }

    async def sweep(self, limit: int) -> int:
        keys = [self._models]
        return int(await self._redis.run(script("usage_sweep"), keys, (self._of(""), limit)))

    def _of(self, model: str) -> str:
        return f"{self._redis.prefix}:{{usage}}:model:{model}"
