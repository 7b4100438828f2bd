"""The event log in Redis: the hot window that many nodes share.

Each operation is one script, hence atomic, and one round trip; the keys of a stream share the hash
tag `{stream}`. Followers hear through pub/sub, and a break of that connection is mended by reading
(`channel.py`).

A stream that Redis does not hold is opened through the origin. A server process that is not the one
the stream was opened on (it restarted, or a replica took over) may have lost the newest events; the
append script notices by the run_id and the stream is opened again, under a new epoch, before
anything is written. Nothing expires by itself: `idle` and `evict` let go of what the archive holds.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from parlour.backends.epochs import first_epoch, next_epoch
from parlour.backends.flights import SingleFlight
from parlour.backends.records import decode_record, encode_record
from parlour.backends.redis.channel import Channel
from parlour.backends.redis.connection import Redis
from parlour.backends.redis.pubsub import Listener, Subscriber
from parlour.backends.redis.records import pack, unpack
from parlour.backends.redis.scripts import script
from parlour.backends.sinks import HeldAttachment
from parlour.backends.window import WindowLimits, counts
from parlour.core.streams import Appended, Dedupe, Event, NewEvent, Page, Position
from parlour.errors import (
    ExpectationFailed,
    LeaseLost,
    PositionLost,
    ShuttingDown,
    Unavailable,
)
from parlour.ports import (
    Attachment,
    Entry,
    Follower,
    Opening,
    Origin,
    Sink,
    follow_with,
)

log = logging.getLogger(__name__)

_NOT_OPEN = (b"absent", b"changed")
"""Answers to which a stream has to be opened."""

OPEN_GRACE_MS = 5000
"""How long one node may take to open or evict a stream before another one may try."""

WAIT_S = 0.02
"""Between two looks at a stream that another node is opening."""


class RedisLog:
    """`ports.EventLog` and `ports.HotLog` in Redis. Without an `origin` there is no archive:
    nothing counts as unsynchronised, and what leaves the window is gone."""

    def __init__(
        self,
        redis: Redis,
        subscriptions: Subscriber,
        *,
        origin: Origin | None = None,
        limits: WindowLimits | None = None,
    ) -> None:
        self._redis = redis
        self._subscriptions = subscriptions
        self._origin = origin
        self._limits = limits or WindowLimits()
        self._opening: SingleFlight[None] = SingleFlight()
        self._channels: dict[str, asyncio.Task[Channel]] = {}
        self._filling: set[asyncio.Task[None]] = set()
        self._closed = False

    # -- EventLog --------------------------------------------------------------------------------

    async def append(
        self,
        stream: str,
        events: Sequence[NewEvent],
        *,
        expected: int | None = None,
        fence: int | None = None,
        dedupe: Dedupe | None = None,
    ) -> Appended:
        """Also raises `InvalidPayload` for data that is not JSON and `TooLarge`."""
        if not events:
            raise ValueError("an append needs at least one event")
        limits = self._limits
        records = [pack(encode_record(event, limits.event_bytes)) for event in events]
        values = (
            stream,
            self._redis.publish_verb,
            self._channel_name(stream),
            int(self._origin is not None),
            "" if expected is None else expected,
            "" if fence is None else fence,
            *((1, *dedupe) if dedupe is not None else (0, "", b"")),
            limits.messages,
            limits.events,
            limits.bytes,
            limits.unsynced_events,
            limits.unsynced_bytes,
            "".join("1" if counts(event) else "0" for event in events),
            *records,
        )
        reply = await self._run("append", stream, values)
        return _appended(stream, reply)

    async def read(self, stream: str, after: Position | None, limit: int) -> Page:
        where = ("", 0) if after is None else (after.epoch, after.offset)
        reply = await self._run("read", stream, (*where, limit))
        if reply[0] == b"lost":
            raise PositionLost(stream=stream)
        epoch, head, start = reply[1].decode(), int(reply[2]), int(reply[3])
        events = _events(stream, epoch, start, reply[4])
        return Page(events, Position(epoch, start + len(events)), Position(epoch, head))

    async def head(self, stream: str) -> Position:
        return (await self.read(stream, None, 0)).head

    async def attach(self, stream: str, sink: Sink) -> Attachment:
        while True:
            self._check_open()
            listening = self._channels.get(stream)
            if listening is None:
                listening = asyncio.create_task(self._listen(stream), name=f"follow {stream}")
                self._channels[stream] = listening
            channel = await self._listened(stream, listening)
            if self._channels.get(stream) is not listening:
                continue
            if channel.alive:
                ended = partial(self._detached, stream, channel)
                return HeldAttachment(channel.sinks, sink, channel.position, ended)
            # Continuity was lost while it was being set up, before it could be taken off the list.
            del self._channels[stream]

    def follow(self, stream: str, limit: int = 1024) -> AbstractAsyncContextManager[Follower]:
        return follow_with(self, stream, limit)

    async def trim(self, stream: str, through: int) -> None:
        await self.head(stream)
        await self._redis.run(script("trim"), self._keys(stream), (through,))

    async def close(self) -> None:
        """Ends this log's work; the connections belong to whoever made them."""
        self._closed = True
        await self._opening.close()
        tasks = [*self._channels.values(), *self._filling]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for stream, listening in tuple(self._channels.items()):
            if not listening.cancelled() and listening.exception() is None:
                self._forget(stream, listening.result())
        self._channels.clear()

    # -- HotLog ----------------------------------------------------------------------------------

    async def window(self, stream: str) -> tuple[int, int]:
        page = await self.read(stream, None, 0)
        return page.position.offset, page.head.offset

    async def dirty(self, limit: int) -> Sequence[str]:
        parts = self._redis.keys.parts("dirty")
        replies = await asyncio.gather(
            *(self._redis.call("ZRANGE", part, 0, limit - 1, "WITHSCORES") for part in parts)
        )
        since = {
            name.decode(): float(score)
            for reply in replies
            for name, score in zip(reply[::2], reply[1::2], strict=True)
        }
        return sorted(since, key=since.__getitem__)[:limit]

    async def unsynced(self, stream: str, limit: int) -> Sequence[Entry]:
        reply = await self._redis.run(script("unsynced"), self._keys(stream), (limit,))
        return _entries(stream, reply)

    async def mark_synced(self, stream: str, position: Position) -> None:
        limits = self._limits
        await self._redis.run(
            script("mark"),
            self._keys(stream),
            (
                stream,
                position.epoch,
                position.offset,
                limits.messages,
                limits.events,
                limits.bytes,
            ),
        )

    async def idle(self, limit: int) -> Sequence[str]:
        if self._origin is None:
            return ()
        values = (self._limits.expiry_ms, limit)
        replies = await asyncio.gather(
            *(
                self._redis.run(script("idle"), [part], values)
                for part in self._redis.keys.parts("active")
            )
        )
        return [name.decode() for reply in replies for name in reply][:limit]

    async def evict(self, stream: str, seal: Callable[[Position], Awaitable[bool]]) -> bool:
        if self._origin is None:
            return False
        keys = self._keys(stream)
        reply = await self._redis.run(
            script("leave"), keys, (stream, self._limits.expiry_ms, OPEN_GRACE_MS)
        )
        if not reply:
            return False
        head = Position(reply[0].decode(), int(reply[1]))
        sealed = await seal(head)
        gone = await self._redis.run(
            script("left"), keys, (stream, head.epoch, head.offset, int(sealed))
        )
        if sealed and not gone:
            # Somebody went on with it meanwhile: the archive must not believe that it is closed.
            await self._origin.open(stream)
        return bool(gone)

    async def touch(self, stream: str) -> None:
        active = self._redis.keys.index("active", stream)
        await self._redis.run(script("touch"), [active], (stream,))

    # -- keys ------------------------------------------------------------------------------------

    def _keys(self, stream: str) -> tuple[str, ...]:
        return self._redis.keys.stream(stream)

    def _channel_name(self, stream: str) -> str:
        return f"{self._redis.keys.own(stream)}:news"

    # -- opening ---------------------------------------------------------------------------------

    async def _run(self, name: str, stream: str, values: Sequence[Any]) -> Any:
        """Run a stream's script; open the stream first where the script asks for it."""
        keys, operation = self._keys(stream), script(name)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 2 * self._redis.time_limit
        while loop.time() < deadline:
            self._check_open()
            reply = await self._redis.run_with(operation, keys, lambda run: (run, *values))
            if reply[0] in _NOT_OPEN:
                await self._opening.run(stream, partial(self._open, stream))
            elif reply[0] == b"leaving":
                await asyncio.sleep(WAIT_S)
            else:
                return reply
        raise Unavailable("the stream could not be opened in time", stream=stream)

    async def _look(self, stream: str) -> Any:
        """How Redis holds the stream; opens nothing."""
        return await self._redis.run_with(
            script("read"), self._keys(stream), lambda run: (run, "", 0, 0)
        )

    async def _open(self, stream: str) -> None:
        """Ask the origin how the stream goes on. Other nodes wait meanwhile: each one that asks
        renews the epoch, which is right in any order but sends every reader for a snapshot."""
        lock, token = f"{self._redis.keys.own(stream)}:opening", secrets.token_hex(8)
        if not await self._redis.call("SET", lock, token, "NX", "PX", OPEN_GRACE_MS):
            await asyncio.sleep(WAIT_S)
            return
        try:
            # Somebody may have opened it between the question and the lock.
            reply = await self._look(stream)
            if reply[0] in _NOT_OPEN:
                await self._open_as(stream, await self._opening_of(stream, reply))
        finally:
            await self._redis.run(script("unlock"), [lock], (token,))

    async def _opening_of(self, stream: str, reply: Any) -> Opening:
        if self._origin is not None:
            return await self._origin.open(stream)
        if reply[0] == b"changed":
            return Opening(Position(next_epoch(reply[1].decode()), int(reply[2])))
        return Opening(Position(first_epoch(), 0))

    async def _open_as(self, stream: str, opening: Opening) -> None:
        receipts = [
            word
            for key, first in opening.receipts.items()
            for word in (key, f"{first.epoch} {first.first} {first.last}", first.receipt)
        ]
        values = (
            stream,
            self._redis.publish_verb,
            self._channel_name(stream),
            opening.position.epoch,
            opening.position.offset,
            opening.fence,
            *receipts,
        )
        await self._redis.run_with(script("open"), self._keys(stream), lambda run: (run, *values))

    # -- following -------------------------------------------------------------------------------

    async def _listen(self, stream: str) -> Channel:
        """Subscribe first, read the head afterwards: nothing can be missed in between."""
        channel = Channel(
            stream, partial(self.read, stream), self._spawn, partial(self._forget, stream)
        )
        listener = Listener(self._channel_name(stream), channel.hear, channel.restored)
        channel.listener = listener
        await self._subscriptions.subscribe(listener)
        try:
            channel.start(await self.head(stream))
        except BaseException:
            self._subscriptions.unsubscribe(listener)
            raise
        return channel

    async def _listened(self, stream: str, listening: asyncio.Task[Channel]) -> Channel:
        """Wait for a channel that others may wait for as well."""
        try:
            return await asyncio.shield(listening)
        except asyncio.CancelledError:
            listening.add_done_callback(partial(self._abandoned, stream))
            raise
        except Exception:
            if self._channels.get(stream) is listening:
                del self._channels[stream]
            raise

    def _abandoned(self, stream: str, listening: asyncio.Task[Channel]) -> None:
        """Whoever asked for a channel went away before it was there."""
        if listening.cancelled() or listening.exception() is not None:
            if self._channels.get(stream) is listening:
                del self._channels[stream]
        else:
            self._release(stream, listening.result())

    async def _detached(self, stream: str, channel: Channel) -> None:
        self._release(stream, channel)

    def _release(self, stream: str, channel: Channel) -> None:
        """Stop hearing a stream that nobody here follows any more."""
        if channel.alive and not len(channel.sinks):
            channel.alive = False
            self._forget(stream, channel)

    def _forget(self, stream: str, channel: Channel) -> None:
        listening = self._channels.get(stream)
        if listening is not None and listening.done() and listening.result() is channel:
            del self._channels[stream]
        if channel.listener is not None:
            self._subscriptions.unsubscribe(channel.listener)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="redis-fill")
        self._filling.add(task)
        task.add_done_callback(self._filled)

    def _filled(self, task: asyncio.Task[None]) -> None:
        self._filling.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("reading a gap failed", exc_info=task.exception())

    def _check_open(self) -> None:
        if self._closed:
            raise ShuttingDown("the log is closed")


