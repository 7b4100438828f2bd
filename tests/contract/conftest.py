"""Real servers, one of each kind for the whole run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from parlour.testing.clock import ManualClock
from parlour.testing.servers import (
    PostgresServer,
    RedisServer,
    ServerMissing,
    running_postgres,
    running_redis,
)


def _missing(error: ServerMissing) -> None:
    """Without the program its tests do not run; where that must not be (CI), they fail."""
    if os.environ.get("CI"):
        pytest.fail(str(error))
    pytest.skip(str(error))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    try:
        with running_redis() as server:
            yield server
    except ServerMissing as error:
        _missing(error)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    try:
        with running_postgres() as server:
            yield server
    except ServerMissing as error:
        _missing(error)


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
