"""One followed stream on this node: messages of Redis become contiguous batches for the sinks.

A message says which epoch it belongs to and which offset it follows. What was heard already is
dropped, a gap (after a break of the connection) is read from the stream, and where that is
impossible, or the epoch changed, the sinks hear `Lost`.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from parlour.backends.records import decode_record
from parlour.backends.redis.pubsub import Listener
from parlour.backends.redis.records import unpack
from parlour.backends.sinks import Sinks
from parlour.core.streams import Batch, Event, Page, Position
from parlour.errors import PositionLost, ShuttingDown, Unavailable

log = logging.getLogger(__name__)

FILL_PAGE = 1000
MAX_HELD_BACK = 10_000
"""Messages that may arrive while a gap is being read; beyond it the sinks start anew."""

RETRY_S = 0.1

Read = Callable[[Position, int], Awaitable[Page]]
Spawn = Callable[[Coroutine[Any, Any, None]], None]


class Channel:
    """The sinks of one stream, and the position up to which they have heard. `ended` is called once
    when continuity is lost; then this channel is of no further use."""

    def __init__(
        self, stream: str, read: Read, spawn: Spawn, ended: Callable[[Channel], None]
    ) -> None:
        self.stream = stream
        self.sinks = Sinks()
        self.position = Position("", 0)
        self.alive = True
        self._read = read
        self._spawn = spawn
        self._ended = ended
        self.listener: Listener | None = None
        self._held_back: list[bytes] | None = []
        self._missed = False

    def start(self, head: Position) -> None:
        """Everything after `head` is for the sinks; what is older in the messages so far is
        dropped."""
        self.position = head
        self._release()

    def hear(self, payload: bytes) -> None:
        """A message of the channel."""
        if self._held_back is None:
            self._take(payload)
        elif len(self._held_back) < MAX_HELD_BACK:
            self._held_back.append(payload)
        else:
            self.lose()

    def restored(self) -> None:
        """The subscription is back: read what was missed."""
        if self._held_back is not None:
            self._missed = True  # a read is under way; it may be older than the break
        elif self.alive:
            self._fill_later()

    def lose(self) -> None:
        if self.alive:
            self.alive = False
            self._ended(self)
            self.sinks.lose(self.stream)

    # -- the parts -------------------------------------------------------------------------------

    def _release(self) -> None:
        held_back, self._held_back = self._held_back or [], None
        for n, payload in enumerate(held_back):
            if self._held_back is not None:  # another gap: the rest waits behind it
                self._held_back.extend(held_back[n:])
                return
            self._take(payload)
        if self._missed and self._held_back is None:
            self._fill_later()

    def _take(self, payload: bytes) -> None:
        if not self.alive:
            return
        batch = decode_message(self.stream, payload)
        if batch.epoch != self.position.epoch:
            self.lose()
        elif batch.since > self.position.offset:
            self._fill_later()
        elif batch.position.offset > self.position.offset:
            self._announce(batch)

    def _announce(self, batch: Batch) -> None:
        known = self.position.offset - batch.since
        if known:
            batch = Batch(
                self.stream, batch.epoch, self.position.offset, tuple(batch.events[known:])
            )
        self.position = batch.position
        self.sinks.announce(batch)

    def _fill_later(self) -> None:
        self._held_back = []
        self._missed = False
        self._spawn(self._fill())

    async def _fill(self) -> None:
        while self.alive:
            try:
                if await self._fill_page():
                    self._release()
                    return
            except PositionLost:
                self.lose()
            except ShuttingDown:
                return
            except Unavailable:
                await asyncio.sleep(RETRY_S)

    async def _fill_page(self) -> bool:
        """Read one page of what was missed; True when there is no more."""
        page = await self._read(self.position, FILL_PAGE)
        if page.events and self.alive:
            self._announce(
                Batch(self.stream, self.position.epoch, self.position.offset, tuple(page.events))
            )
        return page.position == page.head


def decode_message(stream: str, payload: bytes) -> Batch:
    """`epoch since\\n` and the records, each behind its length (four bytes, big-endian)."""
    end = payload.index(b"\n")
    epoch, since = payload[:end].decode().split(" ")
    events: list[Event] = []
    place = end + 1
    while place < len(payload):
        (size,) = struct.unpack_from(">I", payload, place)
        place += 4
        record = payload[place : place + size]
        events.append(decode_record(stream, epoch, int(since) + len(events) + 1, record, unpack))
        place += size
    return Batch(stream, epoch, int(since), tuple(events))
