"""What happens to streams while Redis, or the connection to it, is in trouble. Real servers, real
signals."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis.asyncio import Redis

from parlour.backends.redis import RedisLog, RedisStore, open_redis
from parlour.backends.redis.pubsub import Listener
from parlour.backends.redis.scripts import script
from parlour.backends.sql import SqlStore, open_sql
from parlour.core.streams import Appended, Dedupe, Position
from parlour.errors import ParlourError, PositionLost, Unavailable
from parlour.ports import Lost
from parlour.testing.clock import ManualClock
from parlour.testing.contracts.event_log import Ear
from parlour.testing.contracts.hot_log import synchronise
from parlour.testing.contracts.making import LIMIT_S, fresh, notes, read_all, texts, until
from parlour.testing.fault_proxy import FaultProxy
from parlour.testing.servers import RedisServer, ServerMissing, running_redis, running_sentinel
from tests.conftest import missing

TIME_LIMIT_S = 0.5


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A Redis that keeps its data over a restart."""
    try:
        with running_redis("--appendonly", "yes", "--appendfsync", "always") as running:
            yield running
    except ServerMissing as error:
        missing(error)


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[SqlStore]:
    store = await open_sql(f"sqlite:///{tmp_path}/parlour.db", tmp_path, clock=ManualClock())
    yield store
    await store.close()


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[RedisStore]:
    opened = await open_redis(server.url, time_limit=TIME_LIMIT_S)
    yield opened
    await opened.close()


@pytest.fixture
async def log(store: RedisStore, archive: SqlStore) -> AsyncIterator[RedisLog]:
    opened = store.log(origin=archive.archive.origin(writes_through=False))
    yield opened
    await opened.close()


@pytest.fixture
async def other(server: RedisServer, archive: SqlStore) -> AsyncIterator[RedisLog]:
    """Another node."""
    opened = await open_redis(server.url, time_limit=TIME_LIMIT_S)
    log = opened.log(origin=archive.archive.origin(writes_through=False))
    yield log
    await log.close()
    await opened.close()


async def insist(log: RedisLog, stream: str, text: str, limit_s: float = LIMIT_S) -> Appended:
    """Append until it is acknowledged, as a client that retries with its command id."""
    async with asyncio.timeout(limit_s):
        while True:
            with suppress(Unavailable):
                return await log.append(stream, notes(text), dedupe=Dedupe(text))
            await asyncio.sleep(0.02)


