"""Changes of channels and of who is in them, each inside its transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, delete, func, select, update

from parlour.backends.sql.channel_rows import Wire, channel_row, channel_wire, message_row
from parlour.backends.sql.channel_schema import (
    channel_files,
    channel_follows,
    channel_members,
    channel_mentions,
    channel_messages,
    channel_reactions,
    channels,
    grants,
)
from parlour.backends.sql.channel_work import Work
from parlour.backends.sql.engine import upsert
from parlour.backends.sql.projections import plain
from parlour.core.access import EVERYONE, Kind, is_principal
from parlour.core.channels import (
    DIRECT_MEMBERS,
    Act,
    AddMembers,
    ChannelKind,
    CreateChannel,
    DeleteChannel,
    MarkRead,
    Mute,
    RemoveMember,
    Role,
    SetRole,
    UpdateChannel,
    direct_key,
    keeps_owner,
    may_remove,
)
from parlour.errors import Conflict, Forbidden, InvalidPayload, NotFound, TooLarge
from parlour.wire.records import ChannelInfo, Person
from parlour.wire.told import (
    ADDED_TO_CHANNEL,
    CHANNEL_CREATED,
    CHANNEL_DELETED,
    CHANNEL_MUTED,
    CHANNEL_READ,
    CHANNEL_UPDATED,
    MEMBER_ADDED,
    MEMBER_REMOVED,
    OWN_CHANNEL_DELETED,
    REMOVED_FROM_CHANNEL,
    AddedToChannel,
    ChannelUpdated,
    RoleChange,
)

# -- channels --------------------------------------------------------------------------------------


def create(work: Work, change: CreateChannel) -> Wire:
    people = work.people([work.actor.id, *change.member_ids])
    _check_size(work, change.kind, len(people))
    key = direct_key(people) if change.kind is ChannelKind.DIRECT else None
    if change.kind is not ChannelKind.DIRECT and not change.name.strip():
        raise InvalidPayload("A channel needs a name.")
    made = work.connection.execute(
        upsert(work.connection, channels).on_conflict_do_nothing().returning(channels.c.id),
        {
            "id": change.channel_id,
            "kind": change.kind.value,
            "name": plain(change.name.strip()),
            "name_search": plain(change.name.strip()),
            "description": plain(change.description),
            "data": dict(change.data),
            "created_by": work.actor.id,
            "direct_key": key,
            "member_count": len(people),
            "last_seq": 0,
            "created_at": work.at,
            "updated_at": work.at,
        },
    ).one_or_none()
    if made is None:
        return {"channel": _existing(work, key), "created": False}
    _grant(work, change.channel_id, change.kind, change.grants, default={EVERYONE: "read"})
    owner = Role.MEMBER if change.kind is ChannelKind.DIRECT else Role.OWNER
    roles = {one: owner if one == work.actor.id else Role.MEMBER for one in people}
    _enter(work, change.channel_id, roles, read_seq=0)
    wire = _wire(work, change.channel_id)
    work.tell_channel(change.channel_id, (None, CHANNEL_CREATED({"channel": wire})))
    for user_id in people:
        added: AddedToChannel = {"channel_id": change.channel_id, "channel": wire}
        work.tell_user(user_id, ADDED_TO_CHANNEL(added))
    return {"channel": wire, "created": True}


def _existing(work: Work, key: str | None) -> ChannelInfo:
    """The direct channel of this set; any other clash is of ids."""
    row = None
    if key is not None:
        found = work.connection.scalar(select(channels.c.id).where(channels.c.direct_key == key))
        row = None if found is None else channel_row(work.connection, found)
    if row is None:
        raise Conflict("This channel id is taken.")
    return channel_wire(work.connection, row)


def _check_size(work: Work, kind: ChannelKind, members: int) -> None:
    limit = work.limits.members_per_channel
    if kind is ChannelKind.DIRECT:
        if members < 2:
            raise InvalidPayload("A direct channel needs somebody else.")
        limit = min(limit, DIRECT_MEMBERS)
    if members > limit:
        raise TooLarge(f"This channel may have at most {limit} members.", limit=limit)


def change_channel(work: Work, change: UpdateChannel) -> Wire:
    row, _ = work.lock(change.channel_id, Act.UPDATE)
    values: dict[str, Any] = {"updated_at": work.at}
    if change.name is not None:
        if not change.name.strip():
            raise InvalidPayload("A channel needs a name.")
        values["name"] = values["name_search"] = plain(change.name.strip())
    if change.description is not None:
        values["description"] = plain(change.description)
    if change.data is not None:
        values["data"] = dict(change.data)
    work.connection.execute(update(channels).where(channels.c.id == row.id).values(values))
    if change.grants is not None:
        _grant(work, row.id, ChannelKind(row.kind), change.grants, default={})
    wire = _wire(work, row.id)
    told: ChannelUpdated = {"channel": wire, "access_changed": change.grants is not None}
    work.tell_channel(row.id, (None, CHANNEL_UPDATED(told)))
    return {"channel": wire}


def remove_channel(work: Work, change: DeleteChannel) -> Wire:
    """The content is gone; the id stays taken."""
    row, _ = work.lock(change.channel_id, Act.DELETE)
    members = _members(work, row.id)
    for table in (
        channel_members,
        channel_messages,
        channel_mentions,
        channel_follows,
        channel_reactions,
        channel_files,
    ):
        work.connection.execute(delete(table).where(table.c.channel_id == row.id))
    work.connection.execute(
        delete(grants).where(grants.c.kind == Kind.CHANNEL.value, grants.c.subject_id == row.id)
    )
    gone: Wire = {"deleted_at": work.at, "direct_key": None, "data": {}, "member_count": 0}
    work.connection.execute(update(channels).where(channels.c.id == row.id).values(gone))
    work.tell_channel(row.id, (None, CHANNEL_DELETED({"channel_id": row.id})))
    for user_id in members:
        work.tell_user(user_id, OWN_CHANNEL_DELETED({"channel_id": row.id}))
    return {"channel_id": row.id}


def _grant(
    work: Work,
    channel_id: str,
    kind: ChannelKind,
    wanted: Mapping[str, str] | None,
    *,
    default: Mapping[str, str],
) -> None:
    """Set the grants of a standard channel; private ones have none."""
    if kind is not ChannelKind.STANDARD:
        if wanted:
            raise InvalidPayload("Only a standard channel has grants; add members instead.")
        return
    chosen = default if wanted is None else wanted
    if any(not is_principal(one) or what not in ("read", "write") for one, what in chosen.items()):
        raise InvalidPayload("A grant is `read` or `write` for everyone, role:{role} or user:{id}.")
    work.connection.execute(
        delete(grants).where(grants.c.kind == Kind.CHANNEL.value, grants.c.subject_id == channel_id)
    )
    for principal, what in chosen.items():
        row = {"kind": Kind.CHANNEL.value, "subject_id": channel_id, "principal": plain(principal)}
        work.connection.execute(grants.insert(), {**row, "read": True, "write": what == "write"})


def _wire(work: Work, channel_id: str) -> ChannelInfo:
    row = channel_row(work.connection, channel_id)
    assert row is not None  # this transaction has it locked
    return channel_wire(work.connection, row)


# -- members ---------------------------------------------------------------------------------------


def add_members(work: Work, change: AddMembers) -> Wire:
    joining = change.user_ids == (work.actor.id,)
    row, found = work.find(change.channel_id, lock=True)
    if found.role is None or not joining:
        work.require(found, Act.JOIN if joining else Act.ADD)
    people = work.people(change.user_ids)
    present = set(_members(work, row.id, among=change.user_ids))
    fresh = {user_id: Role.MEMBER for user_id in people if user_id not in present}
    if fresh:
        _check_size(work, ChannelKind(row.kind), row.member_count + len(fresh))
        _enter(work, row.id, fresh, read_seq=row.last_seq)
        _count(work, row.id, len(fresh))
        _tell_added(work, row.id, {user_id: people[user_id] for user_id in fresh})
    return {"channel": _wire(work, row.id), "added": sorted(fresh)}


def _tell_added(work: Work, channel_id: str, people: Mapping[str, Person]) -> None:
    wire = _wire(work, channel_id)
    events = [
        (None, MEMBER_ADDED({"user": one, "user_id": one["id"], "role": "member"}))
        for one in people.values()
    ]
    work.tell_channel(channel_id, *events)
    for user_id in people:
        work.tell_user(user_id, ADDED_TO_CHANNEL({"channel_id": channel_id, "channel": wire}))


def remove_member(work: Work, change: RemoveMember) -> Wire:
    row, found = work.find(change.channel_id, lock=True)
    oneself = change.user_id == work.actor.id
    target = _role(work, row.id, change.user_id)
    if not may_remove(found, oneself=oneself, target=target):
        raise Forbidden("You may not remove this member.")
    if target is Role.OWNER and row.member_count > 1:
        _require_owner(work, row.id, change.user_id)
    work.connection.execute(
        delete(channel_members).where(
            channel_members.c.channel_id == row.id, channel_members.c.user_id == change.user_id
        )
    )
    _count(work, row.id, -1)
    work.tell_channel(row.id, (None, MEMBER_REMOVED({"user_id": change.user_id})))
    work.tell_user(change.user_id, REMOVED_FROM_CHANNEL({"channel_id": row.id}))
    return {"channel_id": row.id, "user_id": change.user_id}


def set_role(work: Work, change: SetRole) -> Wire:
    row, _ = work.lock(change.channel_id, Act.SET_ROLE)
    before = _role(work, row.id, change.user_id)
    if before is Role.OWNER and change.role is not Role.OWNER:
        _require_owner(work, row.id, change.user_id)
    work.connection.execute(
        update(channel_members)
        .where(channel_members.c.channel_id == row.id, channel_members.c.user_id == change.user_id)
        .values(role=change.role.value)
    )
    member: RoleChange = {"user_id": change.user_id, "role": change.role.value}
    told: ChannelUpdated = {"channel": _wire(work, row.id), "member": member}
    work.tell_channel(row.id, (None, CHANNEL_UPDATED(told)))
    return {"channel_id": row.id, **member}


def _enter(work: Work, channel_id: str, roles: Mapping[str, Role], *, read_seq: int) -> None:
    """New members; what was said before they came is not unread."""
    full = (
        select(channel_members.c.user_id)
        .where(channel_members.c.user_id.in_(list(roles)))
        .group_by(channel_members.c.user_id)
        .having(func.count() >= work.limits.channels_per_user)
    )
    if work.connection.execute(full).first() is not None:
        limit = work.limits.channels_per_user
        raise TooLarge(f"Nobody may be in more than {limit} channels.", limit=limit)
    rows = [
        {
            "channel_id": channel_id,
            "user_id": user_id,
            "role": role.value,
            "muted": False,
            "read_seq": read_seq,
            "joined_at": work.at,
        }
        for user_id, role in roles.items()
    ]
    work.connection.execute(channel_members.insert(), rows)


def _count(work: Work, channel_id: str, more: int) -> None:
    work.connection.execute(
        update(channels)
        .where(channels.c.id == channel_id)
        .values(member_count=channels.c.member_count + more)
    )


def _members(work: Work, channel_id: str, *, among: Sequence[str] | None = None) -> list[str]:
    query = select(channel_members.c.user_id).where(channel_members.c.channel_id == channel_id)
    if among is not None:
        query = query.where(channel_members.c.user_id.in_(list(among)))
    return list(work.connection.scalars(query))


def _role(work: Work, channel_id: str, user_id: str) -> Role:
    role = work.connection.scalar(
        select(channel_members.c.role).where(
            channel_members.c.channel_id == channel_id, channel_members.c.user_id == user_id
        )
    )
    if role is None:
        raise NotFound("There is no such member in this channel.")
    return Role(role)


def _require_owner(work: Work, channel_id: str, without: str) -> None:
    owners = list(
        work.connection.scalars(
            select(channel_members.c.user_id).where(
                channel_members.c.channel_id == channel_id,
                channel_members.c.role == Role.OWNER.value,
            )
        )
    )
    if not keeps_owner(owners, without=without):
        raise Conflict("A channel needs an owner: make somebody else one first.")


# -- a member's own marks --------------------------------------------------------------------------


def mark_read(work: Work, change: MarkRead) -> Wire:
    row, me = _own(work, change.channel_id)
    read_seq = row.last_seq
    if change.message_id is not None:
        message = message_row(work.connection, row.id, change.message_id)
        if message is None:
            raise NotFound("There is no such message in this channel.")
        read_seq = message.seq
    if read_seq > me.read_seq:
        _mark(work, row.id, read_seq=read_seq)
        told = CHANNEL_READ({"channel_id": row.id, "read_seq": read_seq})
        work.tell_user(work.actor.id, told)
    return {"channel_id": row.id, "read_seq": max(read_seq, me.read_seq)}


def mute(work: Work, change: Mute) -> Wire:
    row, me = _own(work, change.channel_id)
    if me.muted != change.muted:
        _mark(work, row.id, muted=change.muted)
        told = CHANNEL_MUTED({"channel_id": row.id, "muted": change.muted})
        work.tell_user(work.actor.id, told)
    return {"channel_id": row.id, "muted": change.muted}


def _own(work: Work, channel_id: str) -> tuple[Row[Any], Row[Any]]:
    """The channel and the actor's membership, locked: two tabs of one person take turns."""
    row, _ = work.find(channel_id, lock=False)
    me = work.connection.execute(
        select(channel_members)
        .where(
            channel_members.c.channel_id == channel_id,
            channel_members.c.user_id == work.actor.id,
        )
        .with_for_update()
    ).one_or_none()
    if me is None:
        raise Forbidden("Only a member has a mark here.")
    return row, me


def _mark(work: Work, channel_id: str, **values: Any) -> None:
    work.connection.execute(
        update(channel_members)
        .where(
            channel_members.c.channel_id == channel_id,
            channel_members.c.user_id == work.actor.id,
        )
        .values(**values)
    )
