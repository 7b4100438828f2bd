"""What is read of channels: lists with unread counts, pages by number, search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, and_, case, func, or_, select

from parlour.backends.sql.channel_rows import (
    Wire,
    channel_row,
    channel_wires,
    message_row,
    message_wire,
    message_wires,
)
from parlour.backends.sql.channel_schema import (
    channel_files,
    channel_follows,
    channel_members,
    channel_mentions,
    channel_messages,
    channels,
    grants,
)
from parlour.backends.sql.channel_work import standing
from parlour.backends.sql.projections import plain
from parlour.backends.sql.schema import users
from parlour.core.access import Kind, principals_of
from parlour.core.channels import ChannelKind, Standing
from parlour.core.users import User
from parlour.ports import ChannelPage

# -- channels --------------------------------------------------------------------------------------


def find_standing(connection: Connection, channel_id: str, user: User) -> Standing | None:
    row = channel_row(connection, channel_id)
    return None if row is None else standing(connection, row, user)


def ids_of(connection: Connection, user_id: str) -> list[str]:
    query = select(channel_members.c.channel_id).where(channel_members.c.user_id == user_id)
    return list(connection.scalars(query.order_by(channel_members.c.channel_id)))


def members_of_any(connection: Connection, user_ids: Sequence[str]) -> list[str]:
    query = select(channel_members.c.user_id).where(channel_members.c.user_id.in_(user_ids))
    return list(connection.scalars(query.distinct()))


def channels_of(
    connection: Connection, user_id: str, channel_ids: Sequence[str] | None = None
) -> list[Wire]:
    """Every channel of a user, newest activity first, with what the user has not read."""
    query = (
        select(
            channels,
            channel_members.c.role,
            channel_members.c.muted,
            channel_members.c.read_seq,
            channel_members.c.joined_at,
        )
        .join(channel_members, channel_members.c.channel_id == channels.c.id)
        .where(channel_members.c.user_id == user_id, channels.c.deleted_at.is_(None))
        .order_by(
            func.coalesce(channels.c.last_message_at, channels.c.created_at).desc(), channels.c.id
        )
    )
    if channel_ids is not None:
        query = query.where(channels.c.id.in_(list(channel_ids)))
    rows = connection.execute(query).all()
    unread = unread_of(connection, user_id, channel_ids)
    wires = channel_wires(connection, rows)
    for wire, row in zip(wires, rows, strict=True):
        count, mentioned = unread.get(row.id, (0, 0))
        wire["membership"] = {
            "role": row.role,
            "muted": row.muted,
            "read_seq": row.read_seq,
            "joined_at": row.joined_at,
        }
        wire["unread"] = count
        wire["unread_mentions"] = mentioned
    return [dict(wire) for wire in wires]


def unread_of(
    connection: Connection, user_id: str, channel_ids: Sequence[str] | None = None
) -> dict[str, tuple[int, int]]:
    """(unread, of these mentioning the user) per channel; `core.channels.is_unread` in SQL."""
    said, me = channel_messages, channel_members
    mentioned = (
        select(channel_mentions.c.user_id)
        .where(channel_mentions.c.message_id == said.c.id, channel_mentions.c.user_id == user_id)
        .exists()
    )
    follows = (
        select(channel_follows.c.user_id)
        .where(
            channel_follows.c.message_id == said.c.parent_id,
            channel_follows.c.user_id == user_id,
        )
        .exists()
    )
    query = (
        select(said.c.channel_id, func.count(), func.sum(case((mentioned, 1), else_=0)))
        .join(me, and_(me.c.channel_id == said.c.channel_id, me.c.user_id == user_id))
        .where(
            said.c.seq > me.c.read_seq,
            said.c.author_id != user_id,
            said.c.deleted_at.is_(None),
            or_(said.c.parent_id.is_(None), follows, mentioned),
        )
        .group_by(said.c.channel_id)
    )
    if channel_ids is not None:
        query = query.where(said.c.channel_id.in_(list(channel_ids)))
    return {row[0]: (int(row[1]), int(row[2])) for row in connection.execute(query)}


def channel_of(connection: Connection, channel_id: str, user: User) -> Wire | None:
    """One channel as this user sees it; `membership` is None for somebody who only has a grant."""
    mine = channels_of(connection, user.id, [channel_id])
    if mine:
        return mine[0]
    row = channel_row(connection, channel_id)
    if row is None or not standing(connection, row, user).reads:
        return None
    return {**channel_wires(connection, [row])[0], "membership": None, "unread": 0}


def open_channels(
    connection: Connection, user: User, after: str | None, limit: int, search: str | None
) -> ChannelPage:
    """Standard channels that the user may read, by id."""
    allowed = (
        select(grants.c.principal)
        .where(
            grants.c.kind == Kind.CHANNEL.value,
            grants.c.subject_id == channels.c.id,
            grants.c.principal.in_(principals_of(user)),
        )
        .exists()
    )
    query = (
        select(channels)
        .where(channels.c.kind == ChannelKind.STANDARD.value, channels.c.deleted_at.is_(None))
        .order_by(channels.c.id)
        .limit(limit + 1)
    )
    if not user.is_admin:
        query = query.where(allowed)
    if after is not None:
        query = query.where(channels.c.id > after)
    if search:
        query = query.where(channels.c.name_search.icontains(plain(search), autoescape=True))
    rows = connection.execute(query).all()
    return _page(channel_wires(connection, rows[:limit]), len(rows) > limit)


# -- members ---------------------------------------------------------------------------------------


def members(connection: Connection, channel_id: str, after: str | None, limit: int) -> ChannelPage:
    query = (
        select(channel_members, users.c.name)
        .join(users, users.c.id == channel_members.c.user_id)
        .where(channel_members.c.channel_id == channel_id)
        .order_by(channel_members.c.user_id)
        .limit(limit + 1)
    )
    if after is not None:
        query = query.where(channel_members.c.user_id > after)
    rows = connection.execute(query).all()
    found = [
        {
            "user": {"id": row.user_id, "name": row.name},
            "role": row.role,
            "joined_at": row.joined_at,
        }
        for row in rows[:limit]
    ]
    return _page(found, len(rows) > limit)


def among(connection: Connection, channel_id: str, user_ids: Sequence[str]) -> list[str]:
    query = select(channel_members.c.user_id).where(
        channel_members.c.channel_id == channel_id, channel_members.c.user_id.in_(list(user_ids))
    )
    return list(connection.scalars(query))


# -- messages --------------------------------------------------------------------------------------


def messages(
    connection: Connection,
    channel_id: str,
    parent_id: str | None,
    before: int | None,
    after: int | None,
    limit: int,
) -> ChannelPage:
    """By number, so that a page neither skips nor repeats while others write."""
    said = channel_messages
    here = said.c.parent_id.is_(None) if parent_id is None else said.c.parent_id == parent_id
    query = select(said).where(said.c.channel_id == channel_id, here, _is_shown())
    return _numbered(connection, query, before, after, limit)


def search(
    connection: Connection, channel_id: str, text: str, before: int | None, limit: int
) -> ChannelPage:
    """Messages and replies that contain a text, in any case; `%` and `_` are ordinary letters."""
    said = channel_messages
    query = select(said).where(
        said.c.channel_id == channel_id,
        said.c.deleted_at.is_(None),
        said.c.search.icontains(plain(text), autoescape=True),
    )
    return _numbered(connection, query, before, None, limit)


def pins(connection: Connection, channel_id: str, before: int | None, limit: int) -> ChannelPage:
    said = channel_messages
    query = select(said).where(said.c.channel_id == channel_id, said.c.pinned_at.is_not(None))
    return _numbered(connection, query, before, None, limit)


def message(connection: Connection, channel_id: str, message_id: str) -> Wire | None:
    row = message_row(connection, channel_id, message_id)
    return None if row is None else dict(message_wire(connection, row))


def channel_ids_of_file(connection: Connection, file_id: str) -> list[str]:
    query = select(channel_files.c.channel_id).where(channel_files.c.file_id == file_id).distinct()
    return list(connection.scalars(query))


def _is_shown() -> Any:
    """A deleted message keeps its place while it has replies."""
    return or_(channel_messages.c.deleted_at.is_(None), channel_messages.c.reply_count > 0)


def _numbered(
    connection: Connection, query: Any, before: int | None, after: int | None, limit: int
) -> ChannelPage:
    """Oldest first: the newest `limit` below `before`, or the oldest `limit` above `after`."""
    seq = channel_messages.c.seq
    if before is not None:
        query = query.where(seq < before)
    if after is not None:
        query = query.where(seq > after)
    forward = after is not None
    ordered = query.order_by(seq if forward else seq.desc()).limit(limit + 1)
    rows = connection.execute(ordered).all()
    shown = rows[:limit] if forward else rows[:limit][::-1]
    return _page(message_wires(connection, shown), len(rows) > limit)


def _page(items: Sequence[Mapping[str, Any]], more: bool) -> ChannelPage:
    return ChannelPage(items, more)
