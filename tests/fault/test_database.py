"""What happens while the database is in trouble: full disk, read-only folder, a server that is
gone."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from parlour.backends.memory import MemoryLog
from parlour.backends.sql import SqlStore, open_sql
from parlour.core.streams import Dedupe, Position
from parlour.errors import (
    Conflict,
    DataFolderBusy,
    ExpectationFailed,
    InvalidPayload,
    ParlourError,
    SettingsError,
    ShuttingDown,
    Unavailable,
)
from parlour.ports import FileRecord, UserRecord
from parlour.testing.clock import ManualClock
from parlour.testing.contracts.archive import entry
from parlour.testing.contracts.event_log import Ear
from parlour.testing.contracts.files import chunks
from parlour.testing.contracts.making import fresh, note, notes, read_all, texts
from parlour.testing.proxy import running_proxy
from parlour.testing.servers import PostgresServer, ServerMissing, running_postgres
from tests.conftest import missing

TIME_LIMIT_S = 1.0


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    opened = await open_file(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
async def log(store: SqlStore) -> AsyncIterator[MemoryLog]:
    opened = MemoryLog(ManualClock(), journal=store.archive)
    yield opened
    await opened.close()


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    try:
        with running_postgres() as server:
            yield server
    except ServerMissing as error:
        missing(error)


@pytest.fixture
async def far(postgres: PostgresServer) -> AsyncIterator[SqlStore]:
    """A store on PostgreSQL."""
    url = await postgres.create_database("fault")
    opened = await open_sql(url, clock=ManualClock(), time_limit=TIME_LIMIT_S)
    yield opened
    await opened.close()


async def open_file(folder: Path) -> SqlStore:
    return await open_sql(f"sqlite:///{folder}/parlour.db", folder, clock=ManualClock())


async def fill_disk(store: SqlStore) -> None:
    """Forbid the file to grow: SQLite then answers exactly as on a full disk."""

    def unit(connection: Connection) -> None:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))

    await store.database.write(unit)


async def free_disk(store: SqlStore) -> None:
    await store.database.write(
        lambda connection: connection.execute(text("PRAGMA max_page_count = 1000000"))
    )


# -- the embedded store ----------------------------------------------------------------------------


async def test_a_full_disk_refuses_appends_and_shows_nothing(
    store: SqlStore, log: MemoryLog
) -> None:
    stream, ear = fresh(), Ear()
    attachment = await log.attach(stream, ear)
    before = await log.append(stream, notes("before"))
    await fill_disk(store)

    with pytest.raises(Unavailable, match="disk is full"):
        await log.append(stream, notes("x" * 200_000))

    assert ear.texts == ["before"]
    assert await log.head(stream) == before.position
    await free_disk(store)
    after = await log.append(stream, notes("after"))
    assert after.first == 2
    assert texts(await read_all(store.archive, stream)) == ["before", "after"]
    await attachment.detach()


async def test_every_append_of_a_failing_group_fails(store: SqlStore, log: MemoryLog) -> None:
    streams = [fresh() for _ in range(5)]
    for stream in streams:
        await log.append(stream, notes("before"))
    await fill_disk(store)

    results = await asyncio.gather(
        *(log.append(stream, notes("x" * 200_000)) for stream in streams), return_exceptions=True
    )

    assert all(isinstance(result, Unavailable) for result in results)
    await free_disk(store)
    for stream in streams:
        assert texts(await read_all(log, stream)) == ["before"]


async def test_a_refused_key_can_be_used_once_there_is_space(
    store: SqlStore, log: MemoryLog
) -> None:
    stream, big = fresh(), notes("x" * 200_000)
    await log.append(stream, notes("before"))
    await fill_disk(store)
    with pytest.raises(Unavailable):
        await log.append(stream, big, dedupe=Dedupe("k"))
    await free_disk(store)

    done = await log.append(stream, big, dedupe=Dedupe("k"))
    again = await log.append(stream, big, dedupe=Dedupe("k"))

    assert not done.duplicate
    assert again.duplicate


async def test_one_refused_append_does_not_hurt_its_group(log: MemoryLog) -> None:
    stream = fresh()
    await log.append(stream, notes("a"))

    results = await asyncio.gather(
        log.append(stream, notes("b")),
        log.append(stream, notes("never"), expected=77),
        log.append(stream, notes("c")),
        return_exceptions=True,
    )

    assert [isinstance(result, ExpectationFailed) for result in results] == [False, True, False]
    assert texts(await read_all(log, stream)) == ["a", "b", "c"]


async def test_one_entry_that_the_archive_refuses_does_not_hurt_its_group(
    store: SqlStore, log: MemoryLog
) -> None:
    # Somebody else wrote to one stream's archive: its appends fail, the others' do not.
    bad, good = fresh(), fresh()
    first = await log.append(bad, notes("a"))
    await log.append(good, notes("a"))
    await store.archive.write([entry(bad, first.epoch, 2, fence=50)])

    results = await asyncio.gather(
        log.append(bad, notes("b", "c"), fence=1),
        log.append(good, notes("b")),
        return_exceptions=True,
    )

    assert isinstance(results[0], ParlourError)
    assert texts(await read_all(log, good)) == ["a", "b"]


async def test_what_a_follower_has_seen_is_on_the_disk(tmp_path: Path) -> None:
    # Every batch that is announced can be read by another connection at that very moment.
    store = await open_file(tmp_path)
    log = MemoryLog(ManualClock(), journal=store.archive)
    stream, missing = fresh(), []
    reader = sqlite3.connect(tmp_path / "parlour.db")

    def check(batch: Any) -> None:
        query = 'SELECT max("offset") FROM events WHERE stream = ?'
        (stored,) = reader.execute(query, (stream,)).fetchone()
        if (stored or 0) < batch.position.offset:
            missing.append(batch.position.offset)

    attachment = await log.attach(stream, check)
    await asyncio.gather(*(log.append(stream, [note(str(n))]) for n in range(100)))

    assert missing == []
    await attachment.detach()
    reader.close()
    await log.close()
    await store.close()


async def test_a_process_killed_amid_appends_loses_nothing_acknowledged(tmp_path: Path) -> None:
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _WRITER, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert writer.stdout is not None
    acknowledged = [await writer.stdout.readline() for _ in range(200)]
    writer.kill()
    acknowledged += (await writer.stdout.read()).splitlines()
    await writer.wait()

    store = await open_file(tmp_path)
    log = MemoryLog(ManualClock(), journal=store.archive)
    found = texts(await read_all(store.archive, "thread:killed"))
    head = await log.head("thread:killed")
    epoch, last = acknowledged[-1].decode().split()

    assert found == [str(n) for n in range(1, len(found) + 1)]
    assert len(found) >= int(last)
    assert head == Position(epoch, len(found))
    await log.close()
    await store.close()


_WRITER = """
import asyncio, sys
from pathlib import Path
from parlour.backends.memory import MemoryLog
from parlour.backends.sql import open_sql
from parlour.core.streams import NewEvent
from parlour.testing.clock import ManualClock

