"""Looks up the facts that `core.access` decides on, and turns a no into a typed error."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from parlour.core.access import (
    EVERYTHING,
    Facts,
    Grant,
    Kind,
    decide,
    granted_facts,
    may_share,
    parse_room,
)
from parlour.core.users import ANONYMOUS, User
from parlour.errors import Forbidden, NotFound
from parlour.ports import ChannelStore, Clock, ThreadRecord, ThreadStore

_THREAD: Final = f"{Kind.THREAD}:"
_PREFIX: Final = len(_THREAD)

OWNERS_KEPT = 50_000
"""How many thread owners are remembered; a thread's owner never changes."""


Lookup = Callable[[User, str], Awaitable[Facts]]
"""The facts about a thing, by its id, as far as they concern this user. Asked every time."""


class Permissions:
    """Who may read and write what, on this node."""

    def __init__(self, threads: ThreadStore, channels: ChannelStore, clock: Clock) -> None:
        self._threads = threads
        self._channels = channels
        self._clock = clock
        self._owners: OrderedDict[str, str] = OrderedDict()
        self.lookups: dict[Kind, Lookup] = {}
        """For kinds of rooms that belong to parts of the node."""

    async def grant(self, user: User, room: str) -> Grant:
        """What the user may do with a room's name."""
        parsed = parse_room(room)
        if parsed is None:
            return Grant()
        kind, subject = parsed
        return decide(user, kind, subject, await self._facts(user, kind, subject))

    async def require_read(self, user: User, room: str) -> Grant:
        """Raises `Forbidden`. A conversation with a new id is created for the user."""
        if self._owns(user, room):
            return EVERYTHING
        return await self._require(user, room, write=False)

    async def require_write(self, user: User, room: str) -> Grant:
        if self._owns(user, room):
            return EVERYTHING
        return await self._require(user, room, write=True)

    async def require_own(self, user: User, room: str) -> Grant:
        """As `require_existing`; raises `Forbidden` where it is shared with the user."""
        grant = await self.require_existing(user, room)
        if not grant.own:
            raise Forbidden("Only the owner may do this.")
        return grant

    async def require_sharing(self, user: User, room: str) -> Grant:
        """That the user says who else may use it. Raises `NotFound` for who may not even read it, and
        `Forbidden`."""
        grant = await self.grant(user, room)
        exists = not grant.create and (grant.read or user.is_admin)
        if not exists:
            raise NotFound(f"There is no {room.partition(':')[0]} with this id.")
        if user.role == ANONYMOUS:
            raise Forbidden("Sign in with an account to share this.")
        if not may_share(user, grant):
            raise Forbidden("Only the owner may share this.")
        return grant

    async def require_existing(self, user: User, room: str) -> Grant:
        """As `require_read`, but a new id is `NotFound` instead of being created."""
        grant = await self.grant(user, room)
        if grant.create or not grant.read:
            raise NotFound(f"There is no {room.partition(':')[0]} with this id.")
        return grant

    def forget(self, thread_id: str) -> None:
        """The conversation is gone."""
        self._owners.pop(thread_id, None)

    def known_owner(self, thread_id: str) -> str | None:
        """Whose conversation it is, as far as this node remembers."""
        return self._owners.get(thread_id)

    async def owner(self, thread_id: str) -> str | None:
        """Whose conversation it is."""
        known = self._owners.get(thread_id)
        if known is None:
            thread = await self._threads.thread(thread_id)
            if thread is None:
                return None
            known = thread.user_id
            self._remember(thread_id, known)
        return known

    def _owns(self, user: User, room: str) -> bool:
        """Nearly always: the owner, who may do everything. A deleted conversation is forgotten."""
        return room.startswith(_THREAD) and self._owners.get(room[_PREFIX:]) == user.id

    async def _require(self, user: User, room: str, *, write: bool) -> Grant:
        grant = await self.grant(user, room)
        if grant.create:
            # The store decides between two people who take the same new id at once.
            thread_id = room.partition(":")[2]
            now = self._clock.now_ms()
            record = ThreadRecord(thread_id, user.id, created_at=now, updated_at=now)
            await self._threads.create_thread(record)
            self._remember(thread_id, user.id)
            return EVERYTHING
        if not (grant.write if write else grant.read):
            raise Forbidden("You may not do this here.")
        return grant

    async def _facts(self, user: User, kind: Kind, subject: str) -> Facts:
        if kind is Kind.CHANNEL:
            return await self._channel_facts(user, subject)
        if kind in self.lookups:
            return await self.lookups[kind](user, subject)
        if kind is not Kind.THREAD:
            return Facts()
        return await self._thread_facts(user, subject)

    async def _thread_facts(self, user: User, thread_id: str) -> Facts:
        """What grants give is never remembered: it ends at once, on every node."""
        if self._owners.get(thread_id) == user.id:
            return Facts(exists=True, owner_id=user.id)
        access = await self._threads.access(thread_id, user)
        if access is None:
            return Facts()
        self._remember(thread_id, access.owner_id)
        return granted_facts(user, access.owner_id, access.right)

    async def _channel_facts(self, user: User, channel_id: str) -> Facts:
        """Never remembered: membership ends at once."""
        standing = await self._channels.standing(channel_id, user)
        if standing is None:
            return Facts()
        me = frozenset({user.id})
        return Facts(
            exists=True,
            readers=me if standing.reads else frozenset(),
            writers=me if standing.writes else frozenset(),
        )

    def _remember(self, thread_id: str, owner: str) -> None:
        self._owners[thread_id] = owner
        if len(self._owners) > OWNERS_KEPT:
            self._owners.popitem(last=False)
