"""The database's picture of conversations, on a database of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest

from parlour.backends.sql import SqlStore, open_sql
from parlour.core.streams import Event, Page, Position
from parlour.core.thread import ThreadState
from parlour.ports import Archive, Entry, ThreadRecord
from parlour.server import projector as projector_module
from parlour.server.projector import Projector
from parlour.testing.clock import ManualClock
from parlour.testing.contracts.archive import entry


@pytest.fixture
async def store() -> AsyncIterator[SqlStore]:
    opened = await open_sql("sqlite://", clock=ManualClock())
    yield opened
    await opened.close()


async def ignore(stream: str, state: ThreadState) -> None:
    return None


async def write(store: SqlStore, stream: str) -> Position:
    """One more event."""
    here = (await store.archive.origin(writes_through=True).open(stream)).position
    await store.archive.write([entry(stream, here.epoch, here.offset + 1)])
    return Position(here.epoch, here.offset + 1)


@pytest.mark.parametrize("known", [True, False])
async def test_what_is_written_after_a_deletion_stops_nothing(store: SqlStore, known: bool) -> None:
    gone, other = "thread:gone-0001", "thread:other-001"
    projector = Projector(store.archive, 100, ignore)
    await store.threads.create_thread(ThreadRecord("gone-0001", "ann"))
    await write(store, gone)
    await projector.settle(gone)
    await store.threads.delete_thread("gone-0001")
    if not known:
        projector.forget(gone)
    await write(store, gone)
    head = await write(store, other)
    for stream in (gone, other):
        projector.behind(stream)

    await projector.flush()

    projected = await store.archive.projection(other, 100)
    assert await store.archive.projection(gone, 100) is None
    assert projected is not None
    assert projected.position == head


async def test_a_fold_that_another_node_has_overtaken_begins_anew(store: SqlStore) -> None:
    stream = "thread:busy-0001"
    here, elsewhere = (Projector(store.archive, 100, ignore) for _ in range(2))
    await write(store, stream)
    await here.settle(stream)
    for _ in range(3):
        head = await write(store, stream)
    await elsewhere.settle(stream)
    await store.archive.compact(stream, head.offset - 1)
    head = await write(store, stream)

    await here.settle(stream)

    projected = await store.archive.projection(stream, 100)
    assert projected is not None
    assert projected.position == head


class Reads:
    """An archive whose reads of events are counted."""

    def __init__(self, store: SqlStore) -> None:
        self._archive = store.archive
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._archive, name)

    async def read(self, stream: str, after: Position | None, limit: int) -> Page:
        self.count += 1
        return await self._archive.read(stream, after, limit)


async def say(store: SqlStore, stream: str, numbers: Sequence[int]) -> list[Event]:
    """Messages with these offsets."""
    here = (await store.archive.origin(writes_through=True).open(stream)).position
    said = [
        Event(stream, here.epoch, number, "message", {"id": f"m{number}", "role": "user"}, number)
        for number in numbers
    ]
    await store.archive.write([Entry(stream, here.epoch, said)])
    return said


async def projected(store: SqlStore, stream: str) -> list[str]:
    found = await store.archive.projection(stream, 100)
    assert found is not None
    return [message["id"] for message in found.messages]


async def test_what_was_just_archived_is_not_read_back(store: SqlStore) -> None:
    stream, reads = "thread:fresh-001", Reads(store)
    projector = Projector(cast(Archive, reads), 100, ignore)

    for numbers in ([1, 2], [3]):
        projector.behind(stream, await say(store, stream, numbers))
    await projector.flush()
    projector.behind(stream, await say(store, stream, [4]))
    await projector.flush()

    assert await projected(store, stream) == ["m1", "m2", "m3", "m4"]
    assert reads.count == 0


async def test_what_somebody_else_archived_in_between_is_read(store: SqlStore) -> None:
    stream, reads = "thread:gaps-0001", Reads(store)
    projector = Projector(cast(Archive, reads), 100, ignore)

    projector.behind(stream, await say(store, stream, [1]))
    await say(store, stream, [2])
    projector.behind(stream, await say(store, stream, [3]))
    await say(store, stream, [4])
    await projector.flush()

    assert await projected(store, stream) == ["m1", "m2", "m3", "m4"]
    assert reads.count == 1


async def test_of_more_than_is_kept_the_rest_is_read(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projector_module, "FRESH_EVENTS", 3)
    reads, streams = Reads(store), ["thread:much-0001", "thread:much-0002"]
    projector = Projector(cast(Archive, reads), 100, ignore)

    for stream in streams:
        projector.behind(stream, await say(store, stream, [1, 2]))
    await projector.flush()

    assert [await projected(store, stream) for stream in streams] == [["m1", "m2"]] * 2
    assert reads.count == 1
