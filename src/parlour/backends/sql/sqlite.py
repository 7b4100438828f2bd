"""SQLite: one writer that commits in groups, readers beside it.

Threads rather than an asynchronous driver: a whole group crosses the thread border once instead of
once per statement. The figures stand in docs/decisions/sqlite-threads.md.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import QueuePool, StaticPool

from parlour.backends.sql.engine import Unit
from parlour.backends.sql.errors import DRIVER_ERRORS, translate
from parlour.errors import ParlourError, ShuttingDown, Unavailable

T = TypeVar("T")

MAX_WAITING = 20_000
"""Writes that may wait for the writer; beyond it they are refused."""

GROUP_LIMIT = 512
"""Writes that are committed together at most, so that one commit stays short."""

_PRAGMAS = (
    "PRAGMA busy_timeout = 5000",
    "PRAGMA foreign_keys = ON",
    "PRAGMA synchronous = FULL",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -16000",
)


@dataclass(slots=True)
class _Waiting:
    unit: Unit[Any]
    answer: asyncio.Future[Any]


class SqliteDatabase:
    """A SQLite file, or a database in memory when `path` is None."""

    def __init__(self, path: str | None, *, readers: int = 3) -> None:
        self.reads = 0
        self.writes = 0
        self._waiting: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")
        if path is None:
            self._write_engine = self._read_engine = _engine(":memory:", "BEGIN", pool=1)
            self._reader = self._writer
        else:
            self._write_engine = _engine(path, "BEGIN IMMEDIATE", pool=1)
            self._read_engine = _engine(path, "BEGIN", pool=readers)
            self._reader = ThreadPoolExecutor(readers, thread_name_prefix="sqlite-reader")
        self._committer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Check that the file can be written, and start the committer."""
        await self._on(self._writer, lambda: _prepare(self._write_engine))
        self._committer = asyncio.create_task(self._commit_groups(), name="sqlite-committer")

    async def write(self, unit: Unit[T]) -> T:
        if self._closing:
            raise ShuttingDown("the store is closed")
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable("too many writes are waiting for the disk")
        self.writes += 1
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(unit, answer))
        self._wake.set()
        return await answer

    async def read(self, unit: Unit[T]) -> T:
        if self._closing:
            raise ShuttingDown("the store is closed")
        self.reads += 1
        return await self._on(self._reader, lambda: _run(self._read_engine, unit))

    async def migrate(self, unit: Unit[T]) -> T:
        return await self._on(self._writer, lambda: _run(self._write_engine, unit))

    async def close(self) -> None:
        self._closing = True
        self._wake.set()
        if self._committer is not None:
            await self._committer
            self._committer = None
        await asyncio.to_thread(self._dispose)

    def _dispose(self) -> None:
        self._reader.shutdown()
        self._writer.shutdown()
        self._read_engine.dispose()
        self._write_engine.dispose()

    async def _on(self, executor: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        """Run in a thread. The thread finishes its work even where the caller is cancelled."""
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, call)
        except DRIVER_ERRORS as error:
            raise translate(error) from error

    async def _commit_groups(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting or not self._closing:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
                continue
            taken, self._waiting = self._waiting[:GROUP_LIMIT], self._waiting[GROUP_LIMIT:]
            group = [one for one in taken if not one.answer.done()]
            units = [one.unit for one in group]
            outcomes = await loop.run_in_executor(
                self._writer, _commit_group, self._write_engine, units
            )
            for one, outcome in zip(group, outcomes, strict=True):
                _answer(one.answer, outcome)


@dataclass(slots=True)
class _Failed:
    error: Exception


def _answer(answer: asyncio.Future[Any], outcome: Any) -> None:
    if answer.done():  # the caller was cancelled meanwhile; what was committed stays
        return
    if isinstance(outcome, _Failed):
        answer.set_exception(outcome.error)
    else:
        answer.set_result(outcome)


def _commit_group(engine: Engine, units: list[Unit[Any]]) -> list[Any]:
    """Run units in one transaction. One that raises is undone alone; a failing commit fails them
    all."""
    if len(units) == 1:
        return [_commit_alone(engine, units[0])]
    try:
        with engine.begin() as connection:
            return [_attempt(connection, unit) for unit in units]
    except DRIVER_ERRORS as error:
        failure = translate(error)
        failure.__cause__ = error
        return [_Failed(failure) for _ in units]


def _commit_alone(engine: Engine, unit: Unit[Any]) -> Any:
    """One unit is the whole transaction, and needs no savepoint in it."""
    try:
        with engine.begin() as connection:
            return unit(connection)
    except ParlourError as error:
        return _Failed(error)
    except DRIVER_ERRORS as error:
        failure = translate(error)
        failure.__cause__ = error
        return _Failed(failure)
    except Exception as error:  # noqa: BLE001 - a defect in one unit must not end the committer
        return _Failed(error)


def _attempt(connection: Connection, unit: Unit[Any]) -> Any:
    """One unit in a savepoint. Errors of the disk leave, because they end the whole transaction."""
    try:
        with connection.begin_nested():
            return unit(connection)
    except IntegrityError as error:
        return _Failed(translate(error))
    except ParlourError as error:
        return _Failed(error)
    except DRIVER_ERRORS as error:
        translated = translate(error)
        if isinstance(translated, Unavailable):
            raise
        return _Failed(translated)
    except Exception as error:  # noqa: BLE001 - a defect in one unit must not end the committer
        return _Failed(error)


def _run(engine: Engine, unit: Unit[T]) -> T:
    with engine.begin() as connection:
        return unit(connection)


def _engine(path: str, begin: str, *, pool: int) -> Engine:
    engine = create_engine(
        "sqlite://",
        creator=lambda: _connect(path),
        poolclass=StaticPool if path == ":memory:" else QueuePool,
        **({} if path == ":memory:" else {"pool_size": pool, "max_overflow": 0}),
    )
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def _connect(path: str) -> sqlite3.Connection:
    # isolation_level None: the driver begins nothing by itself, so that BEGIN is ours (see
    # _engine).
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    # SQLite's own lower() knows ASCII only; searches must find "Ä" by "ä".
    connection.create_function("lower", 1, _lower, deterministic=True)
    return connection


def _lower(text: str | int | float | bytes | None) -> str | int | float | bytes | None:
    return text.lower() if isinstance(text, str) else text


def _prepare(engine: Engine) -> None:
    with engine.connect() as connection:
        raw = cast(sqlite3.Connection, connection.connection.dbapi_connection)
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("BEGIN IMMEDIATE")
        raw.execute("PRAGMA user_version = 1")
        raw.execute("COMMIT")
