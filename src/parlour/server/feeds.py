"""A feed: this node's live copy of one stream, shared by everyone here who follows it.

The feed is attached to the log once, holds the newest events in a ring and folds them into the
stream's state, so that a thousand clients that come back at once cost one read, not a thousand.
Joining is synchronous: the ring is sliced and the reader added in one step of the event loop, so
nothing can happen in between (the race that replay-then-join and join-then-replay both lose).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import structlog

from parlour.core.streams import Batch, Event, Position
from parlour.core.thread import ThreadState, fold
from parlour.errors import PositionLost
from parlour.ports import Archive, Attachment, Clock, EventLog, Lost

log = structlog.get_logger(__name__)

RING_EVENTS = 2048
RING_BYTES = 1_000_000
READ_PAGE = 1000
PRIME_ATTEMPTS = 4
IDLE_LIMIT = 2_000
"""Feeds that are kept though nobody follows them …"""

IDLE_SECONDS = 60.0
"""… for this long: whoever comes back after a reload or a blip costs no read."""

Watcher = Callable[[Batch | Lost], None]


class Deliver(Protocol):
    """Gives a feed's news to this node's connections."""

    def events(self, stream: str, events: Sequence[Event]) -> None: ...

    def lost(self, stream: str) -> None: ...


_position: Final = tuple.__new__
"""Makes a `Position` without the named tuple's own constructor, which costs three times as much."""

_NOTHING_HEARD: Final[deque[Event]] = deque()
_NOTHING_SAID: Final = ThreadState()
"""Shared by all feeds of empty conversations, and never written to: a fold makes a new state."""


class Feed:
    """One stream on this node. `position` is the newest event that was heard."""

    __slots__ = (
        "_archive",
        "_attachment",
        "_deliver",
        "_early",
        "_folded",
        "_log",
        "_ring",
        "_ring_bytes",
        "_state",
        "_watchers",
        "_window",
        "idle_since",
        "lock",
        "open",
        "position",
        "stream",
        "users",
    )

    def __init__(
        self, stream: str, log: EventLog, archive: Archive, deliver: Deliver, window: int
    ) -> None:
        self.stream = stream
        self.position = Position("", 0)
        self.users = 0
        self.idle_since = 0.0
        self.lock = asyncio.Lock()
        self.open = False
        self._log = log
        self._archive = archive
        self._deliver = deliver
        self._window = window
        self._attachment: Attachment | None = None
        self._ring: deque[Event] = _NOTHING_HEARD
        self._ring_bytes = 0
        self._state = _NOTHING_SAID
        self._folded = 0
        self._watchers: dict[Watcher, None] = {}
        self._early: list[Batch | Lost] | None = None

    # -- life ------------------------------------------------------------------------------------

    async def prime(self) -> None:
        """Attach and load the state. Raises `PositionLost` where the stream keeps changing its epoch."""
        for _ in range(PRIME_ATTEMPTS):
            self._early = []
            self._attachment = await self._log.attach(self.stream, self.hear)
            try:
                await self._load(self._attachment.position)
            except PositionLost:
                await self._attachment.detach()
                continue
            except BaseException:
                await self._attachment.detach()
                raise
            early, self._early = self._early, None
            self.open = True
            for item in early:
                self.hear(item)
            if self.open:
                return
        raise PositionLost(stream=self.stream)

    async def _load(self, head: Position) -> None:
        """Fold what is stored, up to the position from which the sink hears everything."""
        stored = await self._archive.projection(self.stream, self._window)
        self._ring, self._ring_bytes = _NOTHING_HEARD, 0
        self._state, start = _NOTHING_SAID, Position(head.epoch, 0)
        if stored is not None and stored.position.epoch == head.epoch:
            self._state = ThreadState.from_wire(stored.state, stored.messages)
            start = stored.position
        elif not self.stream.startswith("thread:"):
            # Only conversations are folded; other streams are followed from their present.
            start = head
        self._folded = start.offset
        self.position = start
        while self.position.offset < head.offset:
            page = await self._log.read(self.stream, self.position, READ_PAGE)
            if not page.events:
                raise PositionLost(stream=self.stream)
            self._take(page.events)

    async def close(self) -> None:
        self.open = False
        if self._attachment is not None:
            await self._attachment.detach()

    # -- news ------------------------------------------------------------------------------------

    def hear(self, item: Batch | Lost) -> None:
        """The sink on the log."""
        if self._early is not None:
            self._early.append(item)
            return
        if not self.open:
            return
        epoch, offset = self.position
        if isinstance(item, Lost) or item.epoch != epoch or item.since > offset:
            self._lose()
            return
        batch = item if item.since == offset else self._fresh(item)
        events = batch.events
        if not events:
            return
        self._take(events)
        self._deliver.events(self.stream, events)
        if self._watchers:
            for watcher in tuple(self._watchers):
                watcher(batch)

    def _fresh(self, batch: Batch) -> Batch:
        """What of it was not heard before."""
        here = self.position.offset
        fresh = [event for event in batch.events if event.offset > here]
        return Batch(self.stream, batch.epoch, here, fresh)

    def _lose(self) -> None:
        self.open = False
        self._deliver.lost(self.stream)
        for watcher in tuple(self._watchers):
            watcher(Lost(self.stream))

    def _take(self, events: Sequence[Event]) -> None:
        if self._ring is _NOTHING_HEARD:
            self._ring = deque()
        self._ring.extend(events)
        size = 0
        for event in events:
            # `_weight`, without the call.
            text = event.data.get("text") or event.data.get("content")
            size += 200 + (len(text) if isinstance(text, str) else 200)
        self._ring_bytes += size
        self.position = _position(Position, (event.epoch, event.offset))
        if len(self._ring) > RING_EVENTS or self._ring_bytes > RING_BYTES:
            self._fold()
            while self._ring and (
                len(self._ring) > RING_EVENTS // 2 or self._ring_bytes > RING_BYTES // 2
            ):
                self._ring_bytes -= _weight(self._ring.popleft())

    def _fold(self) -> None:
        if not self.stream.startswith("thread:"):
            return
        pending = [event for event in self._ring if event.offset > self._folded]
        if pending:
            self._state, _ = fold(self._state, pending, window=self._window)
            self._folded = pending[-1].offset

    # -- reading ---------------------------------------------------------------------------------

    @property
    def state(self) -> ThreadState:
        """The fold at `position`."""
        self._fold()
        return self._state

    def since(self, position: Position) -> list[Event] | None:
        """The events after `position` where the ring holds them all; None where it does not. Raises
        `PositionLost` for another epoch or the future."""
        if position.epoch != self.position.epoch or position.offset > self.position.offset:
            raise PositionLost(stream=self.stream)
        missing = self.position.offset - position.offset
        if missing == 0:
            return []
        if missing > len(self._ring):
            return None
        return list(self._ring)[len(self._ring) - missing :]

    async def reach(self, head: Position) -> bool:
        """Wait until everything up to `head` was heard. False where the feed broke, or counts in another
        epoch than `head`."""
        if self._holds(head):
            return True
        arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def look(_: Batch | Lost) -> None:
            if not arrived.done() and (self._holds(head) or not self.open):
                arrived.set_result(None)

        self.watch(look)
        try:
            if self.open and head.epoch == self.position.epoch:
                await arrived
        finally:
            self.unwatch(look)
        return self._holds(head)

    def _holds(self, head: Position) -> bool:
        return head.epoch == self.position.epoch and head.offset <= self.position.offset

    def watch(self, watcher: Watcher) -> None:
        """Hear every batch from now on, and `Lost` at last."""
        self._watchers[watcher] = None

    def unwatch(self, watcher: Watcher) -> None:
        self._watchers.pop(watcher, None)


