"""The contract of the store of agent sessions, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from parlour.backends.sql import open_sql
from parlour.ports import AgentStore
from parlour.testing.clock import ManualClock
from parlour.testing.contracts.agents import AgentStoreContract


class TestSqlAgents(AgentStoreContract):
    @pytest.fixture(params=["sqlite", "postgresql"])
    async def agents(
        self, request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
    ) -> AsyncIterator[AgentStore]:
        url = "sqlite://"
        if request.param == "postgresql":
            url = request.getfixturevalue("postgres_url")
        store = await open_sql(url, tmp_path, clock=clock)
        yield store.agents
        await store.close()
