"""The contract of documents in memory, on SQLite, on PostgreSQL, and in Redis in front of a database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from parlour.backends.memory import MemoryDocumentStore
from parlour.backends.sql import SqlStore, open_sql
from parlour.ports import DocumentStore
from parlour.testing.clock import ManualClock
from parlour.testing.contracts import DocumentStoreContract


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
