"""What happens in the writer's thread of a SQLite file: groups of units, each group one transaction.

The transaction and the savepoints are given to the driver directly: SQLAlchemy's take 40 and 50 µs, the
driver's 2. Where a unit uses SQLAlchemy, that begins a transaction of its own inside ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from parlour.backends.sql.checkpoints import Checkpoints
from parlour.backends.sql.engine import Unit
from parlour.backends.sql.errors import DRIVER_ERRORS, translate
from parlour.backends.sql.statements import driver
from parlour.errors import ParlourError, Unavailable

T = TypeVar("T")


@dataclass(slots=True)
class Failed:
    """The outcome of a unit that did not happen."""

    error: Exception


class Writer:
    """The one connection that writes. Everything here runs in one thread."""

    def __init__(self, engine: Engine, checkpoints: Checkpoints | None) -> None:
        self._engine = engine
        self._checkpoints = checkpoints
        self._connection: Connection | None = None

    def run(self, unit: Unit[T]) -> T:
        """A unit in a transaction of its own. Raises what it raises and what the driver raises."""
        with self._transaction() as connection:
            return unit(connection)

    def commit(self, units: Sequence[Unit[Any]]) -> list[Any]:
        """Units in one transaction, and what came of each: its answer or `Failed`. One that raises is
        undone alone; a failing commit fails them all."""
        try:
            with self._transaction() as connection:
                if len(units) == 1:  # the whole transaction, which needs no savepoint in it
                    return [units[0](connection)]
                return [_attempt(connection, unit) for unit in units]
        except Exception as error:  # noqa: BLE001 - a defect in one unit must not end the committer
            return [_failed(error)] * len(units)

    def close(self) -> None:
        """End with an empty WAL where that is possible; idempotent."""
        if self._connection is not None and self._checkpoints is not None:
            self._checkpoints.end(driver(self._connection))
        self._let_go()

    def _let_go(self) -> None:
        """Undo what is open."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        if self._connection is None:
            self._connection = self._engine.connect()
        connection = self._connection
        raw = driver(connection)
        if self._checkpoints is not None:
            self._checkpoints.before_group(raw)
        try:
            raw.execute("BEGIN IMMEDIATE")
            yield connection
            # SQLAlchemy knows of the transaction only where a unit used it.
            (connection if connection.in_transaction() else raw).commit()
        except BaseException:
            self._let_go()
            raise
        if self._checkpoints is not None:
            self._checkpoints.after_commit()


def _attempt(connection: Connection, unit: Unit[Any]) -> Any:
    """One unit in a savepoint. Errors of the disk leave, because they end the whole transaction."""
    raw = driver(connection)
    raw.execute("SAVEPOINT unit")
    try:
        outcome = unit(connection)
    except Exception as error:
        failed = _failed(error)
        if isinstance(error, DRIVER_ERRORS) and isinstance(failed.error, Unavailable):
            raise
        raw.execute("ROLLBACK TO unit")
        raw.execute("RELEASE unit")
        return failed
    raw.execute("RELEASE unit")
    return outcome


def _failed(error: Exception) -> Failed:
    if isinstance(error, ParlourError) or not isinstance(error, DRIVER_ERRORS):
        return Failed(error)
    failure = translate(error)
    failure.__cause__ = error
    return Failed(failure)
