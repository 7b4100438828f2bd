"""The WAL of a SQLite file stays short beside a writer that never rests, and nothing gets lost on its way
into the database."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from parlour.backends.sql.checkpoints import WalLimits
from parlour.backends.sql.engine import Unit
from parlour.backends.sql.sqlite import SqliteDatabase
from parlour.backends.sql.wal import Wal
from parlour.errors import Unavailable

FRAME = 4096 + 24
LIMITS = WalLimits(pages=40, most=160, kept=80 * FRAME, patience=5, most_patience=30)
BOUND = (LIMITS.most + LIMITS.pages) * FRAME
"""What a transaction and a checkpoint that runs may add is less than a checkpoint's length."""

ENDLESS = """WITH RECURSIVE counting(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counting)
    SELECT max(n) FROM counting"""


def size_of_wal(path: Path) -> int:
    return os.stat(f"{path}-wal").st_size


def add(number: int) -> Unit[None]:
    def unit(connection: Connection) -> None:
        connection.execute(
            text("INSERT INTO things VALUES (:number, :filler)"),
            {"number": number, "filler": "x" * 3000},
        )

    return unit


def count(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM things")).scalar_one())


async def opened(path: Path, wal: WalLimits = LIMITS) -> SqliteDatabase:
    database = SqliteDatabase(str(path), wal=wal)
    await database.open()
    await database.migrate(
        lambda c: c.execute(
            text("CREATE TABLE IF NOT EXISTS things (number INTEGER PRIMARY KEY, filler TEXT)")
        )
    )
    return database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "parlour.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[SqliteDatabase]:
    made = await opened(path)
    yield made
    await made.close()


async def write_many(database: SqliteDatabase, path: Path, numbers: range) -> int:
    """One transaction for each; gives the longest that the WAL became."""
    longest = 0
    for number in numbers:
        await database.write(add(number))
        longest = max(longest, size_of_wal(path))
    return longest


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program that reads from the file as it is now."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM things").fetchone()
    try:
        yield connection
    finally:
        connection.close()


LOCK = """
import fcntl, os, sys
file = os.open(sys.argv[1] + "-shm", os.O_RDWR)
fcntl.lockf(file, fcntl.LOCK_EX, 1, 121)
print("ready", flush=True)
sys.stdin.read()
"""
"""Holds the lock that a checkpoint needs (WAL_CKPT_LOCK), and no other."""

