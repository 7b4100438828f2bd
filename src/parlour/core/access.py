"""Who may do what: every decision in one place, deny by default.

The caller looks up the facts (who owns the thread, who is a member); the rules here are pure. Ids that a
client sends never say who it is: the user comes from the verified connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from parlour.core.users import ANONYMOUS, User

CLIENT_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{7,63}\Z")
"""Ids that clients may choose (sessions, threads, commands): 8 to 64 of `A-Z a-z 0-9 _ -`."""


Permission = Literal["owner", "write", "read"]
Right = Literal["read", "write"]
"""What a grant may give; `write` includes `read`."""


class Kind(StrEnum):
    """What a room or stream is about: the part of its name before the colon."""

    USER = "user"
    SESSION = "session"
    THREAD = "thread"
    CHANNEL = "channel"
    NOTE = "note"
    AGENT = "agent"
    DOCUMENT = "doc"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the thing that is asked for. `exists` False with `owner_id` None is a new id."""

    exists: bool = False
    owner_id: str | None = None
    readers: frozenset[str] = frozenset()
    writers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Grant:
    """What a user may do with a thing. Only what one `own`s may be renamed, deleted and shared."""

    read: bool = False
    write: bool = False
    create: bool = False
    own: bool = False

    @property
    def permission(self) -> Permission | None:
        """The same in a word, as clients get it; None where it is nothing."""
        if self.own:
            return "owner"
        if self.write:
            return "write"
        return "read" if self.read else None


NOTHING: Final = Grant()
EVERYTHING: Final = Grant(read=True, write=True, own=True)


EVERYONE: Final = "everyone"
"""The principal of a grant that is for every signed-in user."""

_PRINCIPAL: Final = re.compile(r"everyone|(?:role|user):[^\s\0]{1,200}")


def principals_of(user: User) -> tuple[str, ...]:
    """To whom a grant may be written so that this user has it: `everyone`, `role:{role}`, `user:{id}`."""
    return (EVERYONE, f"role:{user.role}", f"user:{user.id}")


def is_principal(text: str) -> bool:
    return _PRINCIPAL.fullmatch(text) is not None


def users_of(principals: Iterable[str]) -> list[str]:
    """The ids of those who are named one by one."""
    return [one.partition(":")[2] for one in principals if one.startswith("user:")]


def groups_of(principals: Iterable[str]) -> set[str]:
    """Those among them that name no single user: roles and everyone."""
    return {one for one in principals if not one.startswith("user:")}


def right_of(grants: Mapping[str, str], user: User) -> Right | None:
    """The most of what grants (`{principal: right}`) give a user."""
    given = {grants[one] for one in principals_of(user) if one in grants}
    if "write" in given:
        return "write"
    return "read" if "read" in given else None


def granted_facts(user: User, owner_id: str | None, right: Right | None) -> Facts:
    """The facts about a thing that is there and of which the user has this right."""
    me = frozenset({user.id}) if right is not None else frozenset[str]()
    return Facts(True, owner_id, readers=me, writers=me if right == "write" else frozenset())


def may_share(user: User, grant: Grant) -> bool:
    """Whether somebody says who else may use a thing: the owner, and administrators, who can take back
    what should not be shared. Anonymous visitors share nothing."""
    return user.role != ANONYMOUS and (grant.own or user.is_admin)


def parse_room(name: str) -> tuple[Kind, str] | None:
    """Split `kind:id`; None where the kind is unknown or the id is empty."""
    if name.startswith("doc_") and len(name) > 4:
        return Kind.DOCUMENT, name[4:]
    head, colon, rest = name.partition(":")
    if not colon or not rest or head not in _KINDS:
        return None
    return Kind(head), rest


_KINDS: Final = frozenset(kind.value for kind in Kind)


def decide(user: User, kind: Kind, subject_id: str, facts: Facts) -> Grant:
    """What `user` may do with `kind:subject_id`."""
    match kind:
        case Kind.USER:
            return Grant(read=True) if subject_id == user.id else NOTHING
        case Kind.THREAD:
            return _decide_thread(user, subject_id, facts)
        case Kind.CHANNEL | Kind.NOTE | Kind.AGENT | Kind.DOCUMENT:
            return _decide_shared(user, facts)
        case Kind.SESSION:
            return EVERYTHING if facts.owner_id == user.id else NOTHING
    return NOTHING


def _decide_thread(user: User, thread_id: str, facts: Facts) -> Grant:
    """A conversation belongs to the user who began it, and to others as far as it is shared; a new id
    may be taken by anyone."""
    if facts.owner_id == user.id:
        return EVERYTHING
    if not facts.exists and CLIENT_ID.match(thread_id):
        return Grant(read=True, write=True, create=True)
    return _decide_shared(user, facts)


def _decide_shared(user: User, facts: Facts) -> Grant:
    if not facts.exists:
        return NOTHING
    if facts.owner_id == user.id:
        return EVERYTHING
    if user.id in facts.writers:
        return Grant(read=True, write=True)
    return Grant(read=True) if user.id in facts.readers else NOTHING
