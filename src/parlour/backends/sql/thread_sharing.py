"""Who may use a thread: its grants, changed together with the announcements that tell of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import Connection, and_, case, delete, func, insert, select

from parlour.backends.sql.announcements import announce
from parlour.backends.sql.channel_schema import grants
from parlour.backends.sql.projections import THREAD
from parlour.backends.sql.schema import threads as table
from parlour.backends.sql.schema import users
from parlour.backends.sql.thread_rows import (
    Before,
    find_thread,
    page_of,
    thread_record,
    thread_rows,
)
from parlour.core.access import Kind, Right, is_principal, principals_of, users_of
from parlour.core.users import User
from parlour.errors import InvalidPayload, NotFound, TooLarge
from parlour.ports import (
    GRANTS,
    Changed,
    SharedThread,
    ThreadAccess,
    ThreadSharing,
)
from parlour.wire.records import ThreadRow
from parlour.wire.told import CHAT_ACCESS, THREAD_SHARED, THREAD_UNSHARED

KIND = Kind.THREAD.value
_WRITES = func.max(case((grants.c.write, 1), else_=0)).label("writes")


def find_access(connection: Connection, thread_id: str, user: User) -> ThreadAccess | None:
    """In one query, since it is asked before each command of a guest."""
    mine = and_(
        grants.c.kind == KIND,
        grants.c.subject_id == table.c.id,
        grants.c.principal.in_(principals_of(user)),
    )
    rows = connection.execute(
        select(table.c.user_id, grants.c.principal, grants.c.write)
        .select_from(table.outerjoin(grants, mine))
        .where(table.c.id == thread_id)
    ).all()
    if not rows:
        return None
    right: Right | None = None if rows[0].principal is None else "read"
    if any(row.write for row in rows):
        right = "write"
    return ThreadAccess(rows[0].user_id, right)


def find_sharing(connection: Connection, thread_id: str) -> ThreadSharing | None:
    row = connection.execute(
        select(table.c.user_id, users.c.name)
        .select_from(table.outerjoin(users, users.c.id == table.c.user_id))
        .where(table.c.id == thread_id)
    ).one_or_none()
    if row is None:
        return None
    given = _grants(connection, thread_id)
    people = _names(connection, users_of(given))
    return ThreadSharing(row.user_id, row.name or "", given, people)


def shared_page(
    connection: Connection, user: User, before: Before, limit: int, search: str | None
) -> tuple[list[SharedThread], str | None]:
    mine = (
        select(grants.c.subject_id, _WRITES)
        .where(grants.c.kind == KIND, grants.c.principal.in_(principals_of(user)))
        .group_by(grants.c.subject_id)
        .subquery()
    )
    query = (
        thread_rows()
        .add_columns(users.c.name.label("owner_name"), mine.c.writes)
        .select_from(
            table.join(mine, mine.c.subject_id == table.c.id).outerjoin(
                users, users.c.id == table.c.user_id
            )
        )
        .where(table.c.user_id != user.id)
    )
    rows, following = page_of(connection, query, before, limit, search)
    found = [
        SharedThread(thread_record(row), row.owner_name or "", "write" if row.writes else "read")
        for row in rows
    ]
    return found, following


def delete_grants(connection: Connection, thread_id: str) -> None:
    connection.execute(
        delete(grants).where(grants.c.kind == KIND, grants.c.subject_id == thread_id)
    )


# -- changing --------------------------------------------------------------------------------------


def share(
    connection: Connection,
    thread_id: str,
    wanted: Mapping[str, Right | None],
    actor: User,
    *,
    replace: bool,
    at: int,
    cause: str | None,
) -> Changed:
    """Within a transaction; see `ports.ThreadStore.share`."""
    owner_id = connection.scalar(
        select(table.c.user_id).where(table.c.id == thread_id).with_for_update()
    )
    if owner_id is None:
        raise NotFound("There is no conversation with this id.")
    before = _grants(connection, thread_id)
    after = _changed(before, wanted, owner_id, replace=replace)
    told: list[tuple[str, str]] = []
    if after != before:
        _check_people(connection, users_of(after.keys() - before.keys()))
        _write(connection, thread_id, after)
        told = _tell(connection, thread_id, before, after, actor, at, cause)
    return Changed(_answer(connection, thread_id, after), told)


def _changed(
    before: Mapping[str, Right],
    wanted: Mapping[str, Right | None],
    owner_id: str,
    *,
    replace: bool,
) -> dict[str, Right]:
    for principal, right in wanted.items():
        if not is_principal(principal) or right not in ("read", "write", None):
            raise InvalidPayload(
                "A grant is for everyone, role:{role} or user:{id}, and is read or write.",
                field="grants",
            )
        if principal == f"user:{owner_id}":
            raise InvalidPayload("The owner needs no grant.", field="grants")
    merged = {**({} if replace else before), **wanted}
    after = {principal: right for principal, right in merged.items() if right is not None}
    if len(after) > GRANTS:
        raise TooLarge(f"A conversation has at most {GRANTS} grants.", limit=GRANTS)
    return after


def _check_people(connection: Connection, user_ids: list[str]) -> None:
    """Whoever is named now has to be there; one who is gone keeps what was given before."""
    found = connection.scalars(
        select(users.c.id).where(users.c.id.in_(user_ids), users.c.disabled.is_(False))
    )
    if len(list(found)) != len(user_ids):
        raise NotFound("There is no such user.")


def _write(connection: Connection, thread_id: str, after: Mapping[str, Right]) -> None:
    delete_grants(connection, thread_id)
    rows = [
        {
            "kind": KIND,
            "subject_id": thread_id,
            "principal": principal,
            "read": True,
            "write": right == "write",
        }
        for principal, right in after.items()
    ]
    if rows:
        connection.execute(insert(grants), rows)


def _tell(
    connection: Connection,
    thread_id: str,
    before: Mapping[str, Right],
    after: Mapping[str, Right],
    actor: User,
    at: int,
    cause: str | None,
) -> list[tuple[str, str]]:
    """The conversation first: who lost access hears nothing more of it when the person is told so."""
    by = actor.author()
    source = f"user:{actor.id}"
    lost = users_of(before.keys() - after.keys())
    news: list[tuple[str, str, Mapping[str, Any]]] = [
        (THREAD + thread_id, *CHAT_ACCESS({"by": by})),
        *((f"user:{one}", *THREAD_UNSHARED({"id": thread_id, "by": by})) for one in lost),
    ]
    thread = find_thread(connection, thread_id)
    sharing = find_sharing(connection, thread_id)
    assert thread is not None  # this transaction has it locked
    assert sharing is not None
    for user_id in users_of(after):
        right = after[f"user:{user_id}"]
        known = before.get(f"user:{user_id}")
        if right != known:
            listed = SharedThread(thread, sharing.owner_name, right).listed()
            row = cast(ThreadRow, listed)
            shared = THREAD_SHARED({"thread": row, "by": by, "new": known is None})
            news.append((f"user:{user_id}", *shared))
    return [
        announce(connection, stream, [(type, data)], source=source, cause=cause, at=at)
        for stream, type, data in news
    ]


def _answer(connection: Connection, thread_id: str, given: Mapping[str, Right]) -> dict[str, Any]:
    sharing = find_sharing(connection, thread_id)
    assert sharing is not None  # this transaction has it locked
    return {
        "thread_id": thread_id,
        "owner": {"id": sharing.owner_id, "name": sharing.owner_name},
        "grants": dict(given),
        "people": dict(sharing.people),
    }


def _grants(connection: Connection, thread_id: str) -> dict[str, Right]:
    query = (
        select(grants.c.principal, grants.c.write)
        .where(grants.c.kind == KIND, grants.c.subject_id == thread_id)
        .order_by(grants.c.principal)
    )
    return {row.principal: "write" if row.write else "read" for row in connection.execute(query)}


def _names(connection: Connection, user_ids: list[str]) -> dict[str, str]:
    query = select(users.c.id, users.c.name).where(users.c.id.in_(user_ids))
    return {row.id: row.name for row in connection.execute(query)} if user_ids else {}