async def main(folder):
    store = await open_sql(f"sqlite:///{folder}/parlour.db", folder, clock=ManualClock())
    log = MemoryLog(ManualClock(), journal=store.archive)
    for n in range(1, 100_000):
        done = await log.append("thread:killed", [NewEvent("note", {"text": str(n)}, 1)])
        print(done.epoch, done.last, flush=True)

asyncio.run(main(Path(sys.argv[1])))
"""


async def test_a_second_process_on_the_same_folder_is_refused(
    store: SqlStore, tmp_path: Path
) -> None:
    with pytest.raises(DataFolderBusy, match="another process"):
        await open_file(tmp_path)


async def test_the_folder_is_free_again_after_closing(tmp_path: Path) -> None:
    first = await open_file(tmp_path)
    await first.close()
    await first.close()

    second = await open_file(tmp_path)

    assert await second.users.count_users() == 0
    await second.close()


async def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(Unavailable, match="data folder"):
        await open_file(tmp_path / "file" / "data")


async def test_a_read_only_database_file_is_told(tmp_path: Path) -> None:
    store = await open_file(tmp_path)
    await store.database.write(lambda c: c.execute(text("PRAGMA query_only = ON")))

    with pytest.raises(Unavailable, match="read-only"):
        await store.users.add_user(UserRecord("u", "Ann"))

    await store.close()


async def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "parlour.db").write_bytes(b"this is no database at all" * 100)

    with pytest.raises(Unavailable, match="damaged"):
        await open_file(tmp_path)


async def test_a_failed_open_gives_the_folder_back(tmp_path: Path) -> None:
    (tmp_path / "parlour.db").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(Unavailable):
        await open_file(tmp_path)
    (tmp_path / "parlour.db").unlink()

    store = await open_file(tmp_path)

    assert await store.users.count_users() == 0
    await store.close()


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://localhost/x", "sqlite:/"])
async def test_a_url_that_cannot_be_used_is_a_settings_error(url: str) -> None:
    with pytest.raises(SettingsError):
        await open_sql(url, clock=ManualClock())


async def test_a_cancelled_write_is_done_whole_or_not_at_all(store: SqlStore) -> None:
    async def add(n: int) -> None:
        await store.users.add_user(UserRecord(f"u{n}", "Ann"))

    tasks = [asyncio.create_task(add(n)) for n in range(50)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    kept = {n for n, result in enumerate(results) if result is None}
    present = {n for n in range(50) if await store.users.user(f"u{n}") is not None}

    assert kept >= set(range(1, 50, 2))
    assert present >= kept


async def test_a_failing_write_of_a_group_does_not_undo_the_others(store: SqlStore) -> None:
    results = await asyncio.gather(
        store.users.add_user(UserRecord("a", "Ann")),
        store.users.add_user(UserRecord("a", "Ann again")),
        store.users.add_user(UserRecord("b", "Bob")),
        return_exceptions=True,
    )

    assert [isinstance(result, Conflict) for result in results] == [False, True, False]
    assert await store.users.count_users() == 2


async def test_numbers_that_no_database_holds_are_refused(store: SqlStore, far: SqlStore) -> None:
    for one in (store, far):
        with pytest.raises(InvalidPayload):
            await one.users.add_user(UserRecord("u", "Ann", created_at=2**70))

        assert await one.users.count_users() == 0


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = await open_file(tmp_path)
    await store.close()

    with pytest.raises(ShuttingDown):
        await store.users.count_users()
    with pytest.raises(ShuttingDown):
        await store.users.add_user(UserRecord("u", "Ann"))


async def test_closing_finishes_what_was_accepted(tmp_path: Path) -> None:
    store = await open_file(tmp_path)
    log = MemoryLog(ManualClock(), journal=store.archive)
    stream = fresh()
    await log.head(stream)
    tasks = [asyncio.create_task(log.append(stream, [note(str(n))])) for n in range(20)]
    await asyncio.sleep(0)

    await log.close()
    results = await asyncio.gather(*tasks)
    stored = texts(await read_all(store.archive, stream))
    await store.close()

    assert len(results) == 20
    assert stored == [str(n) for n in range(20)]


async def test_a_file_whose_record_is_refused_leaves_no_bytes(
    store: SqlStore, tmp_path: Path
) -> None:
    record = FileRecord("f", "ann", "a.txt", "text/plain", 0, created_at=2**70)

    with pytest.raises(InvalidPayload):
        await store.files.put(record, chunks(b"abc"), limit=10)

    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []


# -- PostgreSQL ------------------------------------------------------------------------------------


async def test_a_database_that_does_not_answer_is_unavailable_within_its_limit(
    postgres: PostgresServer, far: SqlStore
) -> None:
    loop = asyncio.get_running_loop()
    await far.users.add_user(UserRecord("u", "Ann"))

    pids = _children(postgres.pid)
    for pid in (postgres.pid, *pids):
        os.kill(pid, signal.SIGSTOP)
    began = loop.time()
    with pytest.raises(Unavailable):
        await far.users.count_users()
    took = loop.time() - began
    for pid in (*pids, postgres.pid):
        os.kill(pid, signal.SIGCONT)

    assert took < 3 * TIME_LIMIT_S
    assert await far.users.count_users() == 1


async def test_a_restarted_database_is_taken_up_again(
    postgres: PostgresServer, far: SqlStore
) -> None:
    log = MemoryLog(ManualClock(), journal=far.archive)
    stream, ear = fresh(), Ear()
    attachment = await log.attach(stream, ear)
    await log.append(stream, notes("before"))

    await asyncio.to_thread(postgres.kill)
    with pytest.raises(Unavailable):
        await log.append(stream, notes("during"), dedupe=Dedupe("k"))
    await asyncio.to_thread(postgres.start)
    await _insist(log, stream)

    assert ear.texts == ["before", "during"]
    assert texts(await read_all(far.archive, stream)) == ["before", "during"]
    await attachment.detach()
    await log.close()


async def test_an_append_whose_answer_was_lost_is_found_and_not_repeated(
    postgres: PostgresServer,
) -> None:
    # The commit reaches the database, its answer does not reach the log. The log must not number
    # the next append the same: the archive would take it for the one that it holds, and drop it.
    await postgres.create_database("lost_answer")
    async with running_proxy(postgres.port) as proxy:
        url = f"postgresql://parlour@127.0.0.1:{proxy.port}/lost_answer"
        store = await open_sql(url, clock=ManualClock(), time_limit=TIME_LIMIT_S)
        log = MemoryLog(ManualClock(), journal=store.archive)
        stream, ear = fresh(), Ear()
        attachment = await log.attach(stream, ear)
        await log.append(stream, notes("1"))

        proxy.swallow_answer_to(b"COMMIT")
        with pytest.raises(Unavailable):
            await log.append(stream, notes("2"), dedupe=Dedupe("k", b"receipt"))
        await proxy.swallowed.wait()
        heard_before = list(ear.texts)
        third = await log.append(stream, notes("3"))
        again = await log.append(stream, notes("2"), dedupe=Dedupe("k"))

        assert heard_before == ["1"]
        assert ear.texts == ["1", "2", "3"]
        assert third.last == 3
        assert (again.duplicate, again.first, again.receipt) == (True, 2, b"receipt")
        assert texts(await read_all(store.archive, stream)) == ["1", "2", "3"]
        await attachment.detach()
        await log.close()
        await store.close()


async def test_a_database_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await open_sql(
            "postgresql://nobody@127.0.0.1:1/none", clock=ManualClock(), time_limit=TIME_LIMIT_S
        )


async def test_a_database_that_somebody_numbers_streams_in_has_one_owner(
    postgres: PostgresServer,
) -> None:
    # Two processes that number in their own memory would give one number twice, and the archive
    # would take the second event for the first.
    url = await postgres.create_database("owned")
    owner = await open_sql(url, clock=ManualClock(), exclusive=True)

    with pytest.raises(DataFolderBusy, match="another process"):
        await open_sql(url, clock=ManualClock(), exclusive=True)
    beside = await open_sql(url, clock=ManualClock())
    await owner.close()
    after = await open_sql(url, clock=ManualClock(), exclusive=True)

    assert await beside.users.count_users() == 0
    assert await after.users.count_users() == 0
    await beside.close()
    await after.close()


async def test_two_nodes_that_start_together_migrate_once(postgres: PostgresServer) -> None:
    url = await postgres.create_database("together")
    steps: list[int] = []

    def heard(done: int, total: int, name: str) -> None:
        steps.append(done)

    stores = await asyncio.gather(
        *(open_sql(url, clock=ManualClock(), progress=heard) for _ in range(3))
    )

    assert steps.count(0) == 1
    for store in stores:
        assert await store.users.count_users() == 0
        await store.close()


async def _insist(log: MemoryLog, stream: str) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await log.append(stream, notes("during"), dedupe=Dedupe("k"))
            except Unavailable:
                await asyncio.sleep(0.05)
            else:
                return


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]