LOOK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM things").fetchone()
print("ready", flush=True)
sys.stdin.read()
"""
"""Has the file open, and reads nothing at the moment."""


@contextmanager
def another_process(code: str, path: Path) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    try:
        yield
    finally:
        process.communicate()


# -- how long it becomes ---------------------------------------------------------------------------


async def test_the_wal_stays_short_while_somebody_writes_all_the_time(
    database: SqliteDatabase, path: Path
) -> None:
    longest = await write_many(database, path, range(500))

    assert longest <= BOUND
    assert await database.read(count) == 500


async def test_the_wal_begins_anew_long_before_the_writer_has_to_wait_for_that(path: Path) -> None:
    database = await opened(path, WalLimits(pages=40, most=10**9))
    wal = Wal(str(path))
    await database.write(add(0))
    first, number = wal.generation(), 0

    async with asyncio.timeout(30):
        while wal.generation() == first:
            number += 1
            await database.write(add(number))

    assert number > LIMITS.pages / 10
    assert await database.read(count) == number + 1
    wal.close()
    await database.close()


async def test_the_wal_stays_short_while_somebody_reads_all_the_time(
    database: SqliteDatabase, path: Path
) -> None:
    async def read_for_ever() -> None:
        while True:
            await database.read(count)

    readers = [asyncio.create_task(read_for_ever()) for _ in range(3)]
    longest = await write_many(database, path, range(500))
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)

    assert longest <= BOUND
    assert await database.read(count) == 500


async def test_a_question_without_end_is_ended_before_the_wal_has_no_end_either(
    database: SqliteDatabase, path: Path
) -> None:
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask(connection: Connection) -> None:
        count(connection)
        loop.call_soon_threadsafe(asked.set)
        connection.execute(text(ENDLESS)).scalar_one()

    asking = asyncio.create_task(database.read(ask))
    await asked.wait()

    longest = await write_many(database, path, range(500))

    with pytest.raises(Unavailable):
        await asking
    assert longest <= BOUND
    assert await database.read(count) == 500


async def test_another_program_that_reads_holds_up_no_write_and_afterwards_the_file_is_short_again(
    database: SqliteDatabase, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with reading(path), caplog.at_level(logging.ERROR):
        meanwhile = await write_many(database, path, range(300))
    await write_many(database, path, range(300, 600))

    assert meanwhile > BOUND
    assert "cannot begin anew" in caplog.text
    assert size_of_wal(path) <= BOUND
    assert await database.read(count) == 600


async def test_a_transaction_that_is_larger_than_the_bound_is_followed_by_a_short_wal(
    database: SqliteDatabase, path: Path
) -> None:
    def much(connection: Connection) -> None:
        for number in range(500):
            add(number)(connection)

    await database.write(much)
    large = size_of_wal(path)
    await write_many(database, path, range(500, 502))

    assert large > BOUND
    assert size_of_wal(path) <= BOUND


# -- what fails ------------------------------------------------------------------------------------


async def test_a_checkpoint_that_fails_fails_no_write_and_is_made_later(
    database: SqliteDatabase, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with another_process(LOCK, path), caplog.at_level(logging.WARNING):
        meanwhile = await write_many(database, path, range(300))
    await write_many(database, path, range(300, 600))

    assert meanwhile > BOUND
    assert "tried again later" in caplog.text
    assert size_of_wal(path) <= BOUND
    assert await database.read(count) == 600


async def test_closing_during_a_checkpoint_of_somebody_else_loses_nothing(path: Path) -> None:
    database = await opened(path)
    await write_many(database, path, range(100))

    with another_process(LOCK, path):
        await database.close()

    again = await opened(path)
    assert await again.read(count) == 100
    await again.close()


# -- what stays ------------------------------------------------------------------------------------


async def test_everything_is_there_after_reopening(path: Path) -> None:
    database = await opened(path)
    await write_many(database, path, range(500))
    await database.close()

    again = await opened(path)

    assert await again.read(count) == 500
    await again.close()


async def test_closing_leaves_no_wal(path: Path) -> None:
    database = await opened(path)
    await write_many(database, path, range(100))

    await database.close()
    await database.close()

    assert [one.name for one in path.parent.iterdir()] == [path.name]
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM things").fetchone() == (100,)


async def test_closing_beside_another_program_leaves_an_empty_wal(path: Path) -> None:
    database = await opened(path)
    await write_many(database, path, range(100))

    with another_process(LOOK, path):
        await database.close()

        assert size_of_wal(path) == 0


WRITE = """
import asyncio, sys
from pathlib import Path
from tests.unit.backends.test_checkpoints import add, opened

async def main():
    database = await opened(Path(sys.argv[1]))
    for number in range(1_000_000):
        await database.write(add(number))
        print(number, flush=True)

asyncio.run(main())
"""


async def test_what_was_acknowledged_outlives_a_process_that_is_killed_among_checkpoints(
    path: Path,
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITE, str(path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    acknowledged = -1
    while acknowledged < 700:
        acknowledged = int(await process.stdout.readline())
    process.kill()
    await process.communicate()

    again = await opened(path)
    held = await again.read(lambda c: set(c.execute(text("SELECT number FROM things")).scalars()))
    whole = await again.read(lambda c: c.execute(text("PRAGMA integrity_check")).scalar_one())
    await again.close()

    assert held >= set(range(acknowledged + 1))
    assert whole == "ok"


# -- the parts -------------------------------------------------------------------------------------


def test_the_length_of_a_wal_is_that_of_what_was_written_since_it_began_anew(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("CREATE TABLE things (filler TEXT)")
    wal = Wal(str(path))
    for _ in range(30):
        connection.execute("INSERT INTO things VALUES (?)", ("x" * 3000,))
    before, first = wal.holds(30), wal.generation()
    frames = connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[1]
    connection.execute("INSERT INTO things VALUES ('y')")

    after, second = wal.holds(30), wal.generation()

    assert (before, after) == (True, False)
    assert wal.holds(1)
    assert first != second
    assert frames >= 30
    wal.close()
    connection.close()


def test_a_wal_that_is_not_there_holds_nothing(path: Path) -> None:
    wal = Wal(str(path))

    assert not wal.holds(1)
    assert wal.generation() == b""
