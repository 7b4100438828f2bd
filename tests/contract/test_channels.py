"""The contract of channels on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from parlour.backends.sql import SqlStore, open_sql
from parlour.ports import Announcements, ChannelStore, UserStore
from parlour.testing.clock import ManualClock
from parlour.testing.contracts import ChannelStoreContract


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


class TestSqlChannels(ChannelStoreContract):
    @pytest.fixture
    async def channels(self, store: SqlStore) -> ChannelStore:
        return store.channels

    @pytest.fixture
    async def announcements(self, store: SqlStore) -> Announcements:
        return store.announcements

    @pytest.fixture
    async def users(self, store: SqlStore) -> UserStore:
        return store.users
