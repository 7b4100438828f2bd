"""The contracts of who is connected and of what is in use, in memory and in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from parlour.backends.memory import MemoryPool, MemoryUsage
from parlour.backends.redis import RedisStore, open_redis
from parlour.ports import ConnectionPool, UsagePool
from parlour.testing.clock import ManualClock
from parlour.testing.contracts import ConnectionPoolContract, UsagePoolContract
from parlour.testing.contracts.leases import PassTime
from parlour.testing.servers import RedisServer


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    opened = await open_redis(redis_server.url)
    yield opened
    await opened.close()


@pytest.fixture
def move(clock: ManualClock) -> PassTime:
    async def advance(ms: int) -> None:
        clock.advance(ms)

    return advance


async def real_time(ms: int) -> None:
    await asyncio.sleep((ms + 20) / 1000)


class TestMemoryPool(ConnectionPoolContract):
    @pytest.fixture
    async def pool(self, clock: ManualClock) -> ConnectionPool:
        return MemoryPool(clock)

    @pytest.fixture
    async def pass_time(self, move: PassTime) -> PassTime:
        return move


class TestRedisPool(ConnectionPoolContract):
    @pytest.fixture
    async def pool(self, redis: RedisStore) -> ConnectionPool:
        return redis.pool

    @pytest.fixture
    async def pass_time(self) -> PassTime:
        return real_time


class TestMemoryUsage(UsagePoolContract):
    @pytest.fixture
    async def usage(self, clock: ManualClock) -> UsagePool:
        return MemoryUsage(clock)

    @pytest.fixture
    async def pass_time(self, move: PassTime) -> PassTime:
        return move


class TestRedisUsage(UsagePoolContract):
    @pytest.fixture
    async def usage(self, redis: RedisStore) -> UsagePool:
        return redis.usage

    @pytest.fixture
    async def other(self, redis_server: RedisServer) -> AsyncIterator[UsagePool]:
        opened = await open_redis(redis_server.url)
        yield opened.usage
        await opened.close()

    @pytest.fixture
    async def pass_time(self) -> PassTime:
        return real_time
