"""Channels: who may do what in one, what counts as unread, who is mentioned. Pure rules.

A channel is *standard* (found and joined by whoever its grants let read), *group* (members only, added by
those who lead it) or *direct* (a fixed set of users; there is exactly one for each set).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

MENTIONS_KEPT: Final = 50
"""Mentions of one message that count; more are only text."""

REACTION_LENGTH: Final = 64
"""Characters of a reaction: an emoji with its modifiers, or a `:short_name:`."""

REACTIONS_PER_MESSAGE: Final = 50
"""Different reactions under one message."""

DIRECT_MEMBERS: Final = 20
"""Users of a direct channel at most; a bigger circle is a group."""

_MENTION: Final = re.compile(
    r"@\[(?P<name>[^\]\n]{1,100})\]\(user:(?P<id>[^()\s<>|]{1,200})\)"
    r"|<@U:(?P<other>[^()\s<>|]{1,200})(?:\|[^<>\n]{0,200})?>"
)


class ChannelKind(StrEnum):
    STANDARD = "standard"
    GROUP = "group"
    DIRECT = "direct"


class Role(StrEnum):
    OWNER = "owner"
    MANAGER = "manager"
    MEMBER = "member"


class Act(StrEnum):
    """What somebody may want to do in a channel."""

    READ = "read"
    WRITE = "write"
    PIN = "pin"
    MODERATE = "moderate"
    """Delete what somebody else wrote."""
    JOIN = "join"
    UPDATE = "update"
    ADD = "add"
    REMOVE = "remove"
    SET_ROLE = "set_role"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a user stands in a channel: the role of a member, and what grants allow besides."""

    kind: ChannelKind
    role: Role | None = None
    granted_read: bool = False
    granted_write: bool = False
    admin: bool = False

    @property
    def open_to_admin(self) -> bool:
        """Administrators look after standard channels; what is private stays private."""
        return self.admin and self.kind is ChannelKind.STANDARD

    @property
    def reads(self) -> bool:
        return self.role is not None or self.granted_read or self.writes or self.open_to_admin

    @property
    def writes(self) -> bool:
        return self.role is not None or self.granted_write

    @property
    def leads(self) -> bool:
        return self.role in (Role.OWNER, Role.MANAGER) or self.open_to_admin

    @property
    def owns(self) -> bool:
        return self.role is Role.OWNER or self.open_to_admin


def permits(standing: Standing, act: Act) -> bool:
    """Whether somebody of this standing may do this; everything else is denied."""
    if not standing.reads:
        return False
    direct = standing.kind is ChannelKind.DIRECT
    match act:
        case Act.READ:
            return True
        case Act.WRITE:
            return standing.writes
        case Act.PIN:
            everybody = standing.kind is not ChannelKind.STANDARD and standing.writes
            return everybody or standing.leads
        case Act.JOIN:
            return standing.kind is ChannelKind.STANDARD
        case Act.MODERATE | Act.UPDATE | Act.ADD | Act.REMOVE:
            return standing.leads and not direct
        case Act.SET_ROLE | Act.DELETE:
            return standing.owns and not direct


def may_remove(standing: Standing, *, oneself: bool, target: Role) -> bool:
    """Whether a member may be taken out: anyone leaves by oneself, managers remove members, owners anyone."""
    if standing.kind is ChannelKind.DIRECT:
        return False
    if oneself:
        return standing.role is not None
    return standing.owns or (permits(standing, Act.REMOVE) and target is Role.MEMBER)


def keeps_owner(owners: Collection[str], *, without: str) -> bool:
    """Whether somebody is left who owns the channel when `without` no longer does."""
    return any(owner != without for owner in owners)


def direct_key(user_ids: Iterable[str]) -> str:
    """Names the one direct channel of a set of users, whatever their order."""
    members = json.dumps(sorted(set(user_ids)))
    return hashlib.sha256(members.encode()).hexdigest()


# -- mentions --------------------------------------------------------------------------------------


def mentions(text: str) -> tuple[str, ...]:
    """Ids of the users that a text mentions, in order, each once.

    Written `@[name](user:id)`; `<@U:id>` and `<@U:id|name>` of the ecosystem's clients mean the same.
    """
    found = (match["id"] or match["other"] for match in _MENTION.finditer(text))
    return tuple(dict.fromkeys(found))[:MENTIONS_KEPT]


