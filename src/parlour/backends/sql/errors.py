"""A driver's error becomes one of Parlour's, here and nowhere else."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from sqlalchemy import exc

from parlour.errors import Conflict, InvalidPayload, ParlourError, Unavailable

DRIVER_ERRORS: tuple[type[Exception], ...] = (
    exc.SQLAlchemyError,
    sqlite3.Error,
    OSError,
    TimeoutError,
    OverflowError,
)
"""What a database call may raise besides our own errors: asyncpg's connection errors are OSErrors,
and SQLAlchemy passes on SQLite's OverflowError for a number that is too big. What is given to SQLite's
driver directly (`statements`) raises its errors as they are."""

_REMEDIES = (
    ("disk is full", "the disk is full: free some space in the data folder's file system"),
    ("readonly", "the data folder is read-only: Parlour needs to write there"),
    ("read-only", "the data folder is read-only: Parlour needs to write there"),
    ("unable to open", "the database file cannot be opened: check the folder and its rights"),
    ("disk i/o", "the disk reported an input/output error"),
    ("malformed", "the database file is damaged: restore it from a backup"),
    ("not a database", "the database file is damaged: restore it from a backup"),
    (
        "interrupted",
        "the question took so long that it held up the disk's clearing; try again later",
    ),
)


def translate(error: Exception) -> ParlourError:
    """The Parlour error for what a driver raised; the caller raises it `from` the original."""
    if isinstance(error, exc.IntegrityError | sqlite3.IntegrityError):
        return Conflict("the database refused a value that is already taken")
    if _is_data_error(error):
        return InvalidPayload("the database cannot hold this value")
    return Unavailable(f"the database is not available: {_explain(error)}")


def _is_data_error(error: Exception) -> bool:
    """Whether a value, and not the database, was at fault (SQLSTATE class 22: data exception)."""
    if isinstance(error, exc.DataError | sqlite3.DataError | OverflowError):
        return True
    origin = error.orig if isinstance(error, exc.StatementError) else None
    if isinstance(origin, OverflowError | ValueError | TypeError):
        return True
    return str(getattr(origin, "sqlstate", None) or "").startswith("22")


def _explain(error: Exception) -> str:
    for text in _texts(error):
        for words, remedy in _REMEDIES:
            if words in text.lower():
                return remedy
    text = next(iter(_texts(error)))
    return (text.splitlines() or [type(error).__name__])[0][:200] or type(error).__name__


def _texts(error: BaseException | None) -> Iterator[str]:
    """The messages of an error and of those that it covers: a full disk ends SQLite's transaction,
    so that leaving the savepoint fails as well, with a message that says nothing."""
    while error is not None:
        yield str(getattr(error, "orig", None) or error)
        error = error.__context__
