"""The contracts of everything that is kept in a database, on SQLite (file and memory) and
PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from parlour.backends.memory import MemoryBus, MemoryLeases, MemorySessionStore
from parlour.backends.redis import RedisStore, open_redis
from parlour.backends.sql import SqlStore, open_sql
from parlour.core.streams import Event, Position
from parlour.errors import InvalidPayload, LeaseLost
from parlour.ports import (
    Announcements,
    Archive,
    Bus,
    Entry,
    FileStore,
    Leases,
    SessionStore,
    ThreadStore,
    UserStore,
)
from parlour.testing.clock import ManualClock
from parlour.testing.contracts import (
    ArchiveContract,
    BusContract,
    FileStoreContract,
    LeasesContract,
    SessionStoreContract,
    ThreadSharingContract,
    ThreadStoreContract,
    UserStoreContract,
)
from parlour.testing.contracts.archive import entry
from parlour.testing.contracts.leases import PassTime
from parlour.testing.contracts.making import fresh
from parlour.testing.servers import RedisServer


@pytest.fixture(params=["sqlite", "sqlite in memory", "postgresql"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> AsyncIterator[SqlStore]:
    if request.param == "sqlite":
        opened = await open_sql(f"sqlite:///{tmp_path}/parlour.db", tmp_path, clock=clock)
    elif request.param == "postgresql":
        opened = await open_sql(request.getfixturevalue("postgres_url"), tmp_path, clock=clock)
    else:
        opened = await open_sql("sqlite://", tmp_path, clock=clock)
    yield opened
    await opened.close()


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    opened = await open_redis(redis_server.url)
    yield opened
    await opened.close()


async def real_time(ms: int) -> None:
    await asyncio.sleep((ms + 20) / 1000)


class TestSqlArchive(ArchiveContract):
    @pytest.fixture
    async def archive(self, store: SqlStore) -> Archive:
        return store.archive

    async def test_what_json_cannot_hold_is_refused_and_nothing_of_the_write_is_kept(
        self, archive: Archive
    ) -> None:
        stream = fresh()
        bad = Event(stream, "e", 2, "note", {"text": {"a", "set"}}, 1)

        with pytest.raises(InvalidPayload):
            await archive.write([entry(stream, "e", 1), Entry(stream, "e", [bad])])

        assert await archive.head(stream) is None

    @pytest.mark.parametrize("known", [True, False])
    async def test_a_fence_that_falls_within_one_write_is_refused(
        self, archive: Archive, known: bool
    ) -> None:
        stream = fresh()
        if known:
            await archive.write([entry(stream, "e", 1, fence=3)])
        first = 2 if known else 1

        with pytest.raises(LeaseLost):
            await archive.write(
                [entry(stream, "e", first, fence=5), entry(stream, "e", first + 1, fence=4)]
            )

        assert await archive.head(stream) == (Position("e", 1) if known else None)

    async def test_a_write_without_a_fence_leaves_the_highest_one_as_it_was(
        self, archive: Archive
    ) -> None:
        stream, origin = fresh(), archive.origin(writes_through=True)
        epoch = (await origin.open(stream)).position.epoch
        await archive.write([entry(stream, epoch, 1, fence=7)])

        await archive.write([entry(stream, epoch, 2), entry(stream, epoch, 3)])

        assert (await origin.open(stream)).fence == 7
        with pytest.raises(LeaseLost):
            await archive.write([entry(stream, epoch, 4), entry(stream, epoch, 5, fence=6)])

    async def test_a_large_write_of_several_streams_is_read_as_it_was(
        self, archive: Archive
    ) -> None:
        streams = [fresh() for _ in range(3)]
        written = {stream: entry(stream, "e", 1, 150) for stream in streams}

        await archive.write(list(written.values()))

        for stream in streams:
            page = await archive.read(stream, None, 1000)
            assert list(page.events) == list(written[stream].events)


class TestSqlUsers(UserStoreContract):
    @pytest.fixture
    async def users(self, store: SqlStore) -> UserStore:
        return store.users


class TestSqlThreads(ThreadStoreContract):
    @pytest.fixture
    async def threads(self, store: SqlStore) -> ThreadStore:
        return store.threads

    @pytest.fixture
    async def archive(self, store: SqlStore) -> Archive:
        return store.archive


class TestSqlThreadSharing(ThreadSharingContract):
    @pytest.fixture
    async def threads(self, store: SqlStore) -> ThreadStore:
        return store.threads

    @pytest.fixture
    async def users(self, store: SqlStore) -> UserStore:
        return store.users

    @pytest.fixture
    async def archive(self, store: SqlStore) -> Archive:
        return store.archive

    @pytest.fixture
    async def announcements(self, store: SqlStore) -> Announcements:
        return store.announcements


class TestSqlFiles(FileStoreContract):
    @pytest.fixture
    async def files(self, store: SqlStore) -> FileStore:
        return store.files


class TestSqlSessions(SessionStoreContract):
    @pytest.fixture
    async def sessions(self, store: SqlStore) -> SessionStore:
        return store.sessions


class TestMemorySessions(SessionStoreContract):
    @pytest.fixture
    async def sessions(self) -> SessionStore:
        return MemorySessionStore()


class TestRedisSessions(SessionStoreContract):
    @pytest.fixture
    async def sessions(self, redis: RedisStore) -> SessionStore:
        return redis.sessions


class TestSqlLeases(LeasesContract):
    @pytest.fixture
    async def leases(self, store: SqlStore) -> Leases:
        return store.leases

    @pytest.fixture
    async def pass_time(self, request: pytest.FixtureRequest, clock: ManualClock) -> PassTime:
        async def move(ms: int) -> None:
            clock.advance(ms)

        return real_time if "postgresql" in request.node.name else move


class TestMemoryLeases(LeasesContract):
    @pytest.fixture
    async def leases(self, clock: ManualClock) -> Leases:
        return MemoryLeases(clock)

    @pytest.fixture
    async def pass_time(self, clock: ManualClock) -> PassTime:
        async def move(ms: int) -> None:
            clock.advance(ms)

        return move


class TestRedisLeases(LeasesContract):
    @pytest.fixture
    async def leases(self, redis: RedisStore) -> Leases:
        return redis.leases

    @pytest.fixture
    async def pass_time(self) -> PassTime:
        return real_time


class TestMemoryBus(BusContract):
    @pytest.fixture
    async def bus(self) -> Bus:
        return MemoryBus()


class TestRedisBus(BusContract):
    @pytest.fixture
    async def bus(self, redis: RedisStore) -> Bus:
        return redis.bus

    @pytest.fixture
    async def other(self, redis_server: RedisServer) -> AsyncIterator[Bus]:
        opened = await open_redis(redis_server.url)
        yield opened.bus
        await opened.close()