def _weight(event: Event) -> int:
    """A cheap estimate of an event's size in bytes."""
    text = event.data.get("text") or event.data.get("content")
    return 200 + (len(text) if isinstance(text, str) else 200)


class Feeds:
    """The feeds of this node, opened on demand by one caller at a time, kept for a while after use."""

    def __init__(
        self,
        log: EventLog,
        archive: Archive,
        deliver: Deliver,
        clock: Clock,
        window: int,
        idle_limit: int = IDLE_LIMIT,
    ) -> None:
        self._clock = clock
        self._log = log
        self._archive = archive
        self._deliver = deliver
        self._window = window
        self._idle_limit = idle_limit
        self._feeds: dict[str, Feed] = {}
        self._idle: OrderedDict[str, Feed] = OrderedDict()

    async def acquire(self, stream: str) -> Feed:
        """A primed feed that stays until `release`. Single flight per stream."""
        feed = self._feeds.get(stream)
        if feed is None or (feed.users == 0 and not feed.open and not feed.lock.locked()):
            feed = Feed(stream, self._log, self._archive, self._deliver, self._window)
            self._feeds[stream] = feed
        feed.users += 1
        self._idle.pop(stream, None)
        try:
            if not feed.open:
                async with feed.lock:
                    if not feed.open:
                        await feed.prime()
        except BaseException:
            self.release(feed)
            raise
        return feed

    def peek(self, stream: str) -> Feed | None:
        """The feed if it is open here."""
        feed = self._feeds.get(stream)
        return feed if feed is not None and feed.open else None

    def release(self, feed: Feed) -> None:
        feed.users -= 1
        if feed.users == 0 and self._feeds.get(feed.stream) is feed:
            feed.idle_since = self._clock.monotonic()
            self._idle[feed.stream] = feed

    async def evict(self) -> None:
        """Close what nobody used for `IDLE_SECONDS`, and the longest unused beyond the idle limit."""
        old = self._clock.monotonic() - IDLE_SECONDS
        while self._idle:
            feed = next(iter(self._idle.values()))
            if feed.idle_since > old and len(self._idle) <= self._idle_limit:
                return
            await self._drop(feed)

    async def _drop(self, feed: Feed) -> None:
        self._idle.pop(feed.stream, None)
        self._feeds.pop(feed.stream, None)
        await feed.close()

    async def close(self) -> None:
        for feed in list(self._feeds.values()):
            await self._drop(feed)

    def stats(self) -> dict[str, Any]:
        return {"open": len(self._feeds), "idle": len(self._idle)}
