"""The database's picture of conversations, on a database of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from parlour.backends.sql import SqlStore, open_sql
from parlour.core.streams import Position
from parlour.core.thread import ThreadState
from parlour.ports import ThreadRecord
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