async def kill_connections(server: RedisServer, kind: str) -> None:
    admin = await open_redis(server.url)
    await admin.redis.call("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
    await admin.close()


async def test_a_follower_whose_subscription_breaks_misses_and_repeats_nothing(
    server: RedisServer, log: RedisLog, other: RedisLog
) -> None:
    stream, ear = fresh(), Ear()
    attachment = await log.attach(stream, ear)

    for n in range(200):
        await other.append(stream, notes(str(n)))
        if n % 20 == 10:
            await kill_connections(server, "pubsub")
    heard = await ear.heard(200)
    await attachment.detach()

    assert heard == [str(n) for n in range(200)]
    assert not any(isinstance(item, Lost) for item in ear.items)


async def test_an_epoch_that_ends_while_a_follower_attaches_is_followed_by_the_next(
    store: RedisStore, archive: SqlStore
) -> None:
    """The last message of an old epoch arrived between the subscription and the reading of the new head:
    the attachment then looked for a channel that was over, for ever, and with it the event loop stood
    still."""
    log = RedisLog(
        store.redis, _Interrupting(store), origin=archive.archive.origin(writes_through=False)
    )
    stream, ear = fresh(), Ear()

    async with asyncio.timeout(LIMIT_S):
        attachment = await log.attach(stream, ear)
    await log.append(stream, notes("afterwards"))
    heard = await ear.heard(1)
    await attachment.detach()
    await log.close()

    assert heard == ["afterwards"]


class _Interrupting:
    """Real subscriptions; the first one hears something of an epoch that is over at once."""

    def __init__(self, store: RedisStore) -> None:
        self._subscriptions = store.subscriptions
        self._interrupted = False

    async def subscribe(self, listener: Listener) -> None:
        await self._subscriptions.subscribe(listener)
        if not self._interrupted:
            self._interrupted = True
            listener.hear(b"over 7\n")

    def unsubscribe(self, listener: Listener) -> None:
        self._subscriptions.unsubscribe(listener)

    async def close(self) -> None:
        """The store closes what it opened."""


async def test_what_is_missed_during_a_break_is_heard_though_nothing_follows(
    server: RedisServer, log: RedisLog, other: RedisLog
) -> None:
    # A later message would reveal the gap by its number; here there is none.
    stream, ear = fresh(), Ear()
    attachment = await log.attach(stream, ear)

    for n in range(10):
        await kill_connections(server, "pubsub")
        await other.append(stream, notes(str(n)))
        heard = await ear.heard(n + 1)

    assert heard == [str(n) for n in range(10)]
    await attachment.detach()


@pytest.mark.parametrize("first", ["2-older", "3-newer"])
async def test_of_two_openings_the_newer_epoch_wins_in_either_order(
    log: RedisLog, store: RedisStore, first: str
) -> None:
    # Two nodes asked the archive at the same moment; what the archive said last must stand.
    stream = fresh()
    await log.append(stream, notes("a"))
    keys = store.redis.keys
    run_id = await store.redis.call("HGET", keys.stream(stream)[1], "run")
    order = ["2-older", "3-newer"] if first == "2-older" else ["3-newer", "2-older"]

    for epoch in order:
        values = (run_id, stream, "PUBLISH", f"{keys.own(stream)}:news", epoch, 0, 0)
        await store.redis.run(script("open"), keys.stream(stream), values)

    head = await log.head(stream)
    assert head == Position("3-newer", 1)


async def scripts_run(store: RedisStore) -> int:
    """How many scripts the server has run so far."""
    stats = (await store.redis.call("INFO", "commandstats")).decode()
    counts = re.findall(r"cmdstat_(?:evalsha|eval|fcall)\S*:calls=(\d+)", stats)
    return sum(map(int, counts))


async def test_who_hears_late_that_a_stream_is_not_open_does_not_open_it_again(
    server: RedisServer, store: RedisStore, log: RedisLog, archive: SqlStore
) -> None:
    # A second opening has another epoch, which sends everybody who follows the stream for a snapshot. The
    # lock alone did not prevent it: who had asked before the first opening got it when that was done.
    stream, ear = fresh(), Ear()
    async with FaultProxy(("127.0.0.1", server.port)) as proxy:
        far = await open_redis(f"redis://127.0.0.1:{proxy.port}/0", time_limit=5.0)
        other = far.log(origin=archive.archive.origin(writes_through=False))
        await other.head(fresh())
        before = await scripts_run(store)
        proxy.delay = 0.2
        late = asyncio.create_task(other.head(stream))
        while await scripts_run(store) == before:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)

        attachment = await log.attach(stream, ear)
        found = await late

        assert found == attachment.position
        await log.append(stream, notes("a"))
        assert await ear.heard(1) == ["a"]
        await attachment.detach()
        await other.close()
        await far.close()


async def test_all_connections_cut_again_and_again_lose_nothing_acknowledged(
    server: RedisServer, log: RedisLog, other: RedisLog
) -> None:
    stream, ear = fresh(), Ear()
    attachment = await log.attach(stream, ear)

    for n in range(100):
        await insist(other, stream, str(n))
        if n % 10 == 5:
            await kill_connections(server, "normal")
            await kill_connections(server, "pubsub")
    heard = await ear.heard(100)
    await attachment.detach()

    assert heard == [str(n) for n in range(100)]
    assert texts(await read_all(log, stream)) == heard


async def test_a_redis_that_stops_answering_is_unavailable_within_the_time_limit(
    server: RedisServer, log: RedisLog
) -> None:
    stream, loop = fresh(), asyncio.get_running_loop()
    await log.append(stream, notes("before"))

    server.pause()
    began = loop.time()
    with pytest.raises(Unavailable):
        await log.append(stream, notes("during"))
    took = loop.time() - began
    server.resume()
    await insist(log, stream, "after")

    assert took < 4 * TIME_LIMIT_S
    assert texts(await read_all(log, stream))[0] == "before"
    assert texts(await read_all(log, stream))[-1] == "after"