def format_mention(user_id: str, name: str) -> str:
    """The documented form; what would break it is left out of the name."""
    shown = re.sub(r"[\]\n\[]", "", name)[:100] or "user"
    return f"@[{shown}](user:{user_id})"


# -- unread ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Said:
    """What the unread rule must know of a message."""

    seq: int
    author_id: str
    parent_id: str | None = None
    mentions: Collection[str] = ()
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Reader:
    """A member: everything up to `read_seq` was read; `follows` are the messages in whose replies this
    member takes part (wrote the message, or a reply to it)."""

    user_id: str
    read_seq: int
    follows: Collection[str] = ()


def is_unread(said: Said, reader: Reader) -> bool:
    """Messages of others after the read mark; a reply only counts for those who take part in its
    thread or are mentioned in it."""
    if said.deleted or said.seq <= reader.read_seq or said.author_id == reader.user_id:
        return False
    if said.parent_id is None:
        return True
    return said.parent_id in reader.follows or reader.user_id in said.mentions


# -- what ends access ------------------------------------------------------------------------------

MEMBER_REMOVED: Final = "member:removed"
CHANNEL_DELETED: Final = "channel:deleted"
CHANNEL_UPDATED: Final = "channel:updated"


def ends_access(type: str, body: Mapping[str, Any]) -> bool:
    """Whether somebody may have to leave the room after this event of a channel's stream."""
    return type in (MEMBER_REMOVED, CHANNEL_DELETED) or (
        type == CHANNEL_UPDATED and bool(body.get("access_changed"))
    )


def ends_access_of(user_id: str, type: str, body: Mapping[str, Any]) -> bool:
    """Whether `user_id` may no longer be trusted to read after this event: look again."""
    if type == MEMBER_REMOVED:
        return bool(body.get("user_id") == user_id)
    return ends_access(type, body)


# -- changes ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CreateChannel:
    """A new channel. The creator owns it (in a direct channel everybody is a member); the direct channel of
    a set that has one already is that one."""

    channel_id: str
    kind: ChannelKind
    name: str = ""
    description: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    member_ids: tuple[str, ...] = ()
    grants: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class UpdateChannel:
    """What is None stays. `grants` (principal → `read` or `write`) replaces those of a standard channel."""

    channel_id: str
    name: str | None = None
    description: str | None = None
    data: Mapping[str, Any] | None = None
    grants: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class DeleteChannel:
    channel_id: str


@dataclass(frozen=True, slots=True)
class AddMembers:
    """Those who are members already stay as they are. Adding only oneself is joining."""

    channel_id: str
    user_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemoveMember:
    """Removing oneself is leaving."""

    channel_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class SetRole:
    channel_id: str
    user_id: str
    role: Role


@dataclass(frozen=True, slots=True)
class PostMessage:
    """`parent_id` makes it a reply under a message of the channel, `reply_to_id` quotes one."""

    channel_id: str
    message_id: str
    content: str
    parent_id: str | None = None
    reply_to_id: str | None = None
    data: Mapping[str, Any] | None = None
    files: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class EditMessage:
    """Only its author may."""

    channel_id: str
    message_id: str
    content: str


@dataclass(frozen=True, slots=True)
class DeleteMessage:
    """Its author and those who lead the channel may; a deleted message stays deleted."""

    channel_id: str
    message_id: str


@dataclass(frozen=True, slots=True)
class React:
    channel_id: str
    message_id: str
    emoji: str
    remove: bool = False


@dataclass(frozen=True, slots=True)
class Pin:
    channel_id: str
    message_id: str
    pinned: bool = True


@dataclass(frozen=True, slots=True)
class MarkRead:
    """Everything up to a message was read (None: everything); never goes back."""

    channel_id: str
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class Mute:
    channel_id: str
    muted: bool = True


Change = (
    CreateChannel
    | UpdateChannel
    | DeleteChannel
    | AddMembers
    | RemoveMember
    | SetRole
    | PostMessage
    | EditMessage
    | DeleteMessage
    | React
    | Pin
    | MarkRead
    | Mute
)


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """How many channels a user may be in, and how many members a channel may have."""

    channels_per_user: int = 500
    members_per_channel: int = 1_000
