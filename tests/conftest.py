"""Real servers, one of each kind for the whole run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

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
