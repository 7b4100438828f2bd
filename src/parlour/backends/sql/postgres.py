"""PostgreSQL over asyncpg: a bounded pool, and a time limit on everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from parlour.backends.sql.engine import Unit
from parlour.backends.sql.errors import DRIVER_ERRORS, translate
from parlour.errors import DataFolderBusy, ShuttingDown

T = TypeVar("T")

# A process that was killed is noticed at once, a machine that vanished within half a minute;
# whoever takes its place waits that long at most before it is told that the database is in use.
_SESSION = (
    "SET tcp_keepalives_idle = 10",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 3",
)
_LOCK_NOT_AVAILABLE = "55P03"


class PostgresDatabase:
    """A PostgreSQL database. `time_limit` (seconds) holds for a whole transaction, waiting for a
    connection included."""

    def __init__(self, url: URL, *, pool_size: int = 10, time_limit: float = 10.0) -> None:
        self.reads = 0
        self.writes = 0
        self._time_limit = time_limit
        self._closed = False
        self._url = url.set(drivername="postgresql+asyncpg")
        self._limits = {"timeout": time_limit, "command_timeout": time_limit}
        self._holding: AsyncConnection | None = None
        self._engine: AsyncEngine = create_async_engine(
            self._url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=time_limit,
            # A connection that died with a restarted server is replaced, not met.
            pool_pre_ping=True,
            connect_args=self._limits,
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

    async def hold_alone(self) -> None:
        """Own the database until `close`, or until this process dies: the lock is that of a
        session, which the server ends soon after its client is gone.

        Raises `DataFolderBusy` where another process owns it."""
        async with self._translated():
            engine = create_async_engine(self._url, poolclass=NullPool, connect_args=self._limits)
            connection = await engine.connect()
            try:
                await _lock_for_session(connection, min(3.0, self._time_limit / 2))
            except BaseException:
                await connection.close()
                raise
            self._holding = connection

    async def close(self) -> None:
        self._closed = True
        if self._holding is not None:
            holding, self._holding = self._holding, None
            await holding.close()
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


async def _lock_for_session(connection: AsyncConnection, limit_s: float) -> None:
    await connection.execution_options(isolation_level="AUTOCOMMIT")
    for setting in (*_SESSION, f"SET lock_timeout = {round(limit_s * 1000)}"):
        await connection.exec_driver_sql(setting)
    try:
        await connection.exec_driver_sql("SELECT pg_advisory_lock(7270928)")
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        raise DataFolderBusy(
            "another process uses this database without Redis: stop it, or let both use Redis"
        ) from error
