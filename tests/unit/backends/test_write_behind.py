"""What the synchroniser asks of the stores for many streams, it asks at once, and owns until the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from parlour.backends.memory import MemoryLog
from parlour.backends.sql import SqlStore, open_sql
from parlour.backends.sql.leases import SqlLeases
from parlour.backends.window import WindowLimits
from parlour.errors import Unavailable
from parlour.ports import Lease
from parlour.server.synchroniser import STREAMS_AT_ONCE, Synchroniser
from parlour.telemetry import Metrics
from parlour.testing.clock import ManualClock
from parlour.testing.contracts.making import fresh, notes

REST_MS = 60_000


class Moody(SqlLeases):
    """Leases of which some cannot be asked for; counts how many are asked for at once."""

    def watch(self) -> None:
        self.failing: set[str] = set()
        self.asked = self.most = 0

    async def acquire(self, name: str, owner: str, ttl_ms: int) -> Lease | None:
        if name in self.failing:
            raise Unavailable("the database is away")
        self.asked += 1
        self.most = max(self.most, self.asked)
        try:
            return await super().acquire(name, owner, ttl_ms)
        finally:
            self.asked -= 1


class Behind:
    """A log in memory with a database behind it."""

    def __init__(self, store: SqlStore, clock: ManualClock) -> None:
        self.clock = clock
        self.archive = store.archive
        self.leases = Moody(store.database, clock)
        self.leases.watch()
        origin = store.archive.origin(writes_through=False)
        self.log = MemoryLog(clock, origin=origin, limits=WindowLimits(expiry_ms=REST_MS))

    def synchroniser(self, owner: str = "node") -> Synchroniser:
        return Synchroniser(
            self.log, self.archive, self.leases, owner, Metrics(),
            interval=60, pressure=10**9, synced=lambda stream, events: None,
        )  # fmt: skip

    async def streams(self, count: int) -> list[str]:
        """New ones with one event each."""
        made = [fresh() for _ in range(count)]
        for stream in made:
            await self.log.append(stream, notes("one"))
        return made

    async def heads(self, streams: list[str]) -> list[int]:
        """How much of each the archive holds."""
        found = [await self.archive.head(stream) for stream in streams]
        return [0 if head is None else head.offset for head in found]


@pytest.fixture
async def behind(tmp_path: Path) -> AsyncIterator[Behind]:
    clock = ManualClock()
    store = await open_sql(f"sqlite:///{tmp_path}/parlour.db", tmp_path, clock=clock)
    made = Behind(store, clock)
    yield made
    await made.log.close()
    await store.close()


async def test_many_streams_are_asked_for_at_once(behind: Behind) -> None:
    streams = await behind.streams(STREAMS_AT_ONCE)

    await behind.synchroniser().flush()

    assert behind.leases.most == STREAMS_AT_ONCE
    assert await behind.heads(streams) == [1] * STREAMS_AT_ONCE


async def test_where_one_lease_cannot_be_asked_for_the_others_are_given_back(
    behind: Behind,
) -> None:
    fine, failing = streams = await behind.streams(2)
    behind.leases.failing = {f"sync:{failing}"}

    with pytest.raises(Unavailable):
        await behind.synchroniser().flush()

    assert await behind.leases.holder(f"sync:{fine}") is None
    behind.leases.failing = set()
    await behind.synchroniser("other").flush()
    assert await behind.heads(streams) == [1, 1]


async def test_streams_that_rest_leave_the_window_and_keep_their_epochs(behind: Behind) -> None:
    streams = await behind.streams(3)
    await behind.synchroniser().flush()
    before = [await behind.log.head(stream) for stream in streams]
    behind.clock.advance(REST_MS + 1)

    dropped = await behind.synchroniser().let_go()

    assert dropped == 3
    assert [await behind.log.head(stream) for stream in streams] == before
