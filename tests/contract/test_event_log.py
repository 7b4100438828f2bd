"""The event log's contract on every combination of window and archive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from parlour.backends.memory import MemoryLog
from parlour.backends.redis import RedisLog, open_redis
from parlour.backends.sql import open_sql
from parlour.testing.clock import ManualClock
from parlour.testing.contracts.event_log import EventLogContract
from parlour.testing.servers import RedisServer


class TestMemoryLog(EventLogContract):
    """Nothing outlives the process."""

    @pytest.fixture
    async def log(self, clock: ManualClock) -> AsyncIterator[MemoryLog]:
        log = MemoryLog(clock)
        yield log
        await log.close()


class TestMemoryLogOverSqlite(EventLogContract):
    """Written behind."""

    @pytest.fixture
    async def log(self, clock: ManualClock, tmp_path: Path) -> AsyncIterator[MemoryLog]:
        store = await open_sql(f"sqlite:///{tmp_path}/parlour.db", tmp_path, clock=clock)
        log = MemoryLog(clock, origin=store.archive.origin(writes_through=False))
        yield log
        await log.close()
        await store.close()


class TestMemoryLogWithSqliteJournal(EventLogContract):
    """Written through: the embedded default."""

    @pytest.fixture
    async def log(self, clock: ManualClock, tmp_path: Path) -> AsyncIterator[MemoryLog]:
        store = await open_sql(f"sqlite:///{tmp_path}/parlour.db", tmp_path, clock=clock)
        log = MemoryLog(clock, journal=store.archive)
        yield log
        await log.close()
        await store.close()


class TestMemoryLogWithPostgresJournal(EventLogContract):
    @pytest.fixture
    async def log(self, clock: ManualClock, postgres_url: str) -> AsyncIterator[MemoryLog]:
        store = await open_sql(postgres_url, clock=clock)
        log = MemoryLog(clock, journal=store.archive)
        yield log
        await log.close()
        await store.close()


class TestRedisLog(EventLogContract):
    """Redis alone, as two nodes see it."""

    @pytest.fixture
    async def log(self, redis_server: RedisServer) -> AsyncIterator[RedisLog]:
        store = await open_redis(redis_server.url)
        log = store.log()
        yield log
        await log.close()
        await store.close()

    @pytest.fixture
    async def other(self, redis_server: RedisServer) -> AsyncIterator[RedisLog]:
        store = await open_redis(redis_server.url)
        log = store.log()
        yield log
        await log.close()
        await store.close()


class TestRedisLogOverPostgres(EventLogContract):
    """Written behind, by two nodes."""

    @pytest.fixture
    async def log(
        self, clock: ManualClock, redis_server: RedisServer, postgres_url: str
    ) -> AsyncIterator[RedisLog]:
        async with _over_postgres(clock, redis_server, postgres_url) as log:
            yield log

    @pytest.fixture
    async def other(
        self, clock: ManualClock, redis_server: RedisServer, postgres_url: str
    ) -> AsyncIterator[RedisLog]:
        async with _over_postgres(clock, redis_server, postgres_url) as log:
            yield log


@asynccontextmanager
async def _over_postgres(
    clock: ManualClock, server: RedisServer, url: str
) -> AsyncIterator[RedisLog]:
    archive = await open_sql(url, clock=clock)
    store = await open_redis(server.url)
    log = store.log(origin=archive.archive.origin(writes_through=False))
    yield log
    await log.close()
    await store.close()
    await archive.close()
