"""Sharing conversations: who may use one beside its owner, and what a change does to those who are there.

What is true is in the database, and the change is committed together with the events that tell of it
(`ports.ThreadStore.share`). `chat:access` in the conversation's own stream takes effect on every node
that has somebody in the room: each of them is asked for again, and who may no longer read is out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import orjson
import structlog

from parlour.core.access import (
    Kind,
    Permission,
    Right,
    decide,
    granted_facts,
    groups_of,
    right_of,
    users_of,
)
from parlour.core.streams import Event
from parlour.core.users import User
from parlour.errors import NotFound, ParlourError, Unavailable
from parlour.ports import SharedThread, ThreadRecord, ThreadSharing, ThreadStore
from parlour.server.connections import Caller, Connection
from parlour.wire.packets import Encoded
from parlour.wire.records import ThreadRow
from parlour.wire.told import (
    ACCESS_UPDATED,
    CHAT_ACCESS,
    THREAD_DELETED,
    THREAD_LISTED,
    THREAD_SHARED_UPDATED,
    THREAD_UNLISTED,
    AccessChanged,
    AccessUpdated,
)

if TYPE_CHECKING:
    from parlour.server.node import Node

log = structlog.get_logger(__name__)

REVIEW_SECONDS: Final = 0.8
"""How long a change of access may wait for the database; then whoever is not known to be allowed is out."""

DELETED: Final = "thread_deleted"
LISTED: Final = "thread_listed"
"""The types of the messages between nodes."""

TOLD_PER_TURN: Final = 500
"""Connections that are looked at in one turn of the loop, where everyone may be concerned."""

Wire = dict[str, Any]


class Sharing:
    """One per node."""

    def __init__(self, node: Node, store: ThreadStore) -> None:
        self._node = node
        self._store = store
        self._reviews: dict[str, bool] = {}
        """Conversations whose readers are being asked for, and whether to do it once more."""
        self._unlisted: dict[str, set[str]] = {}
        """Conversations of which somebody is being told, and whom to tell once more."""
        node.hub.watch(self._moved)

    # -- reading and changing --------------------------------------------------------------------

    async def read(self, caller: Caller, thread_id: str) -> Wire:
        """Who may use a conversation. Raises `NotFound`, `Forbidden`."""
        await self._node.permissions.require_sharing(caller.user, f"thread:{thread_id}")
        found = await self._store.sharing(thread_id)
        if found is None:
            raise NotFound("There is no conversation with this id.")
        return {
            "thread_id": thread_id,
            "owner": {"id": found.owner_id, "name": found.owner_name},
            "grants": dict(found.grants),
            "people": dict(found.people),
            "position": None,
        }

    async def change(
        self,
        caller: Caller,
        thread_id: str,
        grants: Mapping[str, Right | None],
        *,
        replace: bool,
        command_id: str | None,
    ) -> Wire:
        """Give and take back grants; answered when it is in force. Raises what `ThreadStore.share` raises."""
        leaves = await self._authorise(caller.user, thread_id, grants, replace)
        before = await self._group_rights(thread_id) if replace or groups_of(grants) else {}
        done = await self._store.share(
            thread_id,
            grants,
            caller.user,
            replace=replace,
            at=self._node.clock.now_ms(),
            command_id=command_id,
        )
        log.info(
            "access to a conversation changed",
            thread=thread_id,
            by=caller.user.id,
            wanted=dict(grants),
            replace=replace,
            changed=bool(done.told),
        )
        positions = await self._node.announcer.settle(done.told)
        if done.told:
            await self._tell_owner(thread_id)
            if replace or groups_of(grants):
                after = await self._group_rights(thread_id)
                changed = {one for one in before | after if before.get(one) != after.get(one)}
                await self._tell_groups(thread_id, changed)
        position = positions[0] if positions else None
        answer = {**done.answer, "position": None if position is None else position.to_wire()}
        # Who else may use it is the owner's to see.
        return {**answer, "grants": {}, "people": {}} if leaves else answer

    async def _authorise(
        self, user: User, thread_id: str, grants: Mapping[str, Right | None], replace: bool
    ) -> bool:
        """Whether it is a guest who leaves; everything else is for whoever says who may use it."""
        room = f"thread:{thread_id}"
        if not replace and dict(grants) == {f"user:{user.id}": None}:
            grant = await self._node.permissions.require_existing(user, room)
            if not grant.own:
                return True
        await self._node.permissions.require_sharing(user, room)
        return False

    async def _tell_owner(self, thread_id: str) -> None:
        """In whose list a conversation stands from its first message on."""
        thread = await self._store.thread(thread_id)
        if thread is not None and thread.title is not None:
            await self._node.list_changed(thread)

    async def _group_rights(self, thread_id: str) -> dict[str, str]:
        """What is open to roles and to everyone."""
        sharing = await self._store.sharing(thread_id)
        grants = {} if sharing is None else sharing.grants
        return {one: grants[one] for one in groups_of(grants)}

    async def tell_guests(self, thread: ThreadRecord) -> None:
        """What lists show of a shared conversation has changed: those who are named hear of it."""
        try:
            sharing = await self._store.sharing(thread.id)
            if sharing is not None:
                for user_id in users_of(sharing.grants):
                    await self._tell_guest(thread, sharing, user_id)
        except Unavailable as error:
            log.warning("guests are not told", thread=thread.id, error=str(error))

    async def _tell_guest(self, thread: ThreadRecord, sharing: ThreadSharing, user_id: str) -> None:
        right: Right = "write" if sharing.grants[f"user:{user_id}"] == "write" else "read"
        listed = SharedThread(thread, sharing.owner_name, right).listed()
        await self._node.notify_user(
            user_id, THREAD_SHARED_UPDATED({"thread": cast(ThreadRow, listed)})
        )

    # -- lists of those who are not named one by one ----------------------------------------------

    async def _tell_groups(self, thread_id: str, groups: set[str]) -> None:
        """What a change did to the lists of roles, or everyone's, on all nodes."""
        if groups:
            await self._tell_nodes(LISTED, thread_id, groups)
            self.listed(thread_id, groups)

    def listed(self, thread_id: str, groups: Iterable[str]) -> None:
        """The rights of these groups have changed: those of them who are connected here are told."""
        waiting = self._unlisted.get(thread_id)
        if waiting is not None:
            waiting.update(groups)
        else:
            self._unlisted[thread_id] = set(groups)
            self._node.tasks.spawn(self._list_until_settled(thread_id), f"list {thread_id}")

    async def _list_until_settled(self, thread_id: str) -> None:
        """One after the other: nobody hears an earlier state after a later one."""
        try:
            while groups := self._unlisted[thread_id]:
                self._unlisted[thread_id] = set()
                await self._list(thread_id, groups)
        except Unavailable as error:
            log.warning("lists are not told", thread=thread_id, error=str(error))
        finally:
            del self._unlisted[thread_id]

    async def _list(self, thread_id: str, groups: Iterable[str]) -> None:
        thread = await self._store.thread(thread_id)
        sharing = None if thread is None else await self._store.sharing(thread_id)
        concerned = dict.fromkeys(groups, "read")
        gone = THREAD_UNLISTED.encode({"id": thread_id})
        rows: dict[Right, Encoded] = {}
        for number, connection in enumerate(self._node.hub.connections(), 1):
            if number % TOLD_PER_TURN == 0:
                await asyncio.sleep(0)
                if newer := self._unlisted[thread_id]:
                    # What was read may be over: nobody else hears it.
                    newer.update(groups)
                    return
            user = connection.user
            if right_of(concerned, user) is None:
                continue
            if thread is None or sharing is None:
                connection.send(gone)
            elif user.id != sharing.owner_id:
                right = right_of(sharing.grants, user)
                if right is not None and right not in rows:
                    listed = SharedThread(thread, sharing.owner_name, right).listed()
                    rows[right] = THREAD_LISTED.encode({"thread": cast(ThreadRow, listed)})
                connection.send(gone if right is None else rows[right])

    # -- who is there ----------------------------------------------------------------------------

    def entered(self, connection: Connection, room: str, permission: Permission) -> None:
        """A connection follows the conversation from now on."""
        if permission != "read":
            self._forget_reader(connection, room)
        elif connection.reads is None:
            connection.reads = {room}
        else:
            connection.reads.add(room)

    def only_reads(self, connection: Connection, room: str) -> bool:
        return connection.reads is not None and room in connection.reads

    def _moved(self, room: str, connection: Connection, entered: bool) -> None:
        if not entered:
            self._forget_reader(connection, room)

    def _forget_reader(self, connection: Connection, room: str) -> None:
        if connection.reads is not None:
            connection.reads.discard(room)
            connection.reads = connection.reads or None

    # -- when access changes ---------------------------------------------------------------------

    def access_changed(self, event: Event) -> None:
        """`chat:access` was heard: ask again for everybody who is in the room here."""
        room = event.stream
        if event.data.get("deleted"):
            self._gone(room)
        elif room in self._reviews:
            self._reviews[room] = True
        else:
            self._reviews[room] = False
            self._node.tasks.spawn(self._review_until_settled(room), f"review {room}")

    async def _review_until_settled(self, room: str) -> None:
        """One review at a time: an earlier answer of the database never comes after a later one."""
        try:
            while True:
                self._reviews[room] = False
                await self._review(room)
                if not self._reviews[room]:
                    return
        finally:
            del self._reviews[room]

    async def _review(self, room: str) -> None:
        thread_id = room.partition(":")[2]
        try:
            async with asyncio.timeout(REVIEW_SECONDS):
                sharing = await self._store.sharing(thread_id)
        except (Unavailable, TimeoutError) as error:
            log.warning("access could not be reviewed", room=room, error=str(error))
            self._expel_guests(room)
            return
        for connection in self._node.hub.members(room):
            if sharing is None:
                self._expel(connection, room, "deleted")
            else:
                self._apply(connection, room, permission_in(sharing, connection.user, thread_id))

    def _apply(self, connection: Connection, room: str, permission: Permission | None) -> None:
        if permission is None:
            self._expel(connection, room, "removed")
        elif (permission == "read") != self.only_reads(connection, room):
            self.entered(connection, room, permission)
            news: AccessUpdated = {"room": room, "reason": "permission", "permission": permission}
            connection.send(ACCESS_UPDATED.encode(news))

    def _expel_guests(self, room: str) -> None:
        """Whoever is not known to be allowed leaves; the clients come back and are asked for again."""
        owner = self._node.permissions.known_owner(room.partition(":")[2])
        for connection in self._node.hub.members(room):
            if connection.user.id != owner:
                self._expel(connection, room, "unavailable")

    def _expel(self, connection: Connection, room: str, reason: str) -> None:
        self._node.hub.leave(room, connection)
        connection.send(ACCESS_UPDATED.encode({"room": room, "reason": reason}))

    # -- the end ---------------------------------------------------------------------------------

    async def delete(self, user: User, thread_id: str) -> None:
        """Delete a conversation for good and tell everybody who has it open, or in a list."""
        sharing = await self._store.sharing(thread_id)
        await self._store.delete_thread(thread_id)
        groups = set() if sharing is None else groups_of(sharing.grants)
        self.deleted(thread_id, groups)
        await self._tell_nodes(DELETED, thread_id, groups)
        # The last event: whoever follows it, with whatever client on whatever node, is asked for again.
        gone: AccessChanged = {"by": user.author(), "deleted": True}
        await self._node.streams.append(f"thread:{thread_id}", CHAT_ACCESS(gone))
        people = [] if sharing is None else [sharing.owner_id, *users_of(sharing.grants)]
        for user_id in dict.fromkeys([user.id, *people]):
            await self._node.notify_user(user_id, THREAD_DELETED({"id": thread_id}))

    async def _tell_nodes(self, type: str, thread_id: str, groups: set[str]) -> None:
        """So that none of them takes what is over for what is."""
        message = {
            "type": type,
            "from": self._node.id,
            "thread_id": thread_id,
            "groups": sorted(groups),
        }
        try:
            await self._node.bus.publish("control", orjson.dumps(message))
        except ParlourError as error:
            log.warning("other nodes were not told", what=type, thread=thread_id, error=str(error))

    def deleted(self, thread_id: str, groups: Iterable[str]) -> None:
        """It was deleted, here or by another node."""
        self._gone(f"thread:{thread_id}")
        if groups := list(groups):
            self.listed(thread_id, groups)

    def _gone(self, room: str) -> None:
        self._node.permissions.forget(room.partition(":")[2])
        self._node.projector.forget(room)
        for connection in self._node.hub.members(room):
            self._expel(connection, room, "deleted")


def permission_in(sharing: ThreadSharing, user: User, thread_id: str) -> Permission | None:
    """What a user may do in a conversation."""
    facts = granted_facts(user, sharing.owner_id, right_of(sharing.grants, user))
    return decide(user, Kind.THREAD, thread_id, facts).permission
