"""One document on one node: what is stored, what is refused, what is compacted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from pycrdt import Doc, Text

from parlour.backends.memory import MemoryDocumentStore
from parlour.documents import replica as replica_module
from parlour.documents.replica import Author, Replica, Told
from parlour.errors import Conflict, NotFound, ParlourError, StaleGeneration, TooLarge
from parlour.server.tasks import Tasks

NAME = "note:0123456789abcdef"
ANN = Author("ann", "sid-1")


class Open:
    """A replica, and what it told."""

    def __init__(self, store: MemoryDocumentStore, tasks: Tasks, limit: int = 1_000_000) -> None:
        self.told: list[Told] = []
        self.ended: list[ParlourError] = []
        self.replica = Replica(
            NAME,
            store,
            tasks,
            limit=limit,
            tell=self._tell,
            publish=lambda stored: None,
            ended=self.ended.append,
        )

    def _tell(self, changes: Sequence[Told]) -> None:
        self.told += changes

    @property
    def text(self) -> str:
        return str(self.replica.live.doc.get("text", type=Text))


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    async with Tasks() as opened:
        yield opened


@pytest.fixture
async def store() -> MemoryDocumentStore:
    made = MemoryDocumentStore()
    await made.create(NAME)
    return made


async def opened(store: MemoryDocumentStore, tasks: Tasks, **options: Any) -> Open:
    found = Open(store, tasks, **options)
    await found.replica.open()
    return found


def words(count: int) -> list[bytes]:
    """One update per word; each waits for the one before it."""
    doc: Doc[Any] = Doc(client_id=9)
    text = doc.get("text", type=Text)
    made: list[bytes] = []
    subscription = doc.observe(lambda event: made.append(event.update))
    for number in range(count):
        text.insert(len(text), f"{number} ")
    doc.unobserve(subscription)
    return made


def said(count: int) -> str:
    return "".join(f"{number} " for number in range(count))


async def test_what_is_acknowledged_is_in_the_store_and_was_told_with_its_author(
    store: MemoryDocumentStore, tasks: Tasks
) -> None:
    ann = await opened(store, tasks)

    offsets = await asyncio.gather(*(ann.replica.submit(one, ANN) for one in words(5)))

    log = await store.read(NAME)
    assert offsets == [1, 2, 3, 4, 5]
    assert list(log.updates) == words(5)
    assert [(told.offset, told.author) for told in ann.told] == [(n, ANN) for n in offsets]


async def test_the_same_again_is_acknowledged_and_stored_no_second_time(
    store: MemoryDocumentStore, tasks: Tasks
) -> None:
    ann = await opened(store, tasks)
    (update,) = words(1)
    offsets = await asyncio.gather(*(ann.replica.submit(update, ANN) for _ in range(3)))

    again = await ann.replica.submit(update, ANN)

    assert (await store.head(NAME)).offset == 1
    assert {*offsets, again} == {1}


async def test_too_many_updates_that_wait_are_refused_until_their_ground_comes(
    store: MemoryDocumentStore, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica_module, "PENDING_UPDATES", 10)
    ann = await opened(store, tasks)
    updates = words(20)
    for update in updates[1:11]:
        await ann.replica.submit(update, ANN)

    with pytest.raises(Conflict):
        await ann.replica.submit(updates[11], ANN)

    await ann.replica.submit(updates[0], ANN)
    await ann.replica.submit(updates[11], ANN)
    fresh = await opened(store, tasks)
    assert ann.text.startswith(said(11))
    assert ann.replica.live.pending == []
    assert fresh.text == ann.text


async def test_what_waits_is_not_compacted_away(
    store: MemoryDocumentStore, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parlour.core.documents.COMPACT_UPDATES", 10)
    ann = await opened(store, tasks)
    updates = words(40)
    await ann.replica.submit(updates[0], ANN)
    for update in updates[2:30]:
        await ann.replica.submit(update, ANN)
    base = (await store.head(NAME)).base

    await ann.replica.submit(updates[1], ANN)
    for update in updates[30:]:
        await ann.replica.submit(update, ANN)

    fresh = await opened(store, tasks)
    assert base == 0
    assert (await store.head(NAME)).base > 0
    assert ann.text == fresh.text == said(40)


async def test_what_waits_for_long_is_carried_to_the_end_of_a_short_log(
    store: MemoryDocumentStore, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who sends one update that never gets its ground must not keep the log growing."""
    monkeypatch.setattr("parlour.core.documents.COMPACT_UPDATES", 10)
    monkeypatch.setattr(replica_module, "COMPACT_UPDATES", 10)
    ann = await opened(store, tasks)
    orphan = words(2)[1]
    await ann.replica.submit(orphan, ANN)
    other: Doc[Any] = Doc(client_id=5)
    text = other.get("text", type=Text)
    made: list[bytes] = []
    subscription = other.observe(lambda event: made.append(event.update))
    for number in range(100):
        text.insert(len(text), f"{number},")
    other.unobserve(subscription)
    for update in made:
        await ann.replica.submit(update, ANN)

    head = await store.head(NAME)
    fresh = await opened(store, tasks)
    await fresh.replica.submit(words(1)[0], ANN)
    assert head.offset - head.base <= 50
    assert "99," in fresh.text
    assert said(2) in fresh.text
    assert fresh.replica.live.pending == []


async def test_deleting_is_possible_in_a_document_that_is_full(
    store: MemoryDocumentStore, tasks: Tasks
) -> None:
    ann = await opened(store, tasks, limit=5_000)
    author: Doc[Any] = Doc()
    text = author.get("text", type=Text)
    text.insert(0, "x" * 4_900)
    await ann.replica.submit(author.get_update(), ANN)
    state = author.get_state()
    text.insert(0, "y" * 500)
    with pytest.raises(TooLarge):
        await ann.replica.submit(author.get_update(state), ANN)
    shorter: Doc[Any] = Doc()
    shorter.apply_update(ann.replica.live.snapshot())
    del shorter.get("text", type=Text)[0:4_000]

    offset = await ann.replica.submit(shorter.get_update(), ANN)

    assert offset == 2
    assert ann.text == "x" * 900


async def test_a_document_that_is_deleted_ends_for_whoever_writes(
    store: MemoryDocumentStore, tasks: Tasks
) -> None:
    ann = await opened(store, tasks)
    await store.delete(NAME)

    with pytest.raises(NotFound):
        await ann.replica.submit(words(1)[0], ANN)

    assert [type(error) for error in ann.ended] == [NotFound]


async def test_a_document_that_begins_anew_takes_nothing_of_the_old_generation(
    store: MemoryDocumentStore, tasks: Tasks
) -> None:
    ann = await opened(store, tasks)
    await ann.replica.submit(words(1)[0], ANN)
    await store.renew(NAME, b"\x00\x00", generation=1)

    with pytest.raises(StaleGeneration):
        await ann.replica.submit(words(2)[1], ANN)

    fresh = await opened(store, tasks)
    assert fresh.text == ""
    assert fresh.replica.generation == 2
