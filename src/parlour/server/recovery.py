"""How a reader becomes current, in one place: splice history and live events, or give a snapshot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from parlour.core.access import Grant
from parlour.core.agents import shuts_out
from parlour.core.channels import ends_access_of
from parlour.core.streams import Batch, Event, Position, check_stream_name
from parlour.core.thread import ACCESS
from parlour.errors import InvalidPayload, Lagged, PositionLost, Unavailable
from parlour.ports import EventLog, Follower
from parlour.server.connections import Caller, Connection
from parlour.server.feeds import READ_PAGE, Feed, Feeds
from parlour.server.hub import Hub
from parlour.server.permissions import Permissions
from parlour.wire.events import event_payload

REPLAY_LIMIT = 2_000
"""More missed events than this are cheaper as a snapshot."""

CHANNEL = "channel:"
AGENT = "agent:"
THREAD = "thread:"
GUARDED = (CHANNEL, AGENT, THREAD)
"""Streams whose readers may be shut out by one of their events."""

Wire = dict[str, Any]

Snapshot = Callable[[Caller, str], Awaitable[Wire]]
"""The state of a stream that is kept elsewhere than in its fold, at or past the feed's position."""


class Recovery:
    """Subscribes connections and HTTP readers to streams, after asking whether they may read them."""

    def __init__(self, log: EventLog, feeds: Feeds, hub: Hub, permissions: Permissions) -> None:
        self._log = log
        self._feeds = feeds
        self._hub = hub
        self._permissions = permissions
        self.snapshots: dict[str, Snapshot] = {}
        """By the part of a stream's name before the colon."""

    async def subscribe(
        self,
        caller: Caller,
        connection: Connection,
        stream: str,
        position: Position | None,
        limit: int,
    ) -> Wire:
        """Bring a connection to the stream's present and keep it there. The answer of `subscribe`.

        Nothing is awaited after the connection has entered the room, so the acknowledgement leaves before
        the first live event.
        """
        feed, grant, admitted = await self._open(caller, stream)
        entered = False

        def enter() -> None:
            nonlocal entered
            admitted()
            self._hub.leave(stream, connection)
            if not connection.left:
                self._hub.join(stream, connection, partial(self._feeds.release, feed))
                entered = True

        try:
            answer = await self._current(caller, feed, position, limit, enter)
            return {**answer, "permission": grant.permission} if _is_thread(stream) else answer
        finally:
            if not entered:
                self._feeds.release(feed)

    def unsubscribe(self, connection: Connection, stream: str) -> None:
        self._hub.leave(stream, connection)

    async def page(self, caller: Caller, stream: str, after: Position | None, limit: int) -> Wire:
        """What `subscribe` answers, for a reader that does not stay."""
        feed, _, admitted = await self._open(caller, stream)
        try:
            return await self._current(caller, feed, after, limit, admitted)
        finally:
            self._feeds.release(feed)

    async def snapshot(self, caller: Caller, stream: str) -> Wire:
        """The folded state and its position."""
        return await self.page(caller, stream, None, 1)

    @asynccontextmanager
    async def follow(
        self, caller: Caller, stream: str, after: Position | None, limit: int = 1024
    ) -> AsyncIterator[AsyncIterator[list[Wire]]]:
        """History after `after` (None: only what comes from now on), then live events, in lists.

        The iterator ends with `PositionLost` where a snapshot is needed and with `Lagged` where the reader
        fell more than `limit` events behind, or has to be authorised again.
        """
        feed, _, admitted = await self._open(caller, stream)
        follower = Follower(limit)

        def enter() -> None:
            admitted()
            feed.watch(follower.hear)

        try:
            history: list[Event] = []
            if after is None:
                enter()
            else:
                history = await self._splice(feed, after, None, enter)
            yield _merged(caller.user.id, history, follower)
        finally:
            feed.unwatch(follower.hear)
            self._feeds.release(feed)

    async def _authorise(self, caller: Caller, stream: str) -> Grant:
        try:
            check_stream_name(stream)
        except ValueError as error:
            raise InvalidPayload(str(error)) from None
        return await self._permissions.require_read(caller.user, stream)

    async def _open(self, caller: Caller, stream: str) -> tuple[Feed, Grant, Callable[[], None]]:
        """The feed of a stream that the caller may read, what the caller may do with it, and a function that
        raises `Unavailable` where an event has come since that may have changed this. A guarded stream is
        authorised once more when its feed is attached: whatever shuts somebody out from then on is heard."""
        grant = await self._authorise(caller, stream)
        feed = await self._feeds.acquire(stream)
        if grant.own or not stream.startswith(GUARDED):
            return feed, grant, _nothing
        try:
            mark = feed.position
            grant = await self._authorise(caller, stream)
        except BaseException:
            self._feeds.release(feed)
            raise
        return feed, grant, partial(_still_admitted, feed, mark, caller.user.id)

    async def _current(
        self,
        caller: Caller,
        feed: Feed,
        position: Position | None,
        limit: int,
        enter: Callable[[], None],
    ) -> Wire:
        if position is not None:
            try:
                events = await self._splice(feed, position, limit, enter)
            except (PositionLost, Lagged):
                pass
            else:
                status = "replayed" if events else "live"
                payloads = [event_payload(event) for event in events]
                return _answer(status, feed.position, events=payloads)
        snapshot = self.snapshots.get(feed.stream.partition(":")[0])
        if snapshot is None:
            enter()
            return _answer("snapshot", feed.position, events=[], snapshot=feed.state.to_wire())
        return await self._kept(caller, feed, snapshot, enter)

    async def _kept(
        self, caller: Caller, feed: Feed, snapshot: Snapshot, enter: Callable[[], None]
    ) -> Wire:
        """A state that is kept elsewhere, and what happened while it was read: the snapshot stands right
        before the first of these events, which may be in it already (they set, they do not add)."""
        since = feed.position
        state = await snapshot(caller, feed.stream)
        events = await self._splice(feed, since, None, enter)
        payloads = [event_payload(event) for event in events]
        return _answer("snapshot", feed.position, events=payloads, snapshot=state)

    async def _splice(
        self, feed: Feed, position: Position, limit: int | None, enter: Callable[[], None]
    ) -> list[Event]:
        """The events after `position` up to the moment at which `enter` was called."""
        history: list[Event] = []
        while True:
            ring = feed.since(position)
            if limit is not None and feed.position.offset - position.offset + len(history) > limit:
                raise Lagged(stream=feed.stream, position=str(position))
            if ring is not None:
                enter()
                return history + ring
            page = await self._log.read(feed.stream, position, READ_PAGE)
            if not page.events:
                raise PositionLost(stream=feed.stream)
            history.extend(page.events)
            position = page.position


