"""Statements that are built once and given to the driver as they are.

SQLAlchemy takes 20 µs for each execution and 5 for each row, whatever the statement does; SQLite takes 2
and 1. So what runs for every event is written with SQLAlchemy's words, compiled once per database, and
executed without it. Values are those of the database: JSON is text (`schema.encode_json`), and what comes
back from SQLite for a boolean is 0 or 1.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, cast

from sqlalchemy import Connection, Dialect, Insert
from sqlalchemy.dialects import postgresql, sqlite

Values = tuple[Any, ...]

Build = Callable[[Any], Any]
"""Makes the statement, given the dialect's own `insert`, which knows `on_conflict_…`."""

ROWS_AT_ONCE = 64
"""Rows of one INSERT on SQLite. After each step of a statement the driver asks for the interpreter again,
and where the event loop is busy that takes up to 5 ms: 100 rows one by one took 420 ms, together 47."""


def driver(connection: Connection) -> sqlite3.Connection:
    """SQLite's own connection below SQLAlchemy's."""
    return cast(sqlite3.Connection, connection.connection.dbapi_connection)


class Statement:
    """A statement with parameters `names`, whose values are given in that order.

    It must have no other parameters: a constant is written as a literal. Raises what the driver raises
    (`errors.DRIVER_ERRORS`)."""

    def __init__(self, names: Sequence[str], build: Build) -> None:
        self._names = tuple(names)
        self._build = build
        self._forms: dict[str, _Form] = {}

    def find(self, connection: Connection, *values: Any) -> Values | None:
        """The first row."""
        form = self._form(connection)
        if form.embedded:
            row = driver(connection).execute(form.text, form.ordered(values)).fetchone()
            return cast("Values | None", row)
        found = connection.exec_driver_sql(form.text, form.ordered(values)).fetchone()
        return None if found is None else tuple(found)

    def find_all(self, connection: Connection, *values: Any) -> Sequence[Values]:
        """All rows."""
        form = self._form(connection)
        if form.embedded:
            return driver(connection).execute(form.text, form.ordered(values)).fetchall()
        found = connection.exec_driver_sql(form.text, form.ordered(values))
        return [tuple(row) for row in found]

    def change(self, connection: Connection, *values: Any) -> int:
        """Gives how many rows were changed."""
        form = self._form(connection)
        if form.embedded:
            # `executemany` does not ask for the last row's id, for which it would wait for the interpreter.
            return driver(connection).executemany(form.text, (form.ordered(values),)).rowcount
        return connection.exec_driver_sql(form.text, form.ordered(values)).rowcount

    def run(self, connection: Connection, rows: Sequence[Values]) -> None:
        """Once for each row of values, in one round trip; nothing where there are none."""
        if not rows:
            return
        form = self._form(connection)
        if form.embedded:
            self._run_embedded(driver(connection), form, rows)
        else:
            connection.exec_driver_sql(form.text, [form.ordered(row) for row in rows])

    def _run_embedded(
        self, connection: sqlite3.Connection, form: _Form, rows: Sequence[Values]
    ) -> None:
        connection.executemany(form.text, map(form.ordered, rows))

    def _form(self, connection: Connection) -> _Form:
        form = self._forms.get(connection.dialect.name)
        if form is None:
            form = self._forms[connection.dialect.name] = _Form(
                connection.dialect, self._names, self._build
            )
        return form


class Insertion(Statement):
    """An INSERT, of which SQLite takes many rows in one step."""

    def _run_embedded(
        self, connection: sqlite3.Connection, form: _Form, rows: Sequence[Values]
    ) -> None:
        whole = len(rows) - len(rows) % ROWS_AT_ONCE
        for part in _parts(rows[:whole]):
            connection.execute(form.together, tuple(chain.from_iterable(map(form.ordered, part))))
        if whole < len(rows):
            connection.executemany(form.text, map(form.ordered, rows[whole:]))


def _parts(rows: Sequence[Values]) -> Iterator[Sequence[Values]]:
    return (rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE))


class _Form:
    """A statement as one dialect writes it."""

    __slots__ = ("embedded", "ordered", "text", "together")

    def __init__(self, dialect: Dialect, names: tuple[str, ...], build: Build) -> None:
        self.embedded = dialect.name == "sqlite"
        insert = sqlite.insert if self.embedded else postgresql.insert
        statement = build(insert)
        columns = names if isinstance(statement, Insert) else None
        compiled: Any = statement.compile(dialect=dialect, column_keys=columns)
        order = tuple(compiled.positiontup)
        if set(order) != set(names):
            raise ValueError(f"the statement has the parameters {order}, not {names}")
        self.text: str = compiled.string
        self.ordered: Callable[[Values], Values] = _in_order(names, order)
        one = f"({', '.join('?' * len(names))})"
        self.together = self.text.replace(one, ", ".join([one] * ROWS_AT_ONCE), 1)


def _in_order(names: tuple[str, ...], order: tuple[str, ...]) -> Callable[[Values], Values]:
    """What brings values from the order of `names` into that of the statement."""
    if order == names:
        return tuple
    places = [names.index(name) for name in order]
    if len(places) == 1:
        return lambda values: (values[places[0]],)
    return itemgetter(*places)
