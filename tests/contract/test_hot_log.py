"""The hot log's contract: what the synchroniser builds on, over SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from parlour.backends.memory import MemoryLog
from parlour.backends.redis import RedisLog, RedisStore, open_redis
from parlour.backends.sql import open_sql
from parlour.core.streams import Dedupe, Position
from parlour.errors import PositionLost
from parlour.ports import Archive
from parlour.server.archived_log import ArchivedLog
from parlour.testing.clock import ManualClock
from parlour.testing.contracts import HotLogContract
from parlour.testing.contracts.event_log import Ear
from parlour.testing.contracts.hot_log import LIMITS, Crash, Rest
from parlour.testing.contracts.making import fresh, notes
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


async def test_a_log_that_writes_through_lets_go_of_resting_streams_by_itself(
    clock: ManualClock, tmp_path: Path
) -> None:
    store = await open_sql(f"sqlite:///{tmp_path}/parlour.db", tmp_path, clock=clock)
    log = MemoryLog(clock, journal=store.archive, limits=LIMITS)
    old = [fresh() for _ in range(30)]
    for stream in old:
        await log.append(stream, notes("a"), dedupe=Dedupe("k", b"r"))
    ear = Ear()
    attachment = await log.attach(old[0], ear)
    before = [await log.window(stream) for stream in old]
    clock.advance(LIMITS.expiry_ms + 1)

    for _ in range(20):
        await log.append(fresh(), notes("b"))
    after = [await log.window(stream) for stream in old]
    again = await log.append(old[5], notes("a"), dedupe=Dedupe("k"))

    assert before == [(0, 1)] * 30
    assert after == [(0, 1)] + [(1, 1)] * 29  # the one that is followed stays
    assert (again.duplicate, again.receipt) == (True, b"r")
    await attachment.detach()
    await log.close()
    await store.close()


async def test_a_position_that_was_trimmed_before_it_was_archived_is_lost(
    clock: ManualClock, tmp_path: Path
) -> None:
    # Neither the window nor the archive has it; an empty page would leave the reader waiting for
    # ever.
    store = await open_sql(f"sqlite:///{tmp_path}/parlour.db", tmp_path, clock=clock)
    hot = MemoryLog(clock, origin=store.archive.origin(writes_through=False))
    log = ArchivedLog(hot, store.archive)
    stream = fresh()
    done = await log.append(stream, notes("a", "b"))
    await log.trim(stream, 2)

    with pytest.raises(PositionLost):
        await log.read(stream, Position(done.epoch, 0), 10)

    await log.close()
    await store.close()
