"""Sessions and the values that handlers keep in them, for the embedded store.

`user_env` holds people's keys and is not written to the disk; a session that is taken up again has
the `user_env` that its client sent with this connection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.engine import Row

from parlour.backends.sessions import merge_sessions
from parlour.backends.sql.engine import Database, upsert
from parlour.backends.sql.schema import session_values as values_table
from parlour.backends.sql.schema import sessions as table
from parlour.errors import NotFound
from parlour.ports import SessionRecord

_COLUMNS = (
    "id",
    "user_id",
    "client_type",
    "thread_id",
    "chat_profile",
    "language",
    "created_at",
    "last_seen",
)


class SqlSessionStore:
    """`ports.SessionStore` on a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def bind(self, record: SessionRecord) -> SessionRecord:
        return await self._database.write(lambda c: _bind(c, record))

    async def load(self, session_id: str) -> SessionRecord | None:
        return await self._database.read(lambda c: _load(c, session_id))

    async def touch(self, session_id: str, at: int) -> None:
        later = (table.c.id == session_id) & (table.c.last_seen < at)
        await self._database.write(
            lambda c: c.execute(update(table).where(later).values(last_seen=at))
        )

    async def values(self, session_id: str, thread_id: str) -> dict[str, bytes]:
        query = select(values_table.c.key, values_table.c.value).where(
            values_table.c.session_id == session_id, values_table.c.thread_id == thread_id
        )
        rows = await self._database.read(lambda c: c.execute(query).all())
        return {row.key: bytes(row.value) for row in rows}

    async def threads(self, session_id: str) -> Sequence[str]:
        mine = values_table.c.session_id == session_id
        query = select(values_table.c.thread_id).where(mine).distinct()
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [row.thread_id for row in rows]

    async def write_values(
        self, session_id: str, thread_id: str, changes: Mapping[str, bytes | None]
    ) -> None:
        """Raises `NotFound` where the session is gone, so that no value outlives it."""
        await self._database.write(lambda c: _write(c, session_id, thread_id, changes))

    async def expired(self, before: int, limit: int) -> Sequence[SessionRecord]:
        query = (
            select(table).where(table.c.last_seen < before).order_by(table.c.last_seen).limit(limit)
        )
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [_record(row) for row in rows]

    async def delete(self, session_id: str) -> bool:
        here = delete(table).where(table.c.id == session_id)
        return await self._database.write(lambda c: c.execute(here).rowcount == 1)


def _record(row: Row[Any]) -> SessionRecord:
    return SessionRecord(**dict(row._mapping))


def _load(connection: Connection, session_id: str, *, lock: bool = False) -> SessionRecord | None:
    query = select(table).where(table.c.id == session_id)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else _record(row)


def _bind(connection: Connection, record: SessionRecord) -> SessionRecord:
    row = {name: getattr(record, name) for name in _COLUMNS}
    connection.execute(upsert(connection, table).on_conflict_do_nothing(), row)
    stored = _load(connection, record.id, lock=True)
    assert stored is not None
    merged = merge_sessions(stored, record)
    connection.execute(
        update(table)
        .where(table.c.id == record.id)
        .values({name: getattr(merged, name) for name in _COLUMNS})
    )
    return merged


def _write(
    connection: Connection, session_id: str, thread_id: str, changes: Mapping[str, bytes | None]
) -> None:
    if _load(connection, session_id, lock=True) is None:
        raise NotFound("there is no such session")
    here = (values_table.c.session_id == session_id) & (values_table.c.thread_id == thread_id)
    connection.execute(delete(values_table).where(here, values_table.c.key.in_(list(changes))))
    rows = [
        {"session_id": session_id, "thread_id": thread_id, "key": key, "value": value}
        for key, value in changes.items()
        if value is not None
    ]
    if rows:
        connection.execute(insert(values_table), rows)
