"""How a reader becomes current, in one place: splice history and live events, or give a snapshot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from parlour.core.streams import Batch, Event, Position, check_stream_name
from parlour.errors import InvalidPayload, Lagged, PositionLost
from parlour.ports import EventLog, Follower
from parlour.server.connections import Caller, Connection
from parlour.server.feeds import READ_PAGE, Feed, Feeds
from parlour.server.hub import Hub
from parlour.server.permissions import Permissions
from parlour.wire.events import event_payload

REPLAY_LIMIT = 2_000
"""More missed events than this are cheaper as a snapshot."""

Wire = dict[str, Any]


class Recovery:
    """Subscribes connections and HTTP readers to streams, after asking whether they may read them."""

    def __init__(self, log: EventLog, feeds: Feeds, hub: Hub, permissions: Permissions) -> None:
        self._log = log
        self._feeds = feeds
        self._hub = hub
        self._permissions = permissions

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
        await self._authorise(caller, stream)
        feed = await self._feeds.acquire(stream)
        entered = False

        def enter() -> None:
            nonlocal entered
            self._hub.leave(stream, connection)
            if not connection.left:
                self._hub.join(stream, connection, partial(self._feeds.release, feed))
                entered = True

        try:
            return await self._current(feed, position, limit, enter)
        finally:
            if not entered:
                self._feeds.release(feed)

    def unsubscribe(self, connection: Connection, stream: str) -> None:
        self._hub.leave(stream, connection)

    async def page(self, caller: Caller, stream: str, after: Position | None, limit: int) -> Wire:
        """What `subscribe` answers, for a reader that does not stay."""
        await self._authorise(caller, stream)
        feed = await self._feeds.acquire(stream)
        try:
            return await self._current(feed, after, limit, lambda: None)
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
        fell more than `limit` events behind.
        """
        await self._authorise(caller, stream)
        feed = await self._feeds.acquire(stream)
        follower = Follower(limit)
        try:
            enter = partial(feed.watch, follower.hear)
            history: list[Event] = []
            if after is None:
                enter()
            else:
                history = await self._splice(feed, after, None, enter)
            yield _merged(history, follower)
        finally:
            feed.unwatch(follower.hear)
            self._feeds.release(feed)

    async def _authorise(self, caller: Caller, stream: str) -> None:
        try:
            check_stream_name(stream)
        except ValueError as error:
            raise InvalidPayload(str(error)) from None
        await self._permissions.require_read(caller.user, stream)

    async def _current(
        self, feed: Feed, position: Position | None, limit: int, enter: Callable[[], None]
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
        enter()
        return _answer("snapshot", feed.position, events=[], snapshot=feed.state.to_wire())

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


async def _merged(history: list[Event], follower: Follower) -> AsyncIterator[list[Wire]]:
    if history:
        yield [event_payload(event) for event in history]
    batch: Batch
    async for batch in follower:
        yield [event_payload(event) for event in batch.events]


def _answer(status: str, position: Position, **more: Any) -> Wire:
    return {"status": status, "position": position.to_wire(), **more}
