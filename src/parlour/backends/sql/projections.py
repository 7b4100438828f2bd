"""The stored projection: a stream's state, its messages, and the thread list that is derived from
them.

For a stream named `thread:{id}` the row of that thread (when there is one) moves in the same
transaction: title and tags where the state has them, the preview, the counts and the time of the
last activity.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, func, or_, select, update

from parlour.backends.sql.engine import upsert
from parlour.backends.sql.schema import DAMAGED, streams, threads
from parlour.backends.sql.schema import messages as table
from parlour.core.streams import Position
from parlour.errors import ExpectationFailed
from parlour.ports import Projection, ProjectionChange

log = logging.getLogger(__name__)

THREAD = "thread:"
PERSON = "user"
"""The role of a person's messages."""

PREVIEW_LENGTH = 200


def load(connection: Connection, stream: str, window: int) -> Projection | None:
    row = connection.execute(select(streams).where(streams.c.stream == stream)).one_or_none()
    if row is None or row.state is None:
        return None
    state = row.state
    if state is DAMAGED:
        log.error("the stored state of %s is damaged; its messages are kept", stream)
        state = {}
    newest = messages(connection, stream, None, window)
    return Projection(Position(row.epoch, row.projected), state, newest[::-1])


def messages(
    connection: Connection, stream: str, before: int | None, limit: int
) -> list[Mapping[str, Any]]:
    """Newest first."""
    query = select(table.c.data).where(table.c.stream == stream)
    if before is not None:
        query = query.where(table.c.offset < before)
    query = query.order_by(table.c.offset.desc(), table.c.id.desc()).limit(limit)
    return [one for one in connection.scalars(query) if _is_whole(stream, one)]


def _is_whole(stream: str, data: Any) -> bool:
    """Skip and report a damaged message, so that the rest of the conversation can be read."""
    if data is DAMAGED:
        log.error("a stored message of %s is damaged", stream)
    return data is not DAMAGED


def lagging(connection: Connection, limit: int) -> list[str]:
    behind = or_(streams.c.head > streams.c.projected, streams.c.active_runs > 0)
    # Only conversations are projected; channels and users have their state elsewhere.
    behind &= streams.c.stream.startswith(THREAD)
    query = select(streams.c.stream).where(behind).order_by(streams.c.stream).limit(limit)
    return list(connection.scalars(query))


def store(connection: Connection, change: ProjectionChange) -> bool:
    """Compare `since`, then write. The comparison is the first statement's WHERE, so that two
    writers cannot both pass it."""
    row = connection.execute(
        select(streams).where(streams.c.stream == change.stream).with_for_update()
    ).one_or_none()
    if row is None or row.epoch != change.position.epoch or row.projected != change.since:
        return False
    if change.position.offset > row.head:
        raise ExpectationFailed("the projection is ahead of the archive", stream=change.stream)
    if row.erased:
        return False
    connection.execute(
        update(streams)
        .where(streams.c.stream == change.stream)
        .values(
            projected=change.position.offset, state=change.state, active_runs=change.active_runs
        )
    )
    growth = _growth(connection, change)
    _write_messages(connection, change)
    if change.stream.startswith(THREAD):
        _move_thread(connection, change, growth)
    return True


def _growth(connection: Connection, change: ProjectionChange) -> tuple[int, int]:
    """By how many messages, and by how many of persons, the stream is about to grow. Counting them
    all after every change would take longer with every message."""
    named = {*change.deletes, *(message["id"] for message in change.upserts)}
    if not named:
        return 0, 0
    query = select(table.c.id, table.c.role).where(
        table.c.stream == change.stream, table.c.id.in_(named)
    )
    before = {row.id: row.role for row in connection.execute(query)}
    after = {one: role for one, role in before.items() if one not in set(change.deletes)}
    after |= {message["id"]: message["role"] for message in change.upserts}
    persons = list(after.values()).count(PERSON) - list(before.values()).count(PERSON)
    return len(after) - len(before), persons


def _write_messages(connection: Connection, change: ProjectionChange) -> None:
    if change.deletes:
        connection.execute(
            delete(table).where(table.c.stream == change.stream, table.c.id.in_(change.deletes))
        )
    if not change.upserts:
        return
    statement = upsert(connection, table)
    fields = ("offset", "role", "author_id", "content", "data", "created_at")
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[table.c.stream, table.c.id],
            set_={name: statement.excluded[name] for name in fields},
        ),
        [_message_row(change.stream, message) for message in change.upserts],
    )


def _message_row(stream: str, message: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "stream": stream,
        "id": message["id"],
        "offset": message["offset"],
        "role": message["role"],
        "author_id": (message.get("author") or {}).get("id"),
        "content": plain(message.get("content") or ""),
        "data": message,
        "created_at": message["created_at"],
    }


def plain(text: str) -> str:
    """Text as PostgreSQL can store it: it refuses NUL."""
    return text.replace("\0", "")


def _move_thread(connection: Connection, change: ProjectionChange, growth: tuple[int, int]) -> None:
    here = threads.c.id == change.stream.removeprefix(THREAD)
    row = connection.execute(select(threads).where(here).with_for_update()).one_or_none()
    if row is None:
        return
    active = [int(message.get("edited_at") or message["created_at"]) for message in change.upserts]
    values: dict[str, Any] = {
        "updated_at": max([row.updated_at, *active]),
        "message_count": row.message_count + growth[0],
        "person_count": row.person_count + growth[1],
    }
    if change.upserts or change.deletes:
        values["preview"] = _preview(connection, change.stream)
    if "title" in change.state:
        title = change.state["title"]
        values["title"] = None if title is None else plain(title)
    if "tags" in change.state:
        values["tags"] = list(change.state["tags"] or ())
    connection.execute(update(threads).where(here).values(values))


def _preview(connection: Connection, stream: str) -> str:
    """The beginning of the newest message that has a text."""
    newest = connection.scalar(
        select(func.substr(table.c.content, 1, PREVIEW_LENGTH * 4))
        .where(table.c.stream == stream, table.c.content != "")
        .order_by(table.c.offset.desc())
        .limit(1)
    )
    return " ".join((newest or "").split())[:PREVIEW_LENGTH]


def refresh_thread(connection: Connection, thread_id: str) -> None:
    """Bring a thread's row up to what its stream already holds: the row may have been made
    later."""
    stream = THREAD + thread_id
    counts = connection.execute(
        select(
            func.count().label("all"), func.count().filter(table.c.role == PERSON).label("person")
        ).where(table.c.stream == stream)
    ).one()
    values = {
        "message_count": counts.all,
        "person_count": counts.person,
        "preview": _preview(connection, stream),
    }
    if counts.all:
        connection.execute(update(threads).where(threads.c.id == thread_id).values(values))
