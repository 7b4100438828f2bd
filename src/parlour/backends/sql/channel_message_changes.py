"""Changes of a channel's messages, each inside its transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, delete, func, select, update

from parlour.backends.sql.announcements import NewData
from parlour.backends.sql.channel_rows import (
    Wire,
    fresh_message_wire,
    message_row,
    message_wire,
    reactions_of,
)
from parlour.backends.sql.channel_schema import (
    channel_files,
    channel_follows,
    channel_mentions,
    channel_messages,
    channel_reactions,
    channels,
)
from parlour.backends.sql.channel_work import Work
from parlour.backends.sql.engine import upsert
from parlour.backends.sql.projections import plain
from parlour.core.channels import (
    REACTION_LENGTH,
    REACTIONS_PER_MESSAGE,
    Act,
    DeleteMessage,
    EditMessage,
    Pin,
    PostMessage,
    React,
    mentions,
    permits,
)
from parlour.errors import Forbidden, InvalidPayload, TooLarge
from parlour.wire.records import ChannelMessage
from parlour.wire.told import (
    CHANNEL_MESSAGE,
    CHANNEL_MESSAGE_DELETE,
    CHANNEL_MESSAGE_REPLY,
    CHANNEL_MESSAGE_UPDATE,
    REACTION_ADD,
    REACTION_REMOVE,
    ChannelMessageDeleted,
    Reacted,
    Replied,
)

# -- writing ---------------------------------------------------------------------------------------


def post(work: Work, change: PostMessage) -> Wire:
    """The message reaches the channel, and a reply the replies of its parent as well."""
    row, _ = work.lock(change.channel_id, Act.WRITE)
    parent = _parent(work, change)
    if change.reply_to_id is not None:
        work.message(row.id, change.reply_to_id)
    seq = row.last_seq + 1
    _count_message(work, row.id, seq)
    named = mentions(change.content)
    values = _values(work, change, seq, named)
    work.connection.execute(channel_messages.insert(), values)
    _note_mentions(work, row.id, change.message_id, named)
    for file in change.files:
        work.connection.execute(
            upsert(work.connection, channel_files).on_conflict_do_nothing(),
            {"file_id": file["id"], "message_id": change.message_id, "channel_id": row.id},
        )
    wire = fresh_message_wire(values)
    events: list[tuple[str | None, NewData]] = [(wire["id"], CHANNEL_MESSAGE(wire))]
    if parent is None:
        _follow(work, row.id, change.message_id, work.actor.id)
    else:
        events.append(_reply_event(work, row.id, parent, reply_id=change.message_id))
    work.tell_channel(row.id, *events)
    return {"message": wire}


def _count_message(work: Work, channel_id: str, seq: int) -> None:
    work.connection.execute(
        update(channels)
        .where(channels.c.id == channel_id)
        .values(last_seq=seq, last_message_at=work.at)
    )


def _values(work: Work, change: PostMessage, seq: int, named: tuple[str, ...]) -> Wire:
    return {
        "id": change.message_id,
        "channel_id": change.channel_id,
        "seq": seq,
        "author_id": work.actor.id,
        "author_name": plain(work.actor.name),
        "content": change.content,
        "search": plain(change.content),
        "data": None if change.data is None else dict(change.data),
        "files": [dict(file) for file in change.files],
        "mentions": list(named),
        "parent_id": change.parent_id,
        "reply_to_id": change.reply_to_id,
        "created_at": work.at,
        "reply_count": 0,
    }


def _parent(work: Work, change: PostMessage) -> Row[Any] | None:
    if change.parent_id is None:
        return None
    parent = work.message(change.channel_id, change.parent_id)
    if parent.parent_id is not None:
        raise InvalidPayload("A reply cannot have replies; reply to its parent.")
    return parent


def _reply_event(
    work: Work, channel_id: str, parent: Row[Any], *, reply_id: str | None
) -> tuple[str, NewData]:
    """Count the parent's replies again, and say so; a new reply's author takes part from now on."""
    replies = select(func.count(), func.max(channel_messages.c.created_at)).where(
        channel_messages.c.parent_id == parent.id, channel_messages.c.deleted_at.is_(None)
    )
    count, last = work.connection.execute(replies).one()
    work.connection.execute(
        update(channel_messages)
        .where(channel_messages.c.id == parent.id)
        .values(reply_count=count, last_reply_at=last)
    )
    if reply_id is not None:
        _follow(work, channel_id, parent.id, work.actor.id)
    told: Replied = {"parent": _shown(work, channel_id, parent.id), "reply_id": reply_id}
    return parent.id, CHANNEL_MESSAGE_REPLY(told)


def _follow(work: Work, channel_id: str, message_id: str, user_id: str) -> None:
    work.connection.execute(
        upsert(work.connection, channel_follows).on_conflict_do_nothing(),
        {"message_id": message_id, "user_id": user_id, "channel_id": channel_id},
    )


def _note_mentions(work: Work, channel_id: str, message_id: str, named: tuple[str, ...]) -> None:
    rows = [
        {"message_id": message_id, "user_id": plain(user_id), "channel_id": channel_id}
        for user_id in named
    ]
    if rows:
        work.connection.execute(
            upsert(work.connection, channel_mentions).on_conflict_do_nothing(), rows
        )


def _shown(work: Work, channel_id: str, message_id: str) -> ChannelMessage:
    row = message_row(work.connection, channel_id, message_id)
    assert row is not None  # this transaction wrote or locked it
    return message_wire(work.connection, row)


def edit(work: Work, change: EditMessage) -> Wire:
    row, _ = work.lock(change.channel_id, Act.WRITE)
    message = work.message(row.id, change.message_id)
    if message.author_id != work.actor.id:
        raise Forbidden("Only its author may change a message.")
    if not change.content.strip() and not message.files:
        raise InvalidPayload("A message needs a text or a file.")
    named = mentions(change.content)
    _update(
        work,
        message.id,
        content=change.content,
        search=plain(change.content),
        mentions=list(named),
        edited_at=work.at,
    )
    _forget(work, channel_mentions, message.id)
    _note_mentions(work, row.id, message.id, named)
    wire = _shown(work, row.id, message.id)
    work.tell_channel(row.id, (message.id, CHANNEL_MESSAGE_UPDATE(wire)))
    return {"message": wire}


def remove(work: Work, change: DeleteMessage) -> Wire:
    row, found = work.lock(change.channel_id, Act.READ)
    message = work.message(row.id, change.message_id)
    own = message.author_id == work.actor.id and permits(found, Act.WRITE)
    if not own and not permits(found, Act.MODERATE):
        raise Forbidden("Only its author and those who lead the channel may delete a message.")
    _update(
        work,
        message.id,
        deleted_at=work.at,
        content="",
        search="",
        data=None,
        files=[],
        mentions=[],
        pinned_at=None,
        pinned_by=None,
    )
    for table in (channel_mentions, channel_reactions, channel_files):
        _forget(work, table, message.id)
    gone: ChannelMessageDeleted = {
        "id": message.id,
        "parent_id": message.parent_id,
        "deleted_at": work.at,
    }
    events: list[tuple[str | None, NewData]] = [(message.id, CHANNEL_MESSAGE_DELETE(gone))]
    if message.parent_id is not None:
        parent = message_row(work.connection, row.id, message.parent_id)
        if parent is not None:
            events.append(_reply_event(work, row.id, parent, reply_id=None))
    work.tell_channel(row.id, *events)
    return {"message": gone}


def _update(work: Work, message_id: str, **values: Any) -> None:
    work.connection.execute(
        update(channel_messages).where(channel_messages.c.id == message_id).values(**values)
    )


def _forget(work: Work, table: Any, message_id: str) -> None:
    work.connection.execute(delete(table).where(table.c.message_id == message_id))


# -- marks that everybody sees ---------------------------------------------------------------------


def react(work: Work, change: React) -> Wire:
    """Once per user and emoji; taking away what is not there changes nothing."""
    row, _ = work.lock(change.channel_id, Act.WRITE)
    message = work.message(row.id, change.message_id)
    emoji = plain(change.emoji.strip())
    if not emoji or len(emoji) > REACTION_LENGTH:
        raise InvalidPayload(f"A reaction has 1 to {REACTION_LENGTH} characters.")
    changed = (
        _unreact(work, message.id, emoji) if change.remove else _do_react(work, message, emoji)
    )
    wire = _shown(work, row.id, message.id)
    if changed:
        event = REACTION_REMOVE if change.remove else REACTION_ADD
        count = sum(one["count"] for one in wire["reactions"] if one["emoji"] == emoji)
        told: Reacted = {
            "id": message.id,
            "emoji": emoji,
            "user_id": work.actor.id,
            "count": count,
        }
        work.tell_channel(row.id, (message.id, event(told)))
    return {"message": wire}


def _do_react(work: Work, message: Row[Any], emoji: str) -> bool:
    present = {
        one["emoji"] for one in reactions_of(work.connection, [message.id]).get(message.id, [])
    }
    if emoji not in present and len(present) >= REACTIONS_PER_MESSAGE:
        raise TooLarge(f"A message may have at most {REACTIONS_PER_MESSAGE} different reactions.")
    added = work.connection.execute(
        upsert(work.connection, channel_reactions)
        .on_conflict_do_nothing()
        .returning(channel_reactions.c.emoji),
        {
            "message_id": message.id,
            "emoji": emoji,
            "user_id": work.actor.id,
            "channel_id": message.channel_id,
            "at": work.at,
        },
    )
    return added.one_or_none() is not None


def _unreact(work: Work, message_id: str, emoji: str) -> bool:
    table = channel_reactions
    gone = work.connection.execute(
        delete(table).where(
            table.c.message_id == message_id,
            table.c.emoji == emoji,
            table.c.user_id == work.actor.id,
        )
    )
    return gone.rowcount == 1


def pin(work: Work, change: Pin) -> Wire:
    row, _ = work.lock(change.channel_id, Act.PIN)
    message = work.message(row.id, change.message_id)
    if change.pinned != (message.pinned_at is not None):
        by = work.actor.id if change.pinned else None
        _update(work, message.id, pinned_at=work.at if change.pinned else None, pinned_by=by)
        wire = _shown(work, row.id, message.id)
        work.tell_channel(row.id, (message.id, CHANNEL_MESSAGE_UPDATE(wire)))
    return {"message": _shown(work, row.id, message.id)}
