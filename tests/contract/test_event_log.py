"""The event log's contract on every combination of window and archive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from parlour.backends.memory import MemoryLog
from parlour.backends.sql import open_sql
from parlour.testing.clock import ManualClock
from parlour.testing.contracts.event_log import EventLogContract


class TestMemoryLog(EventLogContract):
    """Nothing outlives the process."""

    @pytest.fixture
    async def log(self, clock: ManualClock) -> AsyncIterator[MemoryLog]:
        log = MemoryLog(clock)
        yield log
        await log.close()


class TestMemoryLogOverSqlite(EventLogContract):
    """Written behind."""

    @pytest.fixture
    async def log(self, clock: ManualClock, tmp_path: Path) -> AsyncIterator[MemoryLog]:
        store = await open_sql(f"sqlite:///{tmp_path}/parlour.db", tmp_path, clock=clock)
        log = MemoryLog(clock, origin=store.archive.origin(writes_through=False))
        yield log
        await log.close()
        await store.close()


class TestMemoryLogWithSqliteJournal(EventLogContract):
    """Written through: the embedded default."""

    @pytest.fixture
    async def log(self, clock: ManualClock, tmp_path: Path) -> AsyncIterator[MemoryLog]:
        store = await open_sql(f"sqlite:///{tmp_path}/parlour.db", tmp_path, clock=clock)
        log = MemoryLog(clock, journal=store.archive)
        yield log
        await log.close()
        await store.close()


class TestMemoryLogWithPostgresJournal(EventLogContract):
    @pytest.fixture
    async def log(self, clock: ManualClock, postgres_url: str) -> AsyncIterator[MemoryLog]:
        store = await open_sql(postgres_url, clock=clock)
        log = MemoryLog(clock, journal=store.archive)
        yield log
        await log.close()
        await store.close()
