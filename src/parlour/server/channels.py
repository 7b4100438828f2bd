"""Channels on this node: the one implementation behind sockets and HTTP.

What is true is in the database; a change and its events are committed together (`ports.ChannelStore`),
the announcer appends the events to `channel:{id}`, and every node with members follows that stream.
Who may hear it is decided by the stream itself: an event that shuts somebody out takes the connections
out of the room on every node, before anything that comes after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import structlog

from parlour.core.channels import (
    CHANNEL_DELETED,
    MEMBER_REMOVED,
    Change,
    ChannelLimits,
    PostMessage,
)
from parlour.core.streams import Appended, Event, NewEvent
from parlour.core.thread import ACCESS
from parlour.core.users import User
from parlour.errors import Forbidden, NotFound, ParlourError, Unavailable
from parlour.ports import Announcement, ChannelPage, ChannelStore
from parlour.server.connections import Caller, Connection
from parlour.wire.told import ACCESS_UPDATED, ERROR

if TYPE_CHECKING:
    from parlour.server.node import Node

log = structlog.get_logger(__name__)

SNAPSHOT_MESSAGES: Final = 50
"""Newest messages in a channel's snapshot; earlier ones are read page by page."""

JOIN_SECONDS: Final = 5.0
"""How long `join-channels` waits for the streams of the channels."""

KEPT_EVENTS: Final = 4_000
"""Events of a channel beyond which older ones are dropped (messages stay in their table) …"""

REPLAYABLE_EVENTS: Final = 2_000
"""… except for this many newest ones, which brief absences replay."""

COMPACT_EVERY: Final = 1_000
USER_STREAM_KEPT: Final = 200

Wire = dict[str, Any]


