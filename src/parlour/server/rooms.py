"""Rooms that the server puts connections into, so that they hear a stream without subscribing.

A channel's stream is followed here from the moment its first member enters, in the background: no
connect waits for it. A user's own stream is followed from the first time that something is written
to it while the user is connected, so that a thousand people who come back cost no reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from parlour.errors import ParlourError
from parlour.server.connections import Connection
from parlour.server.feeds import Feed, Feeds
from parlour.server.hub import Hub
from parlour.server.tasks import Tasks

log = structlog.get_logger(__name__)

FOLLOWED_AT_ENTRY: Final = ("channel:", "note:")
OPENED_AT_ONCE: Final = 16
"""Feeds that are opened at the same time; a crowd that connects must not crowd the stores."""

FIRST_WAIT: Final = 0.1
LONGEST_WAIT: Final = 5.0


class _Hold:
    """One stream that is followed for the sake of a room."""

    def __init__(self) -> None:
        self.feed: Feed | None = None
        self.over = False
        self.ready: asyncio.Task[None] | None = None


class Rooms:
    """Entries made by the server, and the feeds behind them."""

    def __init__(self, hub: Hub, feeds: Feeds, tasks: Tasks) -> None:
        self._hub = hub
        self._feeds = feeds
        self._tasks = tasks
        self._holds: dict[str, _Hold] = {}
        self._opening = asyncio.Semaphore(OPENED_AT_ONCE)
        self.broken: Callable[[], None] = _unheard
        """Called when a stream broke: whoever keeps something in the same store may have lost it too."""
        hub.watch(self._moved)

    def enter(self, connection: Connection, room: str) -> bool:
        """Put a connection into a room; False where it is in it or has left."""
        if connection.left or room in connection.rooms:
            return False
        self._hub.join(room, connection)
        if room.startswith(FOLLOWED_AT_ENTRY):
            self._hold(room)
        return True

    async def follow(self, stream: str) -> bool:
        """Have the members of the room of this name hear the stream from now on: what is appended after
        this returned reaches them. False where nobody is in the room."""
        if not self._hub.occupied(stream):
            return False
        hold = self._hold(stream)
        if hold.feed is None and hold.ready is not None:
            await asyncio.wait({hold.ready})
        return True

    def renew(self, stream: str) -> bool:
        """The feed broke: follow anew. False where the stream is not followed for a room."""
        self.broken()
        hold = self._holds.get(stream)
        if hold is None:
            return False
        self._release(hold)
        del self._holds[stream]
        self._hold(stream)
        return True

    def _hold(self, stream: str) -> _Hold:
        hold = self._holds.get(stream)
        if hold is None:
            hold = self._holds[stream] = _Hold()
            hold.ready = self._tasks.spawn(self._open(stream, hold), f"follow {stream}")
        return hold

    async def _open(self, stream: str, hold: _Hold) -> None:
        wait = FIRST_WAIT
        while not hold.over:
            try:
                async with self._opening:
                    feed = await self._feeds.acquire(stream)
            except ParlourError as error:
                log.warning("a room's stream cannot be followed", stream=stream, error=str(error))
                await asyncio.sleep(wait)
                wait = min(LONGEST_WAIT, wait * 2)
                continue
            hold.feed = feed
            if hold.over:
                self._release(hold)
            return

    def _moved(self, room: str, connection: Connection, entered: bool) -> None:
        if not entered and room in self._holds and not self._hub.occupied(room):
            self._release(self._holds.pop(room))

    def _release(self, hold: _Hold) -> None:
        hold.over = True
        if hold.feed is not None:
            self._feeds.release(hold.feed)
            hold.feed = None


def _unheard() -> None:
    return None
