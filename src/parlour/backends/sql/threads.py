"""Threads: their rows, the list with its search, and deletion that leaves a tombstone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from dataclasses import fields as fields_of
from typing import Any

from sqlalchemy import Connection, delete, or_, select, update

from parlour.backends.sql.announcements import once
from parlour.backends.sql.cursors import decode_cursor
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
from parlour.backends.sql.thread_rows import (
    Before,
    find_thread,
    page_of,
    thread_record,
    thread_rows,
)
from parlour.backends.sql.thread_sharing import (
    delete_grants,
    find_access,
    find_sharing,
    share,
    shared_page,
)
from parlour.core.access import Right
from parlour.core.users import User
from parlour.errors import Conflict, Forbidden, NotFound
from parlour.ports import (
    Changed,
    Clock,
    SharedThread,
    ThreadAccess,
    ThreadRecord,
    ThreadSharing,
)

_FIELDS = {one.name for one in fields_of(ThreadRecord)}
_FIXED = {"id", "user_id", "shared"}


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
        return await self._database.read(lambda c: find_thread(c, thread_id))

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

    async def access(self, thread_id: str, user: User) -> ThreadAccess | None:
        return await self._database.read(lambda c: find_access(c, thread_id, user))

    async def sharing(self, thread_id: str) -> ThreadSharing | None:
        return await self._database.read(lambda c: find_sharing(c, thread_id))

    async def share(
        self,
        thread_id: str,
        grants: Mapping[str, Right | None],
        actor: User,
        *,
        replace: bool,
        at: int,
        command_id: str | None = None,
    ) -> Changed:
        key = None if command_id is None else f"{actor.id}:{thread_id}:{command_id}"

        def unit(connection: Connection) -> Changed:
            def do() -> Changed:
                return share(
                    connection, thread_id, grants, actor, replace=replace, at=at, cause=command_id
                )

            return once(connection, key, at, do)

        return await self._database.write(unit)

    async def shared_threads(
        self, user: User, *, cursor: str | None, limit: int, search: str | None = None
    ) -> tuple[Sequence[SharedThread], str | None]:
        before = decode_cursor(cursor)
        return await self._database.read(lambda c: shared_page(c, user, before, limit, search))

    async def delete_thread(self, thread_id: str) -> None:
        """Idempotent. What a hot log still writes to the thread's stream is dropped by the
        archive."""
        now = self._clock.now_ms()
        blobs = await self._database.write(lambda c: _delete(c, thread_id, now))
        await self._files.remove_blobs(blobs)


def _columns(fields: dict[str, Any]) -> dict[str, Any]:
    columns = {name: value for name, value in fields.items() if name != "shared"}
    if "metadata" in columns:
        columns["app_metadata"] = columns.pop("metadata")
    for name in ("title", "preview"):
        if columns.get(name):
            columns[name] = plain(columns[name])
    return columns


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
    found = find_thread(connection, thread.id)
    if found is None:
        raise Conflict("this thread is being deleted")
    if found.user_id != thread.user_id:
        raise Forbidden("this thread belongs to somebody else")
    return found


def _update(connection: Connection, thread_id: str, columns: dict[str, Any]) -> ThreadRecord:
    if columns:
        connection.execute(update(table).where(table.c.id == thread_id).values(columns))
    found = find_thread(connection, thread_id)
    if found is None:
        raise NotFound("there is no such thread")
    return found


def _is_listed() -> Any:
    """A person wrote there: by the stored messages, or by the title that the first message gave
    where the messages are archived later."""
    return or_(table.c.person_count > 0, table.c.title.is_not(None))


def _page(
    connection: Connection, user_id: str, before: Before, limit: int, search: str | None
) -> tuple[list[ThreadRecord], str | None]:
    query = thread_rows().where(table.c.user_id == user_id, _is_listed())
    rows, following = page_of(connection, query, before, limit, search)
    return [thread_record(row) for row in rows], following


def _delete(connection: Connection, thread_id: str, now: int) -> list[str]:
    """Remove everything of a thread; gives back the blobs of its files."""
    stream = THREAD + thread_id
    connection.execute(
        upsert(connection, deleted_threads).on_conflict_do_nothing(),
        {"id": thread_id, "deleted_at": now},
    )
    connection.execute(delete(table).where(table.c.id == thread_id))
    delete_grants(connection, thread_id)
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