async def test_a_follower_outlives_a_pause_of_redis(
    server: RedisServer, log: RedisLog, other: RedisLog
) -> None:
    stream, ear = fresh(), Ear()
    attachment = await log.attach(stream, ear)
    await other.append(stream, notes("before"))
    await ear.heard(1)

    server.pause()
    await asyncio.sleep(3 * TIME_LIMIT_S)  # the length of the trouble, not an order
    server.resume()
    await insist(other, stream, "after")

    assert await ear.heard(2) == ["before", "after"]
    await attachment.detach()


async def test_after_a_restart_with_data_the_epoch_is_new_and_every_event_is_there(
    server: RedisServer, log: RedisLog
) -> None:
    stream = fresh()
    before = await log.append(stream, notes("a", "b"), dedupe=Dedupe("k", b"r"))

    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    after = await insist(log, stream, "c")
    again = await log.append(stream, notes("a", "b"), dedupe=Dedupe("k"))

    assert after.epoch != before.epoch
    assert after.position == await log.head(stream)
    assert texts(await read_all(log, stream)) == ["a", "b", "c"]
    assert again.duplicate
    assert again.receipt == b"r"


async def test_a_follower_hears_of_a_renewed_epoch_exactly_once(
    server: RedisServer, log: RedisLog, other: RedisLog
) -> None:
    stream, ear = fresh(), Ear()
    await log.attach(stream, ear)
    await other.append(stream, notes("a"))
    await ear.heard(1)

    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    await insist(other, stream, "b")
    await ear.lost()
    fresh_ear = Ear()
    attachment = await log.attach(stream, fresh_ear)
    await other.append(stream, notes("c"))

    assert await fresh_ear.heard(1) == ["c"]
    assert attachment.position.offset == 2
    assert [isinstance(item, Lost) for item in ear.items] == [False, True]
    await attachment.detach()


async def test_what_was_archived_survives_a_redis_that_lost_everything(
    server: RedisServer, log: RedisLog, archive: SqlStore
) -> None:
    stream = fresh()
    old = await log.append(stream, notes("a", "b"))
    await synchronise(log, archive.archive)
    lost = await log.append(stream, notes("lost"))

    await asyncio.to_thread(server.lose_data)
    await insist(log, stream, "c")
    await synchronise(log, archive.archive)

    assert texts(await read_all(archive.archive, stream)) == ["a", "b", "c"]
    assert (await log.head(stream)).epoch != old.epoch
    with pytest.raises(PositionLost):
        await log.read(stream, lost.position, 10)


async def test_many_nodes_that_find_a_stream_gone_agree_on_its_epoch(
    server: RedisServer, archive: SqlStore, log: RedisLog
) -> None:
    stream = fresh()
    await log.append(stream, notes("a"))
    await synchronise(log, archive.archive)
    await asyncio.to_thread(server.lose_data)
    stores = [await open_redis(server.url) for _ in range(6)]
    nodes = [one.log(origin=archive.archive.origin(writes_through=False)) for one in stores]

    results = await asyncio.gather(*(node.append(stream, notes("x")) for node in nodes))
    await synchronise(log, archive.archive)

    assert len({result.epoch for result in results}) == 1
    assert sorted(result.last for result in results) == [2, 3, 4, 5, 6, 7]
    assert (await archive.archive.head(stream)) == await log.head(stream)
    for node, one in zip(nodes, stores, strict=True):
        await node.close()
        await one.close()


