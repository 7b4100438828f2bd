"""Real servers, one of each kind for the whole run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NoReturn

import pytest
from hypothesis import settings

from parlour.testing.servers import (
    PostgresServer,
    RedisServer,
    ServerMissing,
    running_postgres,
    running_redis,
    running_redis_cluster,
)

# A busy machine is no defect: no example of a property has a time limit.
settings.register_profile("parlour", deadline=None)
settings.load_profile("parlour")


def missing(error: ServerMissing) -> NoReturn:
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
        missing(error)


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[list[RedisServer]]:
    try:
        with running_redis_cluster() as servers:
            yield servers
    except ServerMissing as error:
        missing(error)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    try:
        with running_postgres() as server:
            yield server
    except ServerMissing as error:
        missing(error)
