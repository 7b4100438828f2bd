"""Writing behind in groups of bounded size, over a real log, archive and leases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from parlour.backends.memory import MemoryLog
from parlour.backends.sql import SqlStore, open_sql
from parlour.backends.sql.archive import SqlArchive
from parlour.backends.window import WindowLimits
from parlour.core.streams import Event, Position
from parlour.errors import LeaseLost
from parlour.ports import Entry
from parlour.server.synchroniser import EVENTS_AT_ONCE, EVENTS_OF_STREAM, Synchroniser
from parlour.telemetry import Metrics
from parlour.testing.clock import ManualClock
from parlour.testing.contracts.making import fresh, notes

LIMITS = WindowLimits(
    messages=1000, events=20_000, unsynced_events=100_000, unsynced_bytes=10**9, expiry_ms=10**9
)


class Watched(SqlArchive):
    """The archive, and what was written to it: each transaction's streams with their events."""

    def watch(self) -> list[dict[str, int]]:
        self.written: list[dict[str, int]] = []
        return self.written

    async def write(self, entries: Sequence[Entry]) -> None:
        counts: dict[str, int] = {}
        for entry in entries:
            counts[entry.stream] = counts.get(entry.stream, 0) + len(entry.events)
        await super().write(entries)
        self.written.append(counts)


class Setting:
    def __init__(self, store: SqlStore, clock: ManualClock) -> None:
        self.store = store
        self.archive = Watched(store.database, clock)
        self.written = self.archive.watch()
        self.log = MemoryLog(clock, origin=self.archive.origin(writes_through=False), limits=LIMITS)
        self.synced: list[str] = []
        self.synchroniser = self.of("node")

    def of(self, owner: str, *, alone: bool = False) -> Synchroniser:
        leases = None if alone else self.store.leases
        return Synchroniser(
            self.log, self.archive, leases, owner, Metrics(),
            interval=60, pressure=10**9, synced=lambda stream, _: self.synced.append(stream),
        )  # fmt: skip

    async def append(self, stream: str, count: int, *, fence: int | None = None) -> None:
        for number in range(count):
            await self.log.append(stream, notes(str(number)), fence=fence)

    async def archived(self, stream: str) -> list[str]:
        position: Position | None = None
        found: list[str] = []
        while page := (await self.archive.read(stream, position, 1000)).events:
            found += [event.data["text"] for event in page]
            position = page[-1].position
        return found


@pytest.fixture
async def setting(tmp_path: Path) -> AsyncIterator[Setting]:
    clock = ManualClock()
    store = await open_sql(f"sqlite:///{tmp_path}/parlour.db", tmp_path, clock=clock)
    setting = Setting(store, clock)
    yield setting
    await setting.log.close()
    await store.close()


def texts(count: int) -> list[str]:
    return [str(number) for number in range(count)]


async def test_a_long_stream_is_written_in_transactions_of_bounded_size(setting: Setting) -> None:
    stream, count = fresh(), 3 * EVENTS_OF_STREAM + 7
    await setting.append(stream, count)

    await setting.synchroniser.flush()

    assert max(sum(one.values()) for one in setting.written) <= EVENTS_AT_ONCE
    assert await setting.archived(stream) == texts(count)
    assert list(await setting.log.dirty(10)) == []


async def test_many_streams_share_transactions_of_bounded_size(setting: Setting) -> None:
    streams = [fresh() for _ in range(70)]
    for stream in streams:
        await setting.append(stream, 30)

    await setting.synchroniser.flush()

    assert max(sum(one.values()) for one in setting.written) <= EVENTS_AT_ONCE
    assert len(setting.written) < len(streams) / 5
    for stream in streams:
        assert await setting.archived(stream) == texts(30)
    assert set(setting.synced) == set(streams)


async def test_a_process_that_is_alone_asks_for_no_leases(setting: Setting) -> None:
    written = []
    for alone in (True, False):
        for _ in range(5):
            await setting.append(fresh(), 2)
        _, before = setting.store.counts()
        await setting.of("node", alone=alone).flush()
        _, after = setting.store.counts()
        written.append(after - before)

    assert written[0] == 1
    assert written[1] > 1
    assert list(await setting.log.dirty(10)) == []


async def test_a_long_stream_does_not_keep_others_waiting(setting: Setting) -> None:
    long, short = fresh(), fresh()
    await setting.append(long, 2 * EVENTS_OF_STREAM)
    await setting.append(short, 1)

    moved = await setting.synchroniser.sync([long, short])

    assert moved == {long, short}
    assert await setting.archived(short) == ["0"]
    assert len(await setting.archived(long)) == EVENTS_OF_STREAM


async def test_an_append_is_never_cut(setting: Setting) -> None:
    stream, large = fresh(), 2 * EVENTS_AT_ONCE
    await setting.append(stream, EVENTS_AT_ONCE - 1)
    await setting.log.append(stream, notes(*texts(large)))

    await setting.synchroniser.flush()

    assert [one[stream] for one in setting.written] == [EVENTS_AT_ONCE - 1 + large]
    assert await setting.archived(stream) == texts(EVENTS_AT_ONCE - 1) + texts(large)


async def test_a_stream_that_the_archive_refuses_holds_up_nobody(setting: Setting) -> None:
    refused, fine = fresh(), fresh()
    await setting.append(refused, 1)
    await setting.synchroniser.flush()
    # A newer owner wrote to the archive past this log.
    head = await setting.archive.head(refused)
    assert head is not None
    await setting.archive.write([_entry(refused, head.epoch, head.offset + 1, fence=9)])
    await setting.append(refused, EVENTS_AT_ONCE + 5, fence=3)
    await setting.append(fine, EVENTS_AT_ONCE + 5)

    await setting.synchroniser.flush()

    assert await setting.archived(fine) == texts(EVENTS_AT_ONCE + 5)
    assert list(await setting.log.dirty(10)) == [refused]
    with pytest.raises(LeaseLost):
        await setting.archive.write(await setting.log.unsynced(refused, 10))


async def test_what_another_node_holds_is_left_to_it(setting: Setting) -> None:
    mine, theirs = fresh(), fresh()
    await setting.append(mine, 1)
    await setting.append(theirs, 1)
    lease = await setting.store.leases.acquire(f"sync:{theirs}", "other", 60_000)
    assert lease is not None

    await setting.synchroniser.flush()

    assert await setting.archived(mine) == ["0"]
    assert await setting.archived(theirs) == []


def _entry(stream: str, epoch: str, offset: int, *, fence: int) -> Entry:
    event = Event(stream, epoch, offset, "note", {"text": "other"}, 1)
    return Entry(stream, epoch, [event], fence, None)
