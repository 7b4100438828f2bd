"""Real servers, one of each kind for the whole run."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import NoReturn

import pytest
import structlog
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


@pytest.fixture(autouse=True)
def quiet_logs() -> Iterator[None]:
    """What a test sets up for logs is over with it: a level of one hid the lines of the next."""
    root = logging.getLogger()
    level = root.level
    yield
    structlog.reset_defaults()
    root.setLevel(level)
    for handler in root.handlers[:]:
        if type(handler).__module__ == "parlour.telemetry":
            root.removeHandler(handler)


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
