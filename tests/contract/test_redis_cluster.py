"""The contracts of Redis once more, on a Cluster of three servers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from parlour.backends.redis import RedisLog, RedisStore, open_redis
from parlour.backends.sql import open_sql
from parlour.errors import Unavailable
from parlour.ports import Archive, Bus, HotLog, Leases, SessionRecord, SessionStore
from parlour.testing.clock import ManualClock
from parlour.testing.contracts import (
    BusContract,
    EventLogContract,
    HotLogContract,
    LeasesContract,
    SessionStoreContract,
)
from parlour.testing.contracts.event_log import Ear
from parlour.testing.contracts.hot_log import LIMITS, Crash, Rest, synchronise
from parlour.testing.contracts.leases import PassTime
from parlour.testing.contracts.making import fresh, notes, read_all, texts
from parlour.testing.servers import RedisServer


@pytest.fixture
async def cluster(redis_cluster: list[RedisServer]) -> AsyncIterator[RedisStore]:
    store = await open_redis(redis_cluster[0].url, cluster=True)
    yield store
    await store.close()


@pytest.fixture
async def neighbour(redis_cluster: list[RedisServer]) -> AsyncIterator[RedisStore]:
    """Another node, which begins at another server."""
    store = await open_redis(redis_cluster[1].url, cluster=True)
    yield store
    await store.close()


async def empty(servers: list[RedisServer]) -> None:
    """What other tests left unsynchronised would count against the bound."""
    for server in servers:
        store = await open_redis(server.url)
        await store.redis.call("FLUSHALL")
        await store.close()


class TestClusterLog(EventLogContract):
    @pytest.fixture
    async def log(self, cluster: RedisStore) -> AsyncIterator[RedisLog]:
        log = cluster.log()
        yield log
        await log.close()

    @pytest.fixture
    async def other(self, neighbour: RedisStore) -> AsyncIterator[RedisLog]:
        log = neighbour.log()
        yield log
        await log.close()


class TestClusterOverSqlite(HotLogContract):
    @pytest.fixture
    async def archive(self, clock: ManualClock, tmp_path: Path) -> AsyncIterator[Archive]:
        store = await open_sql(f"sqlite:///{tmp_path}/parlour.db", tmp_path, clock=clock)
        yield store.archive
        await store.close()

    @pytest.fixture
    async def hot(
        self, redis_cluster: list[RedisServer], cluster: RedisStore, archive: Archive
    ) -> AsyncIterator[RedisLog]:
        await empty(redis_cluster)
        log = cluster.log(origin=archive.origin(writes_through=False), limits=LIMITS)
        yield log
        await log.close()

    @pytest.fixture
    async def rest(self) -> Rest:
        async def rest() -> None:
            await asyncio.sleep((LIMITS.expiry_ms + 20) / 1000)

        return rest

    @pytest.fixture
    async def crash(self, redis_cluster: list[RedisServer], hot: RedisLog) -> Crash:
        async def crash() -> RedisLog:
            await empty(redis_cluster)
            return hot

        return crash

    async def test_beyond_the_bound_appends_are_refused_and_nothing_is_dropped(
        self, hot: HotLog, archive: Archive
    ) -> None:
        """On a Cluster the bound is each partition's own: here that of one stream."""
        stream = fresh()
        await hot.append(stream, notes(*(str(n) for n in range(59))))

        with pytest.raises(Unavailable):
            await hot.append(stream, notes("a", "b"))
        await synchronise(hot, archive)
        after = await hot.append(stream, notes("a", "b"))

        assert after.last == 61


class TestClusterSessions(SessionStoreContract):
    @pytest.fixture
    async def sessions(self, cluster: RedisStore) -> SessionStore:
        return cluster.sessions


class TestClusterLeases(LeasesContract):
    @pytest.fixture
    async def leases(self, cluster: RedisStore) -> Leases:
        return cluster.leases

    @pytest.fixture
    async def pass_time(self) -> PassTime:
        async def real_time(ms: int) -> None:
            await asyncio.sleep((ms + 20) / 1000)

        return real_time


class TestClusterBus(BusContract):
    @pytest.fixture
    async def bus(self, cluster: RedisStore) -> Bus:
        return cluster.bus

    @pytest.fixture
    async def other(self, neighbour: RedisStore) -> Bus:
        return neighbour.bus


async def test_streams_are_spread_over_all_servers(
    redis_cluster: list[RedisServer], cluster: RedisStore
) -> None:
    await empty(redis_cluster)
    log = cluster.log()
    streams = [fresh() for _ in range(60)]

    await asyncio.gather(*(log.append(stream, notes("a")) for stream in streams))
    sizes = []
    for server in redis_cluster:
        store = await open_redis(server.url)
        sizes.append(await store.redis.call("DBSIZE"))
        await store.close()

    assert min(sizes) > 0
    await log.close()


async def test_a_partition_that_moves_to_another_server_is_followed(
    redis_cluster: list[RedisServer], cluster: RedisStore, neighbour: RedisStore
) -> None:
    # A slot is handed over while it is written to and listened to; nothing acknowledged is lost,
    # and the follower is either told or hears everything.
    log, there = cluster.log(), neighbour.log()
    stream, ear = fresh(), Ear()
    await log.append(stream, notes("before"))
    attachment = await log.attach(stream, ear)

    async with moving_slot(redis_cluster, cluster.redis.keys.own(stream)):
        pass
    await there.append(stream, notes("after"))
    await ear.lost()
    second = Ear()
    again = await log.attach(stream, second)
    await there.append(stream, notes("more"))

    assert await second.heard(1) == ["more"]
    assert texts(await read_all(log, stream)) == ["before", "after", "more"]
    await attachment.detach()
    await again.detach()
    await log.close()
    await there.close()


async def test_a_session_whose_slot_is_on_its_way_is_found(
    redis_cluster: list[RedisServer], cluster: RedisStore
) -> None:
    record = SessionRecord(str(uuid.uuid4()), "ann", thread_id="t")
    await cluster.sessions.bind(record)

    async with moving_slot(redis_cluster, cluster.redis.keys.own(f"session:{record.id}")):
        amid = await cluster.sessions.load(record.id)
    after = await cluster.sessions.load(record.id)

    assert amid == after == record


@asynccontextmanager
async def moving_slot(servers: list[RedisServer], key: str) -> AsyncIterator[None]:
    """Hand over one slot, as a resharding does: within, its keys are at the new server already, and
    the old one still has the say."""
    stores = [await open_redis(server.url) for server in servers]
    calls = [store.redis.call for store in stores]
    names = [(await call("CLUSTER", "MYID")).decode() for call in calls]
    slot = await calls[0]("CLUSTER", "KEYSLOT", key)
    held = [await call("CLUSTER", "COUNTKEYSINSLOT", slot) for call in calls]
    source = held.index(max(held))
    target = (source + 1) % len(servers)
    await calls[target]("CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
    await calls[source]("CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
    while keys := await calls[source]("CLUSTER", "GETKEYSINSLOT", slot, 100):
        await calls[source](
            "MIGRATE", "127.0.0.1", servers[target].port, "", 0, 5000, "KEYS", *keys
        )
    yield
    for call in (calls[target], *calls):
        await call("CLUSTER", "SETSLOT", slot, "NODE", names[target])
    for store in stores:
        await store.close()