async def test_an_older_copy_of_redis_gives_way_to_what_the_archive_holds(
    server: RedisServer, log: RedisLog, archive: SqlStore, store: RedisStore
) -> None:
    # A replica that took over can be behind what was already archived.
    stream = fresh()
    await log.append(stream, notes("a"))
    await store.redis.call("BGREWRITEAOF")
    kept = {}
    for key in await store.redis.call("KEYS", f"*{stream}*"):
        kept[key] = await store.redis.call("DUMP", key)
    await log.append(stream, notes("b", "c"))
    await synchronise(log, archive.archive)
    for key, dump in kept.items():
        await store.redis.call("RESTORE", key, 0, dump, "REPLACE")

    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    await insist(log, stream, "d")
    await synchronise(log, archive.archive)

    assert (await log.head(stream)).offset == 4
    assert texts(await read_all(archive.archive, stream)) == ["a", "b", "c", "d"]


async def test_a_redis_that_is_away_refuses_at_start() -> None:
    with pytest.raises(Unavailable):
        await open_redis("redis://127.0.0.1:1/0", time_limit=TIME_LIMIT_S)


async def test_a_wrong_password_is_said(server: RedisServer) -> None:
    with pytest.raises(ParlourError, match=r"password|AUTH"):
        await open_redis(server.url.replace("redis://", "redis://:wrong@"))


async def test_a_full_redis_refuses_and_keeps_what_it_has(
    server: RedisServer, log: RedisLog, store: RedisStore
) -> None:
    stream = fresh()
    await log.append(stream, notes("before"))
    await store.redis.call("CONFIG", "SET", "maxmemory", "1")

    with pytest.raises(Unavailable, match="memory"):
        await log.append(stream, notes("during"))

    await store.redis.call("CONFIG", "SET", "maxmemory", "0")
    await log.append(stream, notes("after"))
    assert texts(await read_all(log, stream)) == ["before", "after"]


async def test_flushed_scripts_come_back(log: RedisLog, store: RedisStore) -> None:
    stream = fresh()
    await log.append(stream, notes("a"))
    await store.redis.call("SCRIPT", "FLUSH")

    await log.append(stream, notes("b"))

    assert texts(await read_all(log, stream)) == ["a", "b"]


async def test_appends_under_cancellation_leave_no_gap(log: RedisLog) -> None:
    stream, ear = fresh(), Ear()
    attachment = await log.attach(stream, ear)
    tasks = [asyncio.create_task(log.append(stream, notes(str(n)))) for n in range(100)]
    await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    kept = sum(not isinstance(result, BaseException) for result in results)
    events = await read_all(log, stream)

    assert len(events) >= kept
    assert await ear.heard(len(events)) == texts(events)
    await attachment.detach()


async def test_a_fail_over_found_through_sentinel_renews_the_epoch_and_goes_on(
    archive: SqlStore,
) -> None:
    # What the replica had is kept; a reader of the old epoch is told; nobody has to be configured
    # anew.
    with (
        running_redis("--repl-diskless-sync-delay", "0") as server,
        running_redis("--replicaof", "127.0.0.1", str(server.port)) as replica,
        running_sentinel(server) as sentinel,
    ):
        store = await open_redis(
            "redis://parlour", time_limit=2.0, sentinels=[("127.0.0.1", sentinel.port)]
        )
        log = store.log(origin=archive.archive.origin(writes_through=False))
        stream, ear = fresh(), Ear()
        await log.attach(stream, ear)
        before = await log.append(stream, notes("before"))
        await ear.heard(1)
        await until(lambda: replicated(store), 30)
        await known_to_sentinel(sentinel.port)

        await asyncio.to_thread(server.kill)
        await insist(log, stream, "after", limit_s=40)
        await ear.lost()
        events = await read_all(log, stream)

        assert texts(events) == ["before", "after"]
        assert (await log.head(stream)).epoch != before.epoch
        assert replica.port != server.port
        await log.close()
        await store.close()


async def replicated(store: RedisStore) -> bool:
    return bool(await store.redis.call("WAIT", 1, 100))


async def known_to_sentinel(port: int) -> None:
    """Wait until the sentinel has found the replica; before that it has nothing to fail over to."""
    admin = Redis(port=port)

    async def found() -> bool:
        replicas = await admin.sentinel_slaves("parlour")
        return bool(replicas)

    await until(found, 30)
    await admin.aclose()
