"""One database, as transactions to run: `write(unit)` and `read(unit)`.

A unit is a synchronous function of a SQLAlchemy `Connection`; it runs inside a transaction that is
committed when it returns and rolled back when it raises. The same units serve both databases:

- `SqliteDatabase` runs them in threads on the standard library's driver. One writer thread takes
every
  unit that waits and commits them as one group (a savepoint each, one fsync for all); readers have
  connections of their own and are never held up by the writer (WAL).
- `PostgresDatabase` runs them on asyncpg from a bounded pool.

A unit must not touch the event loop, and may run only once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

T = TypeVar("T")

Unit = Callable[[Connection], T]


class Database(Protocol):
    """Transactions on one database. Raises only classes of `parlour.errors`.

    `reads` and `writes` count the transactions since the start."""

    reads: int
    writes: int

    async def write(self, unit: Unit[T]) -> T:
        """Run in a transaction of its own; durable when this returns. A cancelled call has happened
        whole or not at all."""
        ...

    async def read(self, unit: Unit[T]) -> T:
        """Run on one consistent, read-only view."""
        ...

    async def migrate(self, unit: Unit[T]) -> T:
        """As `write`, without a time limit and alone on the database."""
        ...

    async def close(self) -> None:
        """Finish what was accepted, then release everything; idempotent."""
        ...


def upsert(connection: Connection, table: Table) -> Any:
    """An INSERT with `on_conflict_…`, which both dialects spell the same way."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)
