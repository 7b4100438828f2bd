"""Threads: their rows, the list with its search, and deletion that leaves a tombstone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import fields as fields_of
from typing import Any

from sqlalchemy import Connection, delete, or_, select, update
from sqlalchemy.engine import Row

from parlour.backends.sql.cursors import decode_cursor, encode_cursor
from parlour.backends.sql.engine import Database, upsert
from parlour.backends.sql.files import SqlFileStore
from parlour.backends.sql.projections import THREAD, plain, refresh_thread
from parlour.backends.sql.schema import (
    deleted_threads,
    events,
    files,
    messages,
    receipts,
    session_values,
    streams,
)
from parlour.backends.sql.schema import threads as table
from parlour.errors import Conflict, Forbidden, NotFound
from parlour.ports import Clock, ThreadRecord

_FIELDS = {one.name for one in fields_of(ThreadRecord)}
_FIXED = {"id", "user_id"}


class SqlThreadStore:
    """`ports.ThreadStore` on a database."""

    def __init__(self, database: Database, clock: Clock, files: SqlFileStore) -> None:
        self._database = database
        self._clock = clock
        self._files = files

    async def create_thread(self, thread: ThreadRecord) -> ThreadRecord:
        """Also raises `Conflict` where a thread with this id was deleted."""
        return await self._database.write(lambda c: _create(c, thread))

    async def thread(self, thread_id: str) -> ThreadRecord | None:
        return await self._database.read(lambda c: _one(c, thread_id))

    async def update_thread(self, thread_id: str, **fields: Any) -> ThreadRecord:
        """Raises `NotFound`."""
        if unknown := fields.keys() - (_FIELDS - _FIXED):
            raise TypeError(f"not a field that can be changed: {', '.join(sorted(unknown))}")
        return await self._database.write(lambda c: _update(c, thread_id, _columns(fields)))

    async def threads(
        self, user_id: str, *, cursor: str | None, limit: int, search: str | None = None
    ) -> tuple[Sequence[ThreadRecord], str | None]:
        before = decode_cursor(cursor)
        return await self._database.read(lambda c: _page(c, user_id, before, limit, search))

    async def delete_thread(self, thread_id: str) -> None:
        """Idempotent. What a hot log still writes to the thread's stream is dropped by the
        archive."""
        now = self._clock.now_ms()
        blobs = await self._database.write(lambda c: _delete(c, thread_id, now))
        await self._files.remove_blobs(blobs)


def _columns(fields: dict[str, Any]) -> dict[str, Any]:
    columns = dict(fields)
    if "metadata" in columns:
        columns["app_metadata"] = columns.pop("metadata")
    for name in ("title", "preview"):
        if columns.get(name):
            columns[name] = plain(columns[name])
    return columns


def _record(row: Row[Any]) -> ThreadRecord:
    values = dict(row._mapping)
    values["metadata"] = values.pop("app_metadata")
    del values["person_count"]
    return ThreadRecord(**values)


def _select() -> Any:
    # By key, so that a row names `app_metadata` and not the column's `metadata`.
    return select(*(column.label(column.key) for column in table.c))


def _one(connection: Connection, thread_id: str) -> ThreadRecord | None:
    row = connection.execute(_select().where(table.c.id == thread_id)).one_or_none()
    return None if row is None else _record(row)


def _create(connection: Connection, thread: ThreadRecord) -> ThreadRecord:
    gone = select(deleted_threads.c.id).where(deleted_threads.c.id == thread.id)
    if connection.scalar(gone) is not None:
        raise Conflict("this thread was deleted; its id cannot be used again")
    made = connection.execute(
        upsert(connection, table).on_conflict_do_nothing().returning(table.c.id),
        {**_columns(asdict(thread)), "person_count": 0},
    ).one_or_none()
    if made is not None:
        refresh_thread(connection, thread.id)
    found = _one(connection, thread.id)
    if found is None:
        raise Conflict("this thread is being deleted")
    if found.user_id != thread.user_id:
        raise Forbidden("this thread belongs to somebody else")
    return found


def _update(connection: Connection, thread_id: str, columns: dict[str, Any]) -> ThreadRecord:
    if columns:
        connection.execute(update(table).where(table.c.id == thread_id).values(columns))
    found = _one(connection, thread_id)
    if found is None:
        raise NotFound("there is no such thread")
    return found


def _is_listed() -> Any:
    """A person wrote there: by the stored messages, or by the title that the first message gave
    where the messages are archived later."""
    return or_(table.c.person_count > 0, table.c.title.is_not(None))


def _page(
    connection: Connection,
    user_id: str,
    before: tuple[int, str] | None,
    limit: int,
    search: str | None,
) -> tuple[list[ThreadRecord], str | None]:
    query = (
        _select()
        .where(table.c.user_id == user_id, _is_listed())
        .order_by(table.c.updated_at.desc(), table.c.id.desc())
        .limit(limit + 1)
    )
    if before is not None:
        at, thread_id = before
        query = query.where(
            or_(
                table.c.updated_at < at,
                (table.c.updated_at == at) & (table.c.id < thread_id),
            )
        )
    if search:
        query = query.where(_matches(plain(search)))
    rows = [_record(row) for row in connection.execute(query)]
    last = rows[limit - 1] if len(rows) > limit else None
    return rows[:limit], None if last is None else encode_cursor(last.updated_at, last.id)


def _matches(search: str) -> Any:
    """Title or text contains `search`, in any case; `%` and `_` are ordinary letters."""
    in_messages = (
        select(messages.c.id)
        .where(
            messages.c.stream == THREAD + table.c.id,
            messages.c.content.icontains(search, autoescape=True),
        )
        .exists()
    )
    return or_(table.c.title.icontains(search, autoescape=True), in_messages)


def _delete(connection: Connection, thread_id: str, now: int) -> list[str]:
    """Remove everything of a thread; gives back the blobs of its files."""
    stream = THREAD + thread_id
    connection.execute(
        upsert(connection, deleted_threads).on_conflict_do_nothing(),
        {"id": thread_id, "deleted_at": now},
    )
    connection.execute(delete(table).where(table.c.id == thread_id))
    for one in (events, messages, receipts):
        connection.execute(delete(one).where(one.c.stream == stream))
    connection.execute(
        update(streams)
        .where(streams.c.stream == stream)
        .values(
            erased=True,
            floor=streams.c.head,
            projected=streams.c.head,
            state=None,
            active_runs=0,
        )
    )
    connection.execute(delete(session_values).where(session_values.c.thread_id == thread_id))
    gone = delete(files).where(files.c.thread_id == thread_id).returning(files.c.blob)
    return list(connection.scalars(gone))
