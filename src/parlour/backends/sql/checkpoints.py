"""Checkpoints of a SQLite file beside its writer: the pages of the WAL go into the database, and the WAL
begins anew.

SQLite's own checkpoint happens inside the commit that passes 1000 pages, and everybody who appends waits
for it: with a database of 70 MB 10 ms instead of 0.2. Here it has three steps, of which only the last and
shortest is the writer's:

1. A PASSIVE checkpoint on a connection of its own copies the pages and holds up nobody.
2. The database file is made durable. SQLite does this in step 1 only where nothing was committed
   meanwhile; otherwise the last step would have to wait for all that step 1 has written.
3. Between two transactions the writer checkpoints what was committed during 1 and 2, after which its next
   commit begins at the start of the WAL. It waits a moment for readers that still need the old one.

A reader that stays keeps the WAL from beginning anew. So there is a bound, where the writer waits longer,
and then the questions of our own readers are ended. Nothing is lost where a checkpoint fails: the WAL is
as durable as the database, and the next one is tried when the WAL has grown again.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from parlour.backends.sql.wal import Wal

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WalLimits:
    """`pages` and `most` are in pages (4 KiB), `kept` in bytes, times in milliseconds."""

    pages: int = 4_000
    """Checkpoints begin here: 16 MB. The longer the WAL, the more often a page that changes often is
    copied only once; and a reader looks through one table of its index for every 4096 pages."""

    most: int = 16_000
    """Here the writer waits until the WAL can begin anew."""

    kept: int = 32 * 2**20
    """What is left of the file when the WAL begins anew: writing over it is cheaper than growing it."""

    patience: int = 10
    """How long the writer waits for readers in the usual case …"""

    most_patience: int = 500
    """… at the bound, twice, and at the end."""


class _Outcome(NamedTuple):
    """What `PRAGMA wal_checkpoint` answers: whether somebody was in the way, how many frames the WAL
    had, and how many of them are in the database now."""

    busy: int
    frames: int
    copied: int


class Checkpoints:
    """Of the file at `path`. `connect` opens a connection to it, `readers` are those that may be
    interrupted.

    All methods are the writer's thread's; `writer` is its connection, in no transaction. None of them
    raises: what was committed must not be told as failed, because something fails that comes later."""

    def __init__(
        self,
        path: str,
        connect: Callable[[], sqlite3.Connection],
        readers: Callable[[], Iterable[sqlite3.Connection]],
        limits: WalLimits,
    ) -> None:
        self._limits = limits
        self._readers = readers
        self._wal = Wal(path)
        self._backfill = _Backfill(path, self._wal, connect)
        self._running: Future[_Outcome | None] | None = None
        self._generation = b""
        self._next = self._limits.pages
        self._bound = self._limits.most
        self._full = False

    def after_commit(self) -> None:
        """Look how long the WAL is, and begin a checkpoint that goes on beside the writer."""
        try:
            self._look()
        except Exception:  # the writer must go on
            log.exception("the length of the WAL could not be looked at")

    def before_group(self, writer: sqlite3.Connection) -> None:
        """End a checkpoint whose other steps are done, and keep the WAL's bound."""
        try:
            if self._full:
                self._force(writer)
            elif self._running is not None and self._running.done():
                self._finish(writer, self._waited())
        except Exception:  # the writer must go on
            log.exception("a checkpoint could not be ended")

    def end(self, writer: sqlite3.Connection) -> None:
        """Put everything into the database and empty the WAL, unless somebody reads from it."""
        self._backfill.close()
        _checkpoint(writer, "TRUNCATE", self._limits.most_patience)

    def close(self) -> None:
        """After all connections to the file."""
        self._backfill.close()
        self._backfill.release()
        self._wal.close()

    def _look(self) -> None:
        generation = self._wal.generation()
        if generation != self._generation:
            self._generation = generation
            self._next, self._bound = self._limits.pages, self._limits.most
        self._full = False
        if self._wal.holds(self._next, generation):
            self._full = self._wal.holds(self._bound, generation)
            if self._running is None:
                self._running = self._backfill.start()

    def _waited(self) -> _Outcome | None:
        running, self._running = self._running, None
        return None if running is None else running.result()

    def _finish(self, writer: sqlite3.Connection, found: _Outcome | None) -> None:
        outcome = found
        if found is not None and not self._is_whole(found):
            outcome = _checkpoint(writer, "RESTART", self._limits.patience)
        # Should the WAL not begin anew with the next commit, it may grow so much before the next try.
        self._next = _reached(outcome, self._next) + self._limits.pages

    def _is_whole(self, found: _Outcome) -> bool:
        """Whether all of the WAL is in the database, so that the next commit begins it anew."""
        return found.copied == found.frames and not self._wal.holds(found.frames + 1)

    def _force(self, writer: sqlite3.Connection) -> None:
        """Let the WAL begin anew, whoever reads from it."""
        self._waited()
        patience = self._limits.most_patience
        outcome = _checkpoint(writer, "RESTART", patience)
        if outcome is None or outcome.busy:
            for reader in self._readers():
                _interrupt(reader)
            outcome = _checkpoint(writer, "RESTART", patience)
        reached = _reached(outcome, self._bound)
        if outcome is None or outcome.busy:
            log.error(
                "the WAL has %d pages and cannot begin anew: somebody reads all the time", reached
            )
        self._next = self._bound = reached + self._limits.pages
        self._full = False


class _Backfill:
    """The steps beside the writer, in a thread of their own."""

    def __init__(self, path: str, wal: Wal, connect: Callable[[], sqlite3.Connection]) -> None:
        self._path = path
        self._wal = wal
        self._connect = connect
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-checkpoint")
        self._connection: sqlite3.Connection | None = None
        self._file: int | None = None

    def start(self) -> Future[_Outcome | None]:
        return self._thread.submit(self._run)

    def close(self) -> None:
        """Wait for what runs and close the connection; idempotent."""
        self._thread.shutdown()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def release(self) -> None:
        """Close the file; idempotent. Not before the last connection: that takes all locks of this process
        on the file away (POSIX), also SQLite's."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _run(self) -> _Outcome | None:
        try:
            if self._connection is None:
                self._connection = self._connect()
            outcome = _checkpoint(self._connection, "PASSIVE", 0)
            if outcome is not None and self._wal.holds(outcome.frames + 1):
                self._make_durable()
        except (sqlite3.Error, OSError) as error:
            log.warning("a checkpoint failed, and is tried again later: %s", error)
            return None
        return outcome

    def _make_durable(self) -> None:
        if self._file is None:
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        os.fsync(self._file)


def _checkpoint(connection: sqlite3.Connection, mode: str, patience_ms: int) -> _Outcome | None:
    """None where it failed, which is logged."""
    try:
        before = connection.execute("PRAGMA busy_timeout").fetchone()[0]
        connection.execute(f"PRAGMA busy_timeout = {patience_ms}")
        try:
            outcome = _Outcome(*connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone())
        finally:
            connection.execute(f"PRAGMA busy_timeout = {before}")
    except sqlite3.Error as error:
        log.warning("a checkpoint failed, and is tried again later: %s", error)
        return None
    if outcome.frames < 0:
        log.warning("a checkpoint is tried again later: another process makes one")
        return None
    return outcome


def _reached(outcome: _Outcome | None, otherwise: int) -> int:
    """The frame at which the WAL stands after a checkpoint."""
    return otherwise if outcome is None else outcome.frames


def _interrupt(reader: sqlite3.Connection) -> None:
    with suppress(sqlite3.ProgrammingError):  # it was closed meanwhile
        reader.interrupt()
