"""PostgreSQL over asyncpg: a bounded pool, and a time limit on everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from parlour.backends.sql.engine import Unit
from parlour.backends.sql.errors import DRIVER_ERRORS, translate
from parlour.errors import ShuttingDown

T = TypeVar("T")


class PostgresDatabase:
    """A PostgreSQL database. `time_limit` (seconds) holds for a whole transaction, waiting for a
    connection included."""

    def __init__(self, url: URL, *, pool_size: int = 10, time_limit: float = 10.0) -> None:
        self.reads = 0
        self.writes = 0
        self._time_limit = time_limit
        self._closed = False
        self._engine: AsyncEngine = create_async_engine(
            url.set(drivername="postgresql+asyncpg"),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=time_limit,
            # A connection that died with a restarted server is replaced, not met.
            pool_pre_ping=True,
            connect_args={"timeout": time_limit, "command_timeout": time_limit},
        )
        self._views = self._engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )

    async def write(self, unit: Unit[T]) -> T:
        self.writes += 1
        async with self._limited(), self._engine.begin() as connection:
            return await connection.run_sync(unit)

    async def read(self, unit: Unit[T]) -> T:
        self.reads += 1
        async with self._limited(), self._views.begin() as connection:
            return await connection.run_sync(unit)

    async def migrate(self, unit: Unit[T]) -> T:
        # Two nodes that start together must not migrate together; the number only has to be the
        # same.
        async with self._translated(), self._engine.begin() as connection:
            await _lock_alone(connection)
            return await connection.run_sync(unit)

    async def close(self) -> None:
        self._closed = True
        await self._engine.dispose()

    @asynccontextmanager
    async def _limited(self) -> AsyncIterator[None]:
        async with self._translated(), asyncio.timeout(self._time_limit):
            yield

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        if self._closed:
            raise ShuttingDown("the store is closed")
        try:
            yield
        except DRIVER_ERRORS as error:
            raise translate(error) from error


async def _lock_alone(connection: AsyncConnection) -> None:
    await connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7270927)")
