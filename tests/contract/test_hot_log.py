"""The hot log's contract: what the synchroniser builds on, over SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from parlour.backends.memory import MemoryLog
from parlour.backends.redis import RedisLog, RedisStore, open_redis
from parlour.backends.sql import open_sql
from parlour.ports import Archive
from parlour.testing.clock import ManualClock
from parlour.testing.contracts import HotLogContract
from parlour.testing.contracts.hot_log import LIMITS, Crash, Rest
from parlour.testing.servers import RedisServer


class TestMemoryOverSqlite(HotLogContract):
    @pytest.fixture
    async def archive(self, clock: ManualClock, tmp_path: Path) -> AsyncIterator[Archive]:
        store = await open_sql(f"sqlite:///{tmp_path}/parlour.db", tmp_path, clock=clock)
        yield store.archive
        await store.close()

    @pytest.fixture
    async def hot(self, clock: ManualClock, archive: Archive) -> AsyncIterator[MemoryLog]:
        log = MemoryLog(clock, origin=archive.origin(writes_through=False), limits=LIMITS)
        yield log
        await log.close()

    @pytest.fixture
    async def rest(self, clock: ManualClock) -> Rest:
        async def rest() -> None:
            clock.advance(LIMITS.expiry_ms + 1)

        return rest

    @pytest.fixture
    async def crash(self, clock: ManualClock, archive: Archive) -> AsyncIterator[Crash]:
        logs: list[MemoryLog] = []

        async def crash() -> MemoryLog:
            origin = archive.origin(writes_through=False)
            logs.append(MemoryLog(clock, origin=origin, limits=LIMITS))
            return logs[-1]

        yield crash
        for log in logs:
            await log.close()


class TestRedisOverPostgres(HotLogContract):
    @pytest.fixture
    async def archive(self, clock: ManualClock, postgres_url: str) -> AsyncIterator[Archive]:
        store = await open_sql(postgres_url, clock=clock)
        yield store.archive
        await store.close()

    @pytest.fixture
    async def redis(self, redis_server: RedisServer) -> AsyncIterator[RedisStore]:
        store = await open_redis(redis_server.url)
        # Streams of other tests would count against the bound that this suite is about.
        await store.redis.call("FLUSHALL")
        yield store
        await store.close()

    @pytest.fixture
    async def hot(self, redis: RedisStore, archive: Archive) -> AsyncIterator[RedisLog]:
        log = redis.log(origin=archive.origin(writes_through=False), limits=LIMITS)
        yield log
        await log.close()

    @pytest.fixture
    async def rest(self) -> Rest:
        async def rest() -> None:
            await asyncio.sleep((LIMITS.expiry_ms + 20) / 1000)

        return rest

    @pytest.fixture
    async def crash(self, redis_server: RedisServer, hot: RedisLog) -> Crash:
        async def crash() -> RedisLog:
            await asyncio.to_thread(redis_server.lose_data)
            return hot

        return crash


class TestRedisOverSqlite(TestRedisOverPostgres):
    @pytest.fixture
    async def archive(self, clock: ManualClock, tmp_path: Path) -> AsyncIterator[Archive]:
        store = await open_sql(f"sqlite:///{tmp_path}/parlour.db", tmp_path, clock=clock)
        yield store.archive
        await store.close()