async def _merged(
    user_id: str, history: list[Event], follower: Follower
) -> AsyncIterator[list[Wire]]:
    if history:
        yield [event_payload(event) for event in history]
    batch: Batch
    async for batch in follower:
        for number, event in enumerate(batch.events):
            if _shuts_out(event, user_id):
                yield [event_payload(event) for event in batch.events[: number + 1]]
                raise Lagged(stream=event.stream, position=str(event.position))
        yield [event_payload(event) for event in batch.events]


def _shuts_out(event: Event, user_id: str) -> bool:
    """Whether this user has to be authorised again before hearing what comes after."""
    if _is_thread(event.stream):
        return event.type == ACCESS
    if event.stream.startswith(AGENT):
        return shuts_out(user_id, event.type, event.data)
    return event.stream.startswith(CHANNEL) and ends_access_of(
        user_id, event.type, event.data.get("body", {})
    )


def _still_admitted(feed: Feed, mark: Position, user_id: str) -> None:
    try:
        events = feed.since(mark)
    except PositionLost:
        events = None
    if events is None or any(_shuts_out(event, user_id) for event in events):
        raise Unavailable("Access changed at this moment; try again.")


def _is_thread(stream: str) -> bool:
    return stream.startswith(THREAD)


def _nothing() -> None:
    return None


def _answer(status: str, position: Position, **more: Any) -> Wire:
    return {"status": status, "position": position.to_wire(), **more}