class Channels:
    """What people do in channels, and who of this node hears of it."""

    def __init__(self, node: Node, store: ChannelStore) -> None:
        self._node = node
        self._store = store
        settings = node.settings
        self._limits = ChannelLimits(settings.channels_per_user, settings.members_per_channel)
        node.recovery.snapshots["channel"] = self.snapshot
        node.announcer.before = self._invite
        node.announcer.after = self._announced

    # -- changing --------------------------------------------------------------------------------

    async def change(self, caller: Caller, change: Change, command_id: str | None) -> Wire:
        """Do it, and answer when its events are in the stream. The same `command_id` again gives the same answer."""
        done = await self._store.change(
            change,
            caller.user,
            at=self._node.clock.now_ms(),
            limits=self._limits,
            command_id=command_id,
        )
        positions = await self._node.announcer.settle(done.told)
        here = next(
            (
                position
                for (stream, _), position in zip(done.told, positions, strict=True)
                if stream.startswith("channel:")
            ),
            None,
        )
        return {**done.answer, "position": None if here is None else here.to_wire()}

    async def post(
        self,
        caller: Caller,
        channel_id: str,
        content: str,
        *,
        command_id: str,
        parent_id: str | None = None,
        reply_to_id: str | None = None,
        data: Wire | None = None,
        files: Sequence[str] = (),
    ) -> Wire:
        """Say something; `files` are ids of the caller's own."""
        post = PostMessage(
            channel_id,
            self._node.new_id(),
            content,
            parent_id=parent_id,
            reply_to_id=reply_to_id,
            data=data,
            files=tuple(await self._node.attachments(caller.user, list(files))),
        )
        return await self.change(caller, post, command_id)

    # -- reading ---------------------------------------------------------------------------------

    async def listed(self, user: User) -> Sequence[Wire]:
        """The user's channels with unread counts."""
        return [dict(one) for one in await self._store.channels_of(user.id)]

    async def open_channels(
        self, user: User, after: str | None, limit: int, search: str | None
    ) -> ChannelPage:
        return await self._store.open_channels(user, after=after, limit=limit, search=search)

    async def channel(self, user: User, channel_id: str) -> Wire:
        """Raises `NotFound`, also where the user may not read it: strangers learn nothing."""
        found = await self._store.channel(channel_id, user)
        if found is None:
            raise NotFound("There is no channel with this id.")
        return dict(found)

    async def require_read(self, user: User, channel_id: str) -> ChannelStore:
        """The store, for somebody who may read this channel. Raises `NotFound`."""
        standing = await self._store.standing(channel_id, user)
        if standing is None or not standing.reads:
            raise NotFound("There is no channel with this id.")
        return self._store

    async def belongs(self, user: User, room: str) -> bool:
        """Whether this is the room of a channel that the user is a member of."""
        kind, _, channel_id = room.partition(":")
        return kind == "channel" and bool(await self._store.members_among(channel_id, [user.id]))

    async def snapshot(self, caller: Caller, stream: str) -> Wire:
        """What `subscribe` gives to somebody without a position: the channel and its newest messages."""
        channel_id = stream.partition(":")[2]
        channel = await self._store.channel(channel_id, caller.user)
        if channel is None:
            raise Forbidden("You may not do this here.")
        page = await self._store.messages(channel_id, limit=SNAPSHOT_MESSAGES)
        return {"channel": channel, "messages": list(page.items), "truncated": page.more}

    async def may_read_file(self, user: User, file_id: str) -> bool:
        """Whether a file was attached in a channel that the user may read."""
        for channel_id in await self._store.channel_ids_of_file(file_id):
            standing = await self._store.standing(channel_id, user)
            if standing is not None and standing.reads:
                return True
        return False

    # -- who hears -------------------------------------------------------------------------------

    async def enter(self, connection: Connection) -> list[str]:
        """Put a connection into the rooms of all channels that its user belongs to; gives back their ids.

        Membership is read again once the streams are followed: who was removed before that is out
        then, and a later removal is heard."""
        ids = await self._store.channel_ids_of(connection.user.id)
        rooms = [f"channel:{channel_id}" for channel_id in ids]
        entered = [room for room in rooms if self._node.rooms.enter(connection, room)]
        if not entered:
            return list(ids)
        try:
            async with asyncio.timeout(JOIN_SECONDS):
                for room in entered:
                    await self._node.rooms.follow(room)
            still = {
                f"channel:{one}" for one in await self._store.channel_ids_of(connection.user.id)
            }
        except (TimeoutError, Unavailable) as error:
            for room in entered:
                self._expel(connection, room, "unavailable")
            raise Unavailable("The channels cannot be followed now; try again.") from error
        for room in set(entered) - still:
            self._expel(connection, room, "removed")
        return [one for one in ids if f"channel:{one}" in still or f"channel:{one}" not in entered]

    async def members_of_any(self, user_ids: Sequence[str]) -> Sequence[str]:
        """Which of these users have channels at all."""
        return await self._store.members_of_any(user_ids)

    async def enter_later(self, connection: Connection) -> None:
        """As `enter`, for a connect that does not wait for it."""
        try:
            await self.enter(connection)
        except ParlourError as error:
            log.warning("channels not entered", user=connection.user.id, error=str(error))
            connection.send(ERROR.encode({"event": "connect", "error": error.to_wire()}))

    async def _invite(self, announcement: Announcement) -> None:
        """Before they are told so, new members enter the room on every node."""
        kind, _, subject = announcement.stream.partition(":")
        if kind == "user":
            await self._node.routing.follow(subject)
            return
        added = [
            event.data["body"]["user_id"]
            for event in announcement.events
            if event.type == "member:added"
        ]
        if any(event.type == "channel:created" for event in announcement.events):
            added += await self._everybody(subject)
        if not added:
            return
        room = announcement.stream
        reached = await self._node.routing.enter_room_for_users(room, added)
        if not reached.complete:
            log.warning("not every node let new members in", room=room, failures=reached.failures)
        # An announcement that was repeated must not bring somebody back who was removed meanwhile.
        still = set(await self._store.members_among(subject, added))
        gone = [user_id for user_id in added if user_id not in still]
        if gone:
            await self._node.routing.leave_room_for_users(room, gone, "removed")

    async def _everybody(self, channel_id: str) -> list[str]:
        found: list[str] = []
        while True:
            page = await self._store.members(
                channel_id, after=found[-1] if found else None, limit=1000
            )
            found += [one["user"]["id"] for one in page.items]
            if not page.more:
                return found

    def shut_out(self, event: Event) -> None:
        """An event of a channel took access away: whoever it concerns leaves the room here, now."""
        room, body = event.stream, event.data.get("body", {})
        hub = self._node.hub
        if event.type == CHANNEL_DELETED:
            for connection in hub.members(room):
                self._expel(connection, room, "deleted")
            return
        if event.type != MEMBER_REMOVED:
            self.review(room)
            return
        gone = [one for one in hub.members(room) if one.user.id == body.get("user_id")]
        for connection in gone:
            self._expel(connection, room, "removed")
        if gone:
            # Somebody who was added again at the same time may have entered before this was heard.
            self._node.tasks.spawn(self._readmit(room, gone), f"readmit {room}")

    def review(self, room: str) -> None:
        """What a channel grants has changed, or nobody knows what was missed: ask again for everybody."""
        self._node.tasks.spawn(self._review(room), f"review {room}")

    async def _review(self, room: str) -> None:
        """Take out who may no longer read the channel. The stream is followed first: what ends access from
        then on is heard."""
        channel_id = room.partition(":")[2]
        await self._node.rooms.follow(room)
        users = {one.user.id: one.user for one in self._node.hub.members(room)}
        allowed: set[str] = set()
        try:
            allowed |= set(await self._store.members_among(channel_id, list(users)))
            for user_id in users.keys() - allowed:
                standing = await self._store.standing(channel_id, users[user_id])
                if standing is not None and standing.reads:
                    allowed.add(user_id)
        except Unavailable as error:
            # Whoever is not known to be allowed leaves; the clients come back and are asked again.
            log.warning("access could not be reviewed", room=room, error=str(error))
        for connection in self._node.hub.members(room):
            if connection.user.id in users.keys() - allowed:
                self._expel(connection, room, "access")

    async def _readmit(self, room: str, connections: Sequence[Connection]) -> None:
        user = connections[0].user
        try:
            if not await self.belongs(user, room):
                return
            for connection in connections:
                self._node.rooms.enter(connection, room)
            await self._node.rooms.follow(room)
            if not await self.belongs(user, room):
                for connection in connections:
                    self._expel(connection, room, "removed")
        except Unavailable as error:
            log.warning("membership not known", room=room, user=user.id, error=str(error))
            for connection in connections:
                self._expel(connection, room, "unavailable")

    def _expel(self, connection: Connection, room: str, reason: str) -> None:
        self._node.hub.leave(room, connection)
        connection.send(ACCESS_UPDATED.encode({"room": room, "reason": reason}))

    # -- history ---------------------------------------------------------------------------------

    async def _announced(self, announcement: Announcement, appended: Appended) -> None:
        if any(map(_opens, announcement.events)):
            room = announcement.stream
            self._node.tasks.spawn(self._node.knocks.answer(room), f"answer who waits at {room}")
        await self._compact(announcement, appended)

    async def _compact(self, announcement: Announcement, appended: Appended) -> None:
        """The stream is for catching up; what was said is in the tables. A conversation's stream is its own
        table."""
        stream, last = announcement.stream, appended.last
        if stream.startswith("thread:"):
            return
        every, kept = (
            (COMPACT_EVERY, REPLAYABLE_EVENTS)
            if stream.startswith("channel:")
            else (USER_STREAM_KEPT, USER_STREAM_KEPT)
        )
        crossed = (appended.first - 1) // every != last // every
        if crossed and last > (KEPT_EVENTS if stream.startswith("channel:") else kept):
            await self._node.archive.compact(stream, last - kept)


def _opens(event: NewEvent) -> bool:
    """Whether somebody may read afterwards who could not before, without hearing of it otherwise."""
    if event.type == ACCESS:
        return True
    changed = event.data.get("body") or {}
    return event.type == "channel:updated" and bool(changed.get("access_changed"))
