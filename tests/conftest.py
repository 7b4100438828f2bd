"""Real servers, one of each kind for the whole run."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterator
from typing import NoReturn

import httpx
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


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """A server that speaks S3 over HTTP."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_bucket(s3_endpoint: str) -> str:
    """A fresh bucket there."""
    name = f"bucket-{uuid.uuid4().hex}"
    httpx.put(f"{s3_endpoint}/{name}").raise_for_status()
    return name
