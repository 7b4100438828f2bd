"""Everything that is kept in a database, opened and closed as one."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from parlour.backends.blobs import Blobs, FolderBlobs
from parlour.backends.sql.agents import SqlAgentStore
from parlour.backends.sql.announcements import SqlAnnouncements
from parlour.backends.sql.archive import SqlArchive
from parlour.backends.sql.channels import SqlChannelStore
from parlour.backends.sql.documents import SqlDocumentStore
from parlour.backends.sql.engine import Database
from parlour.backends.sql.files import SqlFileStore
from parlour.backends.sql.leases import SqlLeases
from parlour.backends.sql.meta import DataFolder
from parlour.backends.sql.migrate import Progress, migrate
from parlour.backends.sql.notes import SqlNoteStore
from parlour.backends.sql.postgres import PostgresDatabase
from parlour.backends.sql.sessions import SqlSessionStore
from parlour.backends.sql.sqlite import SqliteDatabase
from parlour.backends.sql.threads import SqlThreadStore
from parlour.backends.sql.users import SqlUserStore
from parlour.errors import SettingsError
from parlour.ports import Clock


class SqlStore:
    """The stores on one database: `archive`, `users`, `threads`, `sessions`, `leases`, `files`,
    `channels`, `announcements`, `agents`.

    Made by `open_sql`."""

    def __init__(self, database: Database, blobs: Blobs, clock: Clock) -> None:
        self.database = database
        self.archive = SqlArchive(database, clock)
        self.users = SqlUserStore(database, clock)
        self.files = SqlFileStore(database, blobs)
        self.threads = SqlThreadStore(database, clock, self.files)
        self.sessions = SqlSessionStore(database)
        self.leases = SqlLeases(database, clock)
        self.channels = SqlChannelStore(database)
        self.announcements = SqlAnnouncements(database)
        self.documents = SqlDocumentStore(database)
        self.notes = SqlNoteStore(database)
        self.agents = SqlAgentStore(database)
        self._owned: DataFolder | tempfile.TemporaryDirectory[str] | None = None

    def own(self, folder: DataFolder | tempfile.TemporaryDirectory[str]) -> None:
        """Release `folder` when the store is closed."""
        self._owned = folder

    def counts(self) -> tuple[int, int]:
        """Transactions since the start: reads and writes."""
        return self.database.reads, self.database.writes

    async def close(self) -> None:
        """Finish accepted writes and release everything; idempotent."""
        await self.database.close()
        await _release(self._owned)


async def _release(owned: DataFolder | tempfile.TemporaryDirectory[str] | None) -> None:
    if isinstance(owned, DataFolder):
        owned.release()
    elif owned is not None:
        await asyncio.to_thread(owned.cleanup)


async def open_sql(
    url: str,
    data_folder: Path | None = None,
    *,
    clock: Clock,
    progress: Progress | None = None,
    pool_size: int = 10,
    time_limit: float = 10.0,
    exclusive: bool = False,
    blobs: Blobs | None = None,
) -> SqlStore:
    """Open a database, bring its tables up to date, and give its stores.

    `url`: `sqlite:///path/to/file`, `sqlite://` (in memory) or
    `postgresql://user:password@host/name`; a driver name (`sqlite+aiosqlite`,
    `postgresql+asyncpg`) is accepted and does not matter. `data_folder` holds the files, unless
    `blobs` says where; with a SQLite file it is locked for this process. Without one files go to a
    temporary folder.
    `progress` hears `(done, total, name)` for each migration. `time_limit` (seconds) bounds each
    transaction on PostgreSQL. `exclusive` owns a PostgreSQL database as well: whoever numbers
    streams in its own memory must be the only one.

    Raises `SettingsError` for a URL it cannot use, `DataFolderBusy` when another process has the
    folder or the database, `Unavailable` when the database cannot be reached or written.
    """
    parsed = _parse(url)
    owned = _own(parsed, data_folder)
    try:
        database = await _connect(parsed, pool_size, time_limit)
        try:
            if exclusive and isinstance(database, PostgresDatabase):
                await database.hold_alone()
            await migrate(database, progress)
        except BaseException:
            await database.close()
            raise
    except BaseException:
        await _release(owned)
        raise
    folder = data_folder or Path(
        owned.name if isinstance(owned, tempfile.TemporaryDirectory) else "."
    )
    store = SqlStore(database, blobs or FolderBlobs(folder / "files"), clock)
    if owned is not None:
        store.own(owned)
    return store


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise SettingsError(
            ["the database URL cannot be read; use sqlite:///… or postgresql://…"]
        ) from error
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise SettingsError(
            [f"{parsed.get_backend_name()} is not supported; use sqlite:///… or postgresql://…"]
        )
    return parsed


def _in_memory(url: URL) -> bool:
    return url.database in (None, "", ":memory:")


def _own(
    url: URL, data_folder: Path | None
) -> DataFolder | tempfile.TemporaryDirectory[str] | None:
    if data_folder is None:
        return tempfile.TemporaryDirectory(prefix="parlour-")
    if url.get_backend_name() == "sqlite" and not _in_memory(url):
        folder = DataFolder(data_folder)
        folder.acquire()
        return folder
    return None


async def _connect(url: URL, pool_size: int, time_limit: float) -> Database:
    if url.get_backend_name() == "postgresql":
        return PostgresDatabase(url, pool_size=pool_size, time_limit=time_limit)
    database = SqliteDatabase(None if _in_memory(url) else url.database)
    try:
        await database.open()
    except BaseException:
        await database.close()
        raise
    return database
