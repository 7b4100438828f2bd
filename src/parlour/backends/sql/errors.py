"""A driver's error becomes one of Parlour's, here and nowhere else."""

from __future__ import annotations

import sqlite3

from sqlalchemy import exc

from parlour.errors import Conflict, InvalidPayload, ParlourError, Unavailable

DRIVER_ERRORS: tuple[type[Exception], ...] = (
    exc.SQLAlchemyError,
    sqlite3.Error,
    OSError,
    TimeoutError,
)
"""What a database call may raise besides our own errors (asyncpg's connection errors are
OSErrors)."""

_REMEDIES = (
    ("disk is full", "the disk is full: free some space in the data folder's file system"),
    ("readonly", "the data folder is read-only: Parlour needs to write there"),
    ("read-only", "the data folder is read-only: Parlour needs to write there"),
    ("unable to open", "the database file cannot be opened: check the folder and its rights"),
    ("disk i/o", "the disk reported an input/output error"),
    ("malformed", "the database file is damaged: restore it from a backup"),
    ("not a database", "the database file is damaged: restore it from a backup"),
)


def translate(error: Exception) -> ParlourError:
    """The Parlour error for what a driver raised. Pure; the caller raises it `from` the
    original."""
    if isinstance(error, exc.IntegrityError):
        return Conflict("the database refused a value that is already taken")
    if isinstance(error, exc.DataError):
        return InvalidPayload("the database cannot hold this value")
    if isinstance(error, exc.StatementError) and isinstance(
        error.orig, OverflowError | ValueError | TypeError
    ):
        return InvalidPayload("the database cannot hold this value")
    return Unavailable(f"the database is not available: {_explain(error)}")


def _explain(error: Exception) -> str:
    text = str(getattr(error, "orig", None) or error)
    lowered = text.lower()
    for words, remedy in _REMEDIES:
        if words in lowered:
            return remedy
    return (text.splitlines() or [type(error).__name__])[0][:200] or type(error).__name__
