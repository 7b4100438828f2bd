"""The contracts of documents and notes: in memory, on SQLite, on PostgreSQL, and in Redis in front of a database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from parlour.backends.memory import MemoryDocumentStore
from parlour.backends.redis import RedisStore, open_redis
from parlour.backends.redis.documents import RedisDocumentStore
from parlour.backends.sql import SqlStore, open_sql
from parlour.ports import DocumentStore, NoteStore, UserStore
from parlour.testing.clock import ManualClock
from parlour.testing.contracts import DocumentStoreContract, NoteStoreContract
from parlour.testing.contracts.documents import new_document, numbered, read_whole
from parlour.testing.servers import RedisServer


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> AsyncIterator[SqlStore]:
    url = f"sqlite:///{tmp_path}/parlour.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    opened = await open_sql(url, tmp_path, clock=clock)
    yield opened
    await opened.close()


class TestMemoryDocuments(DocumentStoreContract):
    @pytest.fixture
    async def documents(self) -> DocumentStore:
        return MemoryDocumentStore()


class TestSqlDocuments(DocumentStoreContract):
    @pytest.fixture
    async def documents(self, store: SqlStore) -> DocumentStore:
        return store.documents


class TestSqlNotes(NoteStoreContract):
    @pytest.fixture
    async def notes(self, store: SqlStore) -> NoteStore:
        return store.notes

    @pytest.fixture
    async def documents(self, store: SqlStore) -> DocumentStore:
        return store.documents

    @pytest.fixture
    async def users(self, store: SqlStore) -> UserStore:
        return store.users


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    opened = await open_redis(redis_server.url)
    yield opened
    await opened.close()


class TestRedisDocuments(DocumentStoreContract):
    @pytest.fixture
    async def documents(self, redis: RedisStore, sqlite: SqlStore) -> RedisDocumentStore:
        return redis.documents(sqlite.documents)

    @pytest.fixture
    async def other(self, redis: RedisStore, sqlite: SqlStore) -> RedisDocumentStore:
        return redis.documents(sqlite.documents)

    @pytest.fixture
    async def sqlite(self, tmp_path: Path, clock: ManualClock) -> AsyncIterator[SqlStore]:
        opened = await open_sql(f"sqlite:///{tmp_path}/parlour.db", tmp_path, clock=clock)
        yield opened
        await opened.close()

    async def test_a_store_that_writes_through_has_it_in_the_database_when_an_append_returns(
        self, redis: RedisStore, sqlite: SqlStore
    ) -> None:
        name, through = new_document(), redis.documents(sqlite.documents, settles=True)
        await through.create(name)

        head = await through.append(name, numbered(1, 4), generation=1)

        assert head.offset == 4
        assert await read_whole(sqlite.documents, name) == (None, numbered(1, 4))

    async def test_what_is_settled_is_in_the_database(
        self, documents: RedisDocumentStore, sqlite: SqlStore
    ) -> None:
        name = new_document()
        await documents.create(name)
        await documents.append(name, numbered(1, 4), generation=1)

        await documents.settle(name)

        assert await read_whole(sqlite.documents, name) == (None, numbered(1, 4))
        assert name not in await documents.dirty(10_000)
        assert await read_whole(documents, name) == (None, numbered(1, 4))

    async def test_what_rests_is_let_go_once_it_is_in_the_database(
        self, documents: RedisDocumentStore, sqlite: SqlStore, redis: RedisStore
    ) -> None:
        name = new_document()
        await documents.create(name)
        before = await documents.append(name, numbered(1, 2), generation=1)

        gone = await documents.evict(0, 10_000)

        after = await documents.append(name, numbered(3, 3), generation=1)
        assert gone >= 1
        assert after.offset == 3
        assert after.epoch != before.epoch
        assert await read_whole(documents, name) == (None, numbered(1, 3))

    async def test_settling_from_two_nodes_at_once_doubles_nothing(
        self, documents: RedisDocumentStore, other: RedisDocumentStore, sqlite: SqlStore
    ) -> None:
        name = new_document()
        await documents.create(name)
        await documents.append(name, numbered(1, 30), generation=1)

        await asyncio.gather(*(one.settle(name) for one in (documents, other, documents, other)))

        assert await read_whole(sqlite.documents, name) == (None, numbered(1, 30))
        assert await read_whole(other, name) == (None, numbered(1, 30))

    async def test_what_two_lives_numbered_alike_is_kept_from_both(
        self, documents: RedisDocumentStore, other: RedisDocumentStore, sqlite: SqlStore
    ) -> None:
        name = new_document()
        await documents.create(name)
        await other.append(name, [b"of this life"], generation=1)
        await sqlite.documents.absorb(
            name, [b"of another life"], generation=1, epoch="another", after=0
        )

        await documents.settle(name)

        _, updates = await read_whole(other, name)
        assert sorted(set(updates)) == [b"of another life", b"of this life"]
        assert (await documents.head(name)).offset == len(updates)

    async def test_losing_redis_shows_as_another_epoch(
        self, documents: RedisDocumentStore, redis: RedisStore
    ) -> None:
        name = new_document()
        await documents.create(name)
        before = await documents.append(name, numbered(1, 2), generation=1)
        await documents.settle(name)
        await documents.append(name, numbered(3, 3), generation=1)

        await redis.redis.call("DEL", *documents._keys(name, "meta"))
        await redis.redis.call("DEL", *documents._keys(name, "updates"))

        after = await documents.head(name)
        assert after.epoch != before.epoch
        assert after.offset >= 2

    async def test_a_redis_that_started_again_gives_its_numbers_under_another_epoch(
        self, documents: RedisDocumentStore, redis: RedisStore
    ) -> None:
        """What it had on its disk may be a second old, with the same epoch and a lower offset."""
        name = new_document()
        await documents.create(name)
        before = await documents.append(name, numbered(1, 2), generation=1)
        (meta,) = documents._keys(name, "meta")
        await redis.redis.call("HSET", meta, "run", "of the server before", "offset", 1)

        after = await documents.append(name, numbered(3, 3), generation=1)

        assert after.epoch != before.epoch
        assert (await documents.head(name)).epoch == after.epoch


async def test_a_documents_keys_are_on_one_shard_of_a_cluster(
    redis_cluster: list[RedisServer], tmp_path: Path, clock: ManualClock
) -> None:
    redis = await open_redis(redis_cluster[0].url, cluster=True)
    sqlite = await open_sql("sqlite://", tmp_path, clock=clock)
    documents, names = redis.documents(sqlite.documents), [new_document() for _ in range(20)]
    for name in names:
        await documents.create(name)
        await documents.append(name, numbered(1, 3), generation=1)
        head = await documents.head(name)
        await documents.compact(name, b"s", generation=1, epoch=head.epoch, base=0, through=2)
    await documents.append(names[0], numbered(4, 4), generation=1)
    dirty = await documents.dirty(100)

    gone = await documents.evict(0, 100)

    assert dirty == names[:1]
    assert gone == 20
    assert await read_whole(documents, names[0]) == (b"s", numbered(3, 4))
    await redis.close()
    await sqlite.close()
