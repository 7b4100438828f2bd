"""The stored projection: a stream's state, its messages, and the thread list that is derived from
them.

For a stream named `thread:{id}` the row of that thread (when there is one) moves in the same
transaction: title and tags where the state has them, the preview, the counts and the time of the
last activity.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Text,
    bindparam,
    delete,
    func,
    literal_column,
    or_,
    select,
    update,
)

from parlour.backends.sql.schema import DAMAGED, encode_json, streams, threads
from parlour.backends.sql.schema import messages as table
from parlour.backends.sql.statements import Insertion, Statement, Values
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


_MOVE = Statement(
    ["of", "at_epoch", "since", "new_projected", "new_state", "new_runs"],
    lambda insert: (
        update(streams)
        .where(
            streams.c.stream == bindparam("of"),
            streams.c.epoch == bindparam("at_epoch"),
            streams.c.projected == bindparam("since"),
            streams.c.head >= bindparam("new_projected"),
            ~streams.c.erased,
        )
        .values(
            projected=bindparam("new_projected"),
            state=bindparam("new_state", type_=Text),
            active_runs=bindparam("new_runs"),
        )
    ),
)
_STAND = Statement(
    ["name"],
    lambda insert: select(streams.c.epoch, streams.c.projected, streams.c.head).where(
        streams.c.stream == bindparam("name")
    ),
)


def store(connection: Connection, change: ProjectionChange) -> bool:
    """Compare `since`, then write. The comparison is the first statement's WHERE, so that two
    writers cannot both pass it."""
    epoch, offset = change.position
    moved = _MOVE.change(
        connection,
        change.stream,
        epoch,
        change.since,
        offset,
        encode_json(change.state),
        change.active_runs,
    )
    if not moved:
        _refuse_the_future(connection, change)
        return False
    growth = _growth(connection, change)
    _write_messages(connection, change)
    if change.stream.startswith(THREAD):
        _move_thread(connection, change, growth)
    return True


def _refuse_the_future(connection: Connection, change: ProjectionChange) -> None:
    found = _STAND.find(connection, change.stream)
    here = (change.position.epoch, change.since)
    if found is not None and found[:2] == here and change.position.offset > found[2]:
        raise ExpectationFailed("the projection is ahead of the archive", stream=change.stream)


_ROLES = select(table.c.id, table.c.role).where(
    table.c.stream == bindparam("name"), table.c.id.in_(bindparam("ids", expanding=True))
)


def _growth(connection: Connection, change: ProjectionChange) -> tuple[int, int]:
    """By how many messages, and by how many of persons, the stream is about to grow. Counting them
    all after every change would take longer with every message."""
    named = {*change.deletes, *(message["id"] for message in change.upserts)}
    if not named:
        return 0, 0
    rows = connection.execute(_ROLES, {"name": change.stream, "ids": list(named)})
    before = {row.id: row.role for row in rows}
    after = {one: role for one, role in before.items() if one not in set(change.deletes)}
    after |= {message["id"]: message["role"] for message in change.upserts}
    persons = list(after.values()).count(PERSON) - list(before.values()).count(PERSON)
    return len(after) - len(before), persons


def _upsertion(insert: Any) -> Any:
    statement = insert(table)
    fields = ("offset", "role", "author_id", "content", "data", "created_at")
    return statement.on_conflict_do_update(
        index_elements=[table.c.stream, table.c.id],
        set_={name: statement.excluded[name] for name in fields},
    )


_UPSERT = Insertion([column.key for column in table.c], _upsertion)


def _write_messages(connection: Connection, change: ProjectionChange) -> None:
    if change.deletes:
        connection.execute(
            delete(table).where(table.c.stream == change.stream, table.c.id.in_(change.deletes))
        )
    _UPSERT.run(connection, [_message_values(change.stream, message) for message in change.upserts])


def _message_values(stream: str, message: Mapping[str, Any]) -> Values:
    return (
        stream,
        message["id"],
        message["offset"],
        message["role"],
        (message.get("author") or {}).get("id"),
        plain(message.get("content") or ""),
        encode_json(message),
        message["created_at"],
    )


def plain(text: str) -> str:
    """Text as PostgreSQL can store it: it refuses NUL."""
    return text.replace("\0", "")


class _Listed(NamedTuple):
    """What a thread's row shows of its stream. `tags` are JSON."""

    title: str | None
    tags: str
    updated_at: int
    preview: str
    message_count: int
    person_count: int


_LISTED = Statement(
    ["name"],
    lambda insert: (
        select(*(threads.c[name] for name in _Listed._fields))
        .where(threads.c.id == bindparam("name"))
        .with_for_update()
    ),
)
_LIST = Statement(
    ["of", *(f"new_{name}" for name in _Listed._fields)],
    lambda insert: (
        update(threads)
        .where(threads.c.id == bindparam("of"))
        .values({name: bindparam(f"new_{name}") for name in _Listed._fields})
    ),
)


def _move_thread(connection: Connection, change: ProjectionChange, growth: tuple[int, int]) -> None:
    thread_id = change.stream.removeprefix(THREAD)
    found = _LISTED.find(connection, thread_id)
    if found is None:
        return
    listed = _Listed(*found)
    active = [int(message.get("edited_at") or message["created_at"]) for message in change.upserts]
    moved = listed._replace(
        updated_at=max([listed.updated_at, *active]),
        message_count=listed.message_count + growth[0],
        person_count=listed.person_count + growth[1],
    )
    if change.upserts or change.deletes:
        moved = moved._replace(preview=_preview(connection, change.stream))
    if "title" in change.state:
        title = change.state["title"]
        moved = moved._replace(title=None if title is None else plain(title))
    if "tags" in change.state:
        moved = moved._replace(tags=encode_json(list(change.state["tags"] or ())))
    if moved != listed:
        _LIST.change(connection, thread_id, *moved)


_NEWEST_TEXT = Statement(
    ["name"],
    lambda insert: (
        select(
            func.substr(
                table.c.content, literal_column("1"), literal_column(str(PREVIEW_LENGTH * 4))
            )
        )
        .where(table.c.stream == bindparam("name"), table.c.content != literal_column("''"))
        .order_by(table.c.offset.desc())
        .limit(literal_column("1"))
        # Said, because SQLite's dialect would say it with a parameter.
        .offset(literal_column("0"))
    ),
)


def _preview(connection: Connection, stream: str) -> str:
    """The beginning of the newest message that has a text."""
    newest = _NEWEST_TEXT.find(connection, stream)
    return " ".join((newest[0] if newest else "").split())[:PREVIEW_LENGTH]


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
