"""Real servers, one of each kind for the whole run."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from parlour.testing.clock import ManualClock
from parlour.testing.servers import (
    PostgresServer,
)


@pytest.fixture(scope="session")
def postgres_url(postgres_server: PostgresServer) -> str:
    """A database that all contract tests share; each uses names of its own."""
    # In a thread: this fixture may be asked for while a test's event loop runs.
    with ThreadPoolExecutor(1) as thread:
        made = thread.submit(asyncio.run, postgres_server.create_database("contracts"))
        return made.result()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
