"""What every `DocumentStore` promises."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from parlour.errors import NotFound, StaleGeneration
from parlour.ports import DocumentHead, DocumentLog, DocumentStore


def new_document() -> str:
    """An id that no other test uses."""
    return f"note:{uuid.uuid4().hex}"


def numbered(first: int, last: int) -> list[bytes]:
    return [b"update %d" % number for number in range(first, last + 1)]


async def read_whole(store: DocumentStore, document_id: str) -> tuple[bytes | None, list[bytes]]:
    """The snapshot and every update behind it, read page by page."""
    log = await store.read(document_id, limit=3)
    snapshot, updates = log.snapshot, list(log.updates)
    while log.through < log.head.offset:
        log = await store.read(document_id, after=log.through, limit=3)
        updates += log.updates
    return snapshot, updates


class DocumentStoreContract:
    """Give it a fixture `documents`, and `other`: the same store as another node has it."""

    @pytest.fixture
    async def documents(self) -> DocumentStore:
        raise NotImplementedError

    @pytest.fixture
    async def other(self, documents: DocumentStore) -> DocumentStore:
        return documents

    # -- appending and reading -------------------------------------------------------------------

    async def test_a_new_document_is_empty(self, documents: DocumentStore) -> None:
        name = new_document()

        head = await documents.create(name)

        assert (head.generation, head.offset, head.base) == (1, 0, 0)
        assert await read_whole(documents, name) == (None, [])

    async def test_creating_again_gives_what_is_there(self, documents: DocumentStore) -> None:
        name = new_document()
        await documents.create(name)
        await documents.append(name, numbered(1, 2), generation=1)

        head = await documents.create(name)

        assert head.offset == 2
        assert await read_whole(documents, name) == (None, numbered(1, 2))

    async def test_offsets_are_contiguous_from_one(self, documents: DocumentStore) -> None:
        name = new_document()
        await documents.create(name)

        first = await documents.append(name, numbered(1, 1), generation=1)
        second = await documents.append(name, numbered(2, 4), generation=1)

        assert (first.offset, second.offset) == (1, 4)
        assert first.epoch == second.epoch
        assert await read_whole(documents, name) == (None, numbered(1, 4))

    async def test_bytes_come_back_as_they_were(self, documents: DocumentStore) -> None:
        name, every = new_document(), bytes(range(256))
        await documents.create(name)

        await documents.append(name, [every, b"\0" * 5, every * 400], generation=1)

        assert await read_whole(documents, name) == (None, [every, b"\0" * 5, every * 400])

    async def test_what_is_after_an_offset_is_read_alone(self, documents: DocumentStore) -> None:
        name = new_document()
        await documents.create(name)
        await documents.append(name, numbered(1, 5), generation=1)

        log = await documents.read(name, after=3)

        assert (log.snapshot, list(log.updates), log.through) == (None, numbered(4, 5), 5)

    async def test_reading_at_the_head_gives_nothing(self, documents: DocumentStore) -> None:
        name = new_document()
        await documents.create(name)
        head = await documents.append(name, numbered(1, 5), generation=1)

        log = await documents.read(name, after=5)

        assert (list(log.updates), log.through, log.head.offset) == ([], 5, head.offset)

    async def test_a_read_gives_at_most_its_limit(self, documents: DocumentStore) -> None:
        name = new_document()
        await documents.create(name)
        await documents.append(name, numbered(1, 5), generation=1)

        log = await documents.read(name, limit=2)

        assert (list(log.updates), log.through, log.head.offset) == (numbered(1, 2), 2, 5)

    async def test_concurrent_appends_of_two_nodes_lose_nothing_and_stay_together(
        self, documents: DocumentStore, other: DocumentStore
    ) -> None:
        name = new_document()
        await documents.create(name)
        pairs = [[b"%d a" % number, b"%d b" % number] for number in range(20)]

        heads = await asyncio.gather(
            *(
                store.append(name, pair, generation=1)
                for pair, store in zip(pairs, [documents, other] * 10, strict=True)
            )
        )

        _, updates = await read_whole(documents, name)
        assert sorted(head.offset for head in heads) == list(range(2, 41, 2))
        assert len(updates) == 40
        assert [updates[at : at + 2] for at in range(0, 40, 2)] == [
            pairs[int(updates[at].split()[0])] for at in range(0, 40, 2)
        ]
        assert await read_whole(other, name) == (None, updates)

    async def test_a_document_that_was_never_created_is_not_found(
        self, documents: DocumentStore
    ) -> None:
        name = new_document()

        for work in (
            documents.head(name),
            documents.read(name),
            documents.append(name, [b"x"], generation=1),
        ):
            with pytest.raises(NotFound):
                await work

    # -- the fence -------------------------------------------------------------------------------

    async def test_another_generation_is_refused_and_changes_nothing(
        self, documents: DocumentStore
    ) -> None:
        name = new_document()
        await documents.create(name)
        head = await documents.append(name, numbered(1, 2), generation=1)

        for work in (
            documents.append(name, [b"x"], generation=2),
            documents.compact(name, b"s", generation=0, epoch=head.epoch, base=0, through=2),
            documents.renew(name, b"s", generation=7),
        ):
            with pytest.raises(StaleGeneration) as refused:
                await work
            assert refused.value.details["generation"] == 1
        assert await read_whole(documents, name) == (None, numbered(1, 2))

    async def test_a_renewed_document_begins_with_its_snapshot_and_shuts_the_old_generation_out(
        self, documents: DocumentStore, other: DocumentStore
    ) -> None:
        name = new_document()
        await documents.create(name)
        before = await documents.append(name, numbered(1, 2), generation=1)

        head = await documents.renew(name, b"anew", generation=1)

        assert head.generation == 2
        assert head.offset > before.offset
        with pytest.raises(StaleGeneration):
            await other.append(name, [b"late"], generation=1)
        after = await other.append(name, [b"next"], generation=2)
        assert after.offset == head.offset + 1
        assert await read_whole(documents, name) == (b"anew", [b"next"])

    # -- compaction ------------------------------------------------------------------------------

    async def test_compaction_puts_the_snapshot_in_the_place_of_what_it_holds(
        self, documents: DocumentStore
    ) -> None:
        name = new_document()
        await documents.create(name)
        head = await documents.append(name, numbered(1, 5), generation=1)

        done = await documents.compact(
            name, b"one to three", generation=1, epoch=head.epoch, base=0, through=3
        )

        after = await documents.head(name)
        assert done
        assert (after.base, after.offset) == (3, 5)
        assert await read_whole(documents, name) == (b"one to three", numbered(4, 5))

    async def test_offsets_go_on_after_compaction(self, documents: DocumentStore) -> None:
        name = new_document()
        await documents.create(name)
        head = await documents.append(name, numbered(1, 5), generation=1)
        await documents.compact(name, b"all", generation=1, epoch=head.epoch, base=0, through=5)

        head = await documents.append(name, numbered(6, 6), generation=1)

        assert head.offset == 6
        assert await read_whole(documents, name) == (b"all", numbered(6, 6))

    async def test_a_reader_behind_the_base_gets_the_snapshot(
        self, documents: DocumentStore
    ) -> None:
        name = new_document()
        await documents.create(name)
        head = await documents.append(name, numbered(1, 5), generation=1)
        await documents.compact(name, b"s", generation=1, epoch=head.epoch, base=0, through=4)

        behind = await documents.read(name, after=2)
        at_base = await documents.read(name, after=4)

        assert (behind.snapshot, list(behind.updates)) == (b"s", numbered(5, 5))
        assert (at_base.snapshot, list(at_base.updates)) == (None, numbered(5, 5))

    async def test_of_several_compactions_at_once_one_is_done(
        self, documents: DocumentStore, other: DocumentStore
    ) -> None:
        name = new_document()
        await documents.create(name)
        head = await documents.append(name, numbered(1, 4), generation=1)

        done = await asyncio.gather(
            *(
                store.compact(
                    name,
                    b"through %d" % through,
                    generation=1,
                    epoch=head.epoch,
                    base=0,
                    through=through,
                )
                for store, through in ((documents, 2), (other, 3), (documents, 4))
            )
        )

        snapshot, updates = await read_whole(other, name)
        kept = 2 + done.index(True)
        assert done.count(True) == 1
        assert (snapshot, updates) == (b"through %d" % kept, numbered(kept + 1, 4))

    async def test_a_compaction_beyond_the_head_is_refused(self, documents: DocumentStore) -> None:
        name = new_document()
        await documents.create(name)
        head = await documents.append(name, numbered(1, 2), generation=1)

        done = await documents.compact(
            name, b"s", generation=1, epoch=head.epoch, base=0, through=3
        )

        assert not done
        assert await read_whole(documents, name) == (None, numbered(1, 2))

    async def test_whoever_knows_another_life_of_the_store_compacts_nothing(
        self, documents: DocumentStore
    ) -> None:
        name = new_document()
        await documents.create(name)
        await documents.append(name, numbered(1, 2), generation=1)

        done = await documents.compact(
            name, b"s", generation=1, epoch="of another life", base=0, through=2
        )

        assert not done
        assert await read_whole(documents, name) == (None, numbered(1, 2))

    async def test_the_head_says_how_much_is_held(self, documents: DocumentStore) -> None:
        name = new_document()
        await documents.create(name)
        await documents.append(name, [b"12345", b"123"], generation=1)
        head = before = await documents.head(name)

        await documents.compact(name, b"1234567", generation=1, epoch=head.epoch, base=0, through=1)

        after = (await documents.read(name)).head
        assert (before.log_bytes, before.snapshot_bytes) == (8, 0)
        assert (after.log_bytes, after.snapshot_bytes) == (3, 7)

    # -- deletion --------------------------------------------------------------------------------

    async def test_a_deleted_document_is_gone_for_good(
        self, documents: DocumentStore, other: DocumentStore
    ) -> None:
        name = new_document()
        await documents.create(name)
        await documents.append(name, numbered(1, 2), generation=1)

        await documents.delete(name)
        await documents.delete(name)

        for work in (
            documents.read(name),
            other.head(name),
            documents.create(name),
            documents.append(name, [b"x"], generation=1),
        ):
            with pytest.raises(NotFound):
                await work

    async def test_an_id_can_be_shut_before_it_is_used(self, documents: DocumentStore) -> None:
        name = new_document()

        await documents.delete(name)

        with pytest.raises(NotFound):
            await documents.create(name)

    async def test_documents_do_not_touch_each_other(self, documents: DocumentStore) -> None:
        one, two = new_document(), new_document()
        for name in (one, two):
            await documents.create(name)
            await documents.append(name, [name.encode()], generation=1)

        await documents.delete(one)

        assert await read_whole(documents, two) == (None, [two.encode()])

    async def test_heads_and_logs_say_the_same(self, documents: DocumentStore) -> None:
        name = new_document()
        await documents.create(name)
        appended: DocumentHead = await documents.append(name, numbered(1, 3), generation=1)

        log: DocumentLog = await documents.read(name)

        assert (log.head.offset, log.head.epoch) == (appended.offset, appended.epoch)
        assert (await documents.head(name)).offset == appended.offset
