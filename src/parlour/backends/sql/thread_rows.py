"""The rows of threads: how they are read, searched and paged."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, or_, select
from sqlalchemy.engine import Row

from parlour.backends.sql.channel_schema import grants
from parlour.backends.sql.cursors import encode_cursor
from parlour.backends.sql.projections import THREAD, plain
from parlour.backends.sql.schema import messages
from parlour.backends.sql.schema import threads as table
from parlour.core.access import Kind
from parlour.ports import ThreadRecord

Before = tuple[int, str] | None
"""Time and id of the last row that was given."""


def thread_rows() -> Select[Any]:
    """Every column, and whether the thread is shared."""
    # By key, so that a row names `app_metadata` and not the column's `metadata`.
    shared = (
        select(grants.c.principal)
        .where(grants.c.kind == Kind.THREAD.value, grants.c.subject_id == table.c.id)
        .exists()
    )
    return select(*(column.label(column.key) for column in table.c), shared.label("shared"))


def thread_record(row: Row[Any]) -> ThreadRecord:
    values = {column.key: row._mapping[column.key] for column in table.c}
    values["metadata"] = values.pop("app_metadata")
    del values["person_count"]
    return ThreadRecord(**values, shared=bool(row.shared))


def find_thread(connection: Connection, thread_id: str) -> ThreadRecord | None:
    row = connection.execute(thread_rows().where(table.c.id == thread_id)).one_or_none()
    return None if row is None else thread_record(row)


def page_of(
    connection: Connection, query: Select[Any], before: Before, limit: int, search: str | None
) -> tuple[list[Row[Any]], str | None]:
    """Newest activity first, and the cursor of what follows."""
    query = query.order_by(table.c.updated_at.desc(), table.c.id.desc()).limit(limit + 1)
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
    rows = list(connection.execute(query))
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
