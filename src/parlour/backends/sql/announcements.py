"""The outbox and the receipts of commands: what is written in the same transaction as a change."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from parlour.backends.sql.channel_schema import announcements as table
from parlour.backends.sql.channel_schema import command_receipts as receipts
from parlour.backends.sql.engine import Database, upsert
from parlour.backends.sql.schema import DAMAGED
from parlour.core.streams import NewEvent
from parlour.ports import Announcement, Changed

RECEIPT_MS = 24 * 3600 * 1000
"""How long a command's answer is kept."""

PURGED_AT_ONCE = 5_000

NewData = tuple[str, Mapping[str, Any]]


def announce(
    connection: Connection,
    stream: str,
    events: Sequence[NewData],
    *,
    source: str,
    cause: str | None,
    at: int,
) -> tuple[str, str]:
    """Note events that are to be appended to `stream` once this transaction is committed."""
    key = uuid.uuid4().hex
    row = {
        "key": key,
        "stream": stream,
        "events": [[type, data] for type, data in events],
        "source": source,
        "cause": cause,
        "at": at,
    }
    connection.execute(table.insert(), row)
    return stream, key


def once(connection: Connection, key: str | None, at: int, work: Callable[[], Changed]) -> Changed:
    """Do `work` unless a command with this key was done; then give back what came of it."""
    if key is None:
        return work()
    claimed = connection.execute(
        upsert(connection, receipts).on_conflict_do_nothing().returning(receipts.c.key),
        {"key": key, "answer": {}, "told": [], "at": at},
    ).one_or_none()
    if claimed is None:
        known = connection.execute(select(receipts).where(receipts.c.key == key)).one()
        return Changed(known.answer, [(one[0], one[1]) for one in known.told], repeated=True)
    changed = work()
    connection.execute(
        update(receipts)
        .where(receipts.c.key == key)
        .values(answer=dict(changed.answer), told=[list(one) for one in changed.told])
    )
    return changed


class SqlAnnouncements:
    """`ports.Announcements` on a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pending(self, stream: str, limit: int) -> Sequence[Announcement]:
        return await self._database.read(lambda c: _pending(c, stream, limit))

    async def waiting(self, before: int, limit: int) -> Sequence[str]:
        return await self._database.read(lambda c: _waiting(c, before, limit))

    async def announced(self, keys: Sequence[str]) -> None:
        gone = delete(table).where(table.c.key.in_(list(keys)))
        await self._database.write(lambda c: c.execute(gone) and None)

    async def forget_receipts(self, before: int) -> int:
        return await self._database.write(lambda c: _purge(c, before))


def _pending(connection: Connection, stream: str, limit: int) -> list[Announcement]:
    query = select(table).where(table.c.stream == stream).order_by(table.c.id).limit(limit)
    return [
        Announcement(
            row.key,
            row.stream,
            # A damaged row is announced as nothing, so that it does not hold up those behind it.
            []
            if row.events is DAMAGED
            else [NewEvent(type, data, row.at, row.source, row.cause) for type, data in row.events],
        )
        for row in connection.execute(query)
    ]


def _waiting(connection: Connection, before: int, limit: int) -> list[str]:
    first = func.min(table.c.id)
    query = (
        select(table.c.stream)
        .where(table.c.at <= before)
        .group_by(table.c.stream)
        .order_by(first)
        .limit(limit)
    )
    return list(connection.scalars(query))


def _purge(connection: Connection, before: int) -> int:
    old = select(receipts.c.key).where(receipts.c.at < before).limit(PURGED_AT_ONCE)
    return connection.execute(delete(receipts).where(receipts.c.key.in_(old))).rowcount
