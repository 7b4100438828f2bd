"""Channels, members and messages as they travel: rows to JSON objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection, Row, func, select

from parlour.backends.sql.channel_schema import (
    channel_members,
    channel_messages,
    channel_reactions,
    channels,
)
from parlour.backends.sql.schema import DAMAGED, users
from parlour.core.channels import ChannelKind
from parlour.wire.records import ChannelInfo, ChannelMessage, Person, Reaction

Wire = dict[str, Any]

REACTED_SHOWN = 100
"""Users that are named under one reaction; `count` counts all."""


def channel_wire(connection: Connection, row: Row[Any]) -> ChannelInfo:
    """A channel; a direct one says who is in it, because it has no other name."""
    return channel_wires(connection, [row])[0]


def channel_wires(connection: Connection, rows: Sequence[Row[Any]]) -> list[ChannelInfo]:
    direct = [row.id for row in rows if row.kind == ChannelKind.DIRECT]
    people = _people(connection, direct)
    wires = []
    for row in rows:
        wire: ChannelInfo = {
            "id": row.id,
            "kind": row.kind,
            "name": row.name,
            "description": row.description,
            "data": {} if row.data is DAMAGED else row.data,
            "created_by": row.created_by,
            "created_at": row.created_at,
            "updated_at": row.updated_at,
            "member_count": row.member_count,
            "last_message_at": row.last_message_at,
        }
        if row.kind == ChannelKind.DIRECT:
            wire["members"] = people[row.id]
        wires.append(wire)
    return wires


def _people(connection: Connection, channel_ids: Sequence[str]) -> dict[str, list[Person]]:
    found: dict[str, list[Person]] = defaultdict(list)
    if channel_ids:
        query = (
            select(channel_members.c.channel_id, users.c.id, users.c.name)
            .join(users, users.c.id == channel_members.c.user_id)
            .where(channel_members.c.channel_id.in_(channel_ids))
            .order_by(users.c.id)
        )
        for channel_id, user_id, name in connection.execute(query):
            found[channel_id].append({"id": user_id, "name": name})
    return found


def channel_row(connection: Connection, channel_id: str, *, lock: bool = False) -> Row[Any] | None:
    """The row of a channel that exists."""
    query = select(channels).where(channels.c.id == channel_id, channels.c.deleted_at.is_(None))
    return connection.execute(query.with_for_update() if lock else query).one_or_none()


def message_row(connection: Connection, channel_id: str, message_id: str) -> Row[Any] | None:
    """The row of a message, deleted or not."""
    query = select(channel_messages).where(
        channel_messages.c.id == message_id, channel_messages.c.channel_id == channel_id
    )
    return connection.execute(query).one_or_none()


def message_wire(connection: Connection, row: Row[Any]) -> ChannelMessage:
    return message_wires(connection, [row])[0]


def message_wires(connection: Connection, rows: Sequence[Row[Any]]) -> list[ChannelMessage]:
    """Messages with their reactions, in the order given. A deleted one is empty but for its
    place."""
    reactions = reactions_of(connection, [row.id for row in rows])
    return [_message(row, reactions.get(row.id, [])) for row in rows]


def fresh_message_wire(values: Wire) -> ChannelMessage:
    """A message as it was just written, without reading it again."""
    columns = dict.fromkeys(channel_messages.c.keys())
    return _message(SimpleNamespace(**{**columns, **values}), [])


def _message(row: Any, reactions: list[Reaction]) -> ChannelMessage:
    gone = row.deleted_at is not None
    return {
        "id": row.id,
        "channel_id": row.channel_id,
        "seq": row.seq,
        "author": {"id": row.author_id, "name": row.author_name},
        "content": "" if gone or row.content is DAMAGED else row.content,
        "data": None if gone or row.data is DAMAGED else row.data,
        "files": [] if gone or row.files is DAMAGED else row.files,
        "mentions": [] if gone or row.mentions is DAMAGED else row.mentions,
        "parent_id": row.parent_id,
        "reply_to_id": row.reply_to_id,
        "created_at": row.created_at,
        "edited_at": row.edited_at,
        "deleted_at": row.deleted_at,
        "reply_count": row.reply_count,
        "last_reply_at": row.last_reply_at,
        "pinned_at": row.pinned_at,
        "pinned_by": row.pinned_by,
        "reactions": [] if gone else reactions,
    }


def reactions_of(connection: Connection, message_ids: Iterable[str]) -> dict[str, list[Reaction]]:
    """`[{emoji, count, user_ids}]` of each message, the oldest reaction first."""
    wanted = list(message_ids)
    if not wanted:
        return {}
    table = channel_reactions
    place = func.row_number().over(
        partition_by=(table.c.message_id, table.c.emoji), order_by=(table.c.at, table.c.user_id)
    )
    count = func.count().over(partition_by=(table.c.message_id, table.c.emoji))
    first = func.min(table.c.at).over(partition_by=(table.c.message_id, table.c.emoji))
    numbered = (
        select(
            table.c.message_id,
            table.c.emoji,
            table.c.user_id,
            place.label("place"),
            count.label("total"),
            first.label("first"),
        )
        .where(table.c.message_id.in_(wanted))
        .subquery()
    )
    query = (
        select(numbered)
        .where(numbered.c.place <= REACTED_SHOWN)
        .order_by(numbered.c.first, numbered.c.emoji, numbered.c.place)
    )
    found: dict[str, dict[str, Reaction]] = defaultdict(dict)
    for row in connection.execute(query):
        entry = found[row.message_id].setdefault(
            row.emoji, {"emoji": row.emoji, "count": row.total, "user_ids": []}
        )
        entry["user_ids"].append(row.user_id)
    return {message_id: list(entries.values()) for message_id, entries in found.items()}