# -- answers of the scripts ------------------------------------------------------------------------


def _appended(stream: str, reply: Any) -> Appended:
    kind = reply[0]
    if kind == b"ok":
        return Appended(reply[1].decode(), int(reply[2]), int(reply[3]))
    if kind == b"known":
        epoch, first, last, _, receipt = reply[1].split(b" ", 4)
        return Appended(epoch.decode(), int(first), int(last), duplicate=True, receipt=receipt)
    if kind == b"fenced":
        raise LeaseLost("a newer owner has written to this stream", stream=stream)
    if kind == b"expected":
        raise ExpectationFailed(stream=stream, head=int(reply[1]))
    raise Unavailable("the database is too far behind; try again later", stream=stream)


def _events(stream: str, epoch: str, after: int, records: Sequence[bytes]) -> tuple[Event, ...]:
    return tuple(
        decode_record(stream, epoch, offset, record, unpack)
        for offset, record in enumerate(records, after + 1)
    )


def _entries(stream: str, reply: Any) -> list[Entry]:
    """Group records into appends: a record that `ends` closes one."""
    if not reply:
        return []
    epoch, offset = reply[0].decode(), int(reply[1])
    entries: list[Entry] = []
    run: list[Event] = []
    for record, ends, fence, key, receipt in reply[2]:
        run.append(decode_record(stream, epoch, offset, record, unpack))
        offset += 1
        if ends:
            entries.append(
                Entry(
                    stream,
                    epoch,
                    tuple(run),
                    int(fence) if fence else None,
                    (key.decode(), _first(receipt)) if receipt else None,
                )
            )
            run = []
    return entries


def _first(receipt: bytes) -> Appended:
    epoch, first, last, _, answer = receipt.split(b" ", 4)
    return Appended(epoch.decode(), int(first), int(last), receipt=answer)
