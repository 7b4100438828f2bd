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
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool, StaticPool

from parlour.backends.sql.checkpoints import Checkpoints, WalLimits
from parlour.backends.sql.engine import Unit
from parlour.backends.sql.errors import DRIVER_ERRORS, translate
from parlour.backends.sql.statements import driver
from parlour.backends.sql.writer import Failed, Writer
from parlour.errors import ShuttingDown, Unavailable

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
    "PRAGMA wal_autocheckpoint = 0",  # see `checkpoints`
)


@dataclass(slots=True)
class _Waiting:
    unit: Unit[Any]
    answer: asyncio.Future[Any]


class SqliteDatabase:
    """A SQLite file, or a database in memory when `path` is None. `wal` bounds the file's WAL."""

    def __init__(self, path: str | None, *, readers: int = 3, wal: WalLimits | None = None) -> None:
        self.reads = 0
        self.writes = 0
        self._waiting: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")
        self._reading: list[sqlite3.Connection] = []
        self._checkpoints: Checkpoints | None = None
        wal = wal or WalLimits()
        if path is None:
            self._write_engine = self._read_engine = _engine(lambda: _connect(":memory:"))
            self._reader = self._writing
        else:
            self._write_engine = _engine(lambda: _connect_writer(path, wal), 1)
            self._read_engine = _engine(lambda: self._connect_reader(path), readers)
            self._reader = ThreadPoolExecutor(readers, thread_name_prefix="sqlite-reader")
            self._checkpoints = Checkpoints(
                path, lambda: _connect(path), lambda: list(self._reading), wal
            )
        self._writer = Writer(self._write_engine, self._checkpoints)
        self._committer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Check that the file can be written, and start the committer."""
        await self._on(self._writing, lambda: _prepare(self._write_engine))
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
        return await self._on(self._writing, lambda: self._writer.run(unit))

    async def close(self) -> None:
        self._closing = True
        self._wake.set()
        if self._committer is not None:
            await self._committer
            self._committer = None
        await asyncio.to_thread(self._dispose)

    def _dispose(self) -> None:
        self._reader.shutdown()
        self._writing.shutdown()
        self._writer.close()
        self._read_engine.dispose()
        self._write_engine.dispose()
        if self._checkpoints is not None:
            self._checkpoints.close()

    def _connect_reader(self, path: str) -> sqlite3.Connection:
        connection = _connect(path)
        self._reading.append(connection)
        return connection

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
            outcomes = await loop.run_in_executor(self._writing, self._writer.commit, units)
            for one, outcome in zip(group, outcomes, strict=True):
                _answer(one.answer, outcome)


def _answer(answer: asyncio.Future[Any], outcome: Any) -> None:
    if answer.done():  # the caller was cancelled meanwhile; what was committed stays
        return
    if isinstance(outcome, Failed):
        answer.set_exception(outcome.error)
    else:
        answer.set_result(outcome)


def _run(engine: Engine, unit: Unit[T]) -> T:
    with engine.begin() as connection:
        return unit(connection)


def _engine(connect: Callable[[], sqlite3.Connection], pool: int | None = None) -> Engine:
    """With at most `pool` connections, or with one that everybody has."""
    limits: dict[str, Any] = {} if pool is None else {"pool_size": pool, "max_overflow": 0}
    engine = create_engine(
        "sqlite://", creator=connect, poolclass=StaticPool if pool is None else QueuePool, **limits
    )
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    raw = driver(connection)
    if not raw.in_transaction:  # the writer has begun already
        raw.execute("BEGIN")


def _connect(path: str) -> sqlite3.Connection:
    # isolation_level None: the driver begins nothing by itself, so that BEGIN is ours (see
    # _engine).
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    # SQLite's own lower() knows ASCII only; searches must find "Ä" by "ä".
    connection.create_function("lower", 1, _lower, deterministic=True)
    return connection


def _connect_writer(path: str, wal: WalLimits) -> sqlite3.Connection:
    connection = _connect(path)
    connection.execute(f"PRAGMA journal_size_limit = {wal.kept}")
    return connection


def _lower(text: str | int | float | bytes | None) -> str | int | float | bytes | None:
    return text.lower() if isinstance(text, str) else text


def _prepare(engine: Engine) -> None:
    with engine.connect() as connection:
        raw = driver(connection)
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("BEGIN IMMEDIATE")
        raw.execute("PRAGMA user_version = 1")
        raw.execute("COMMIT")
