"""The event stream of one agent session, over the numbered log of the node.

Adding is synchronous and never waits: events are queued in order, one writer (a task that exists only while
there is something to write) appends them, and the log gives the number, stores and announces in one
step. Subscribers hear what the log announces, in the order of the numbers, whoever wrote it: the same on every
node. An event counts as added when it was heard again here, so whoever waits for it knows that everything
before it was heard as well.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

from parlour.agents.events import Action, Observation, event_type, parse
from parlour.agents.secrets import Secrets
from parlour.core.streams import Appended, Batch, Dedupe, Event, NewEvent, Position
from parlour.errors import (
    CommandError,
    InvalidPayload,
    LeaseLost,
    NotFound,
    ParlourError,
    PositionLost,
    RateLimited,
    TooLarge,
    Unavailable,
)
from parlour.ports import Attachment, Lost

if TYPE_CHECKING:
    from parlour.server.node import Node

log = structlog.get_logger(__name__)

QUEUED: Final = 10_000
"""Events that may wait to be written; more is `rate_limited`."""

AT_ONCE: Final = 256
"""Events of one append."""

EVENT_BYTES: Final = 500_000
"""Largest event, as JSON; bigger content goes by reference, or is cut before."""

PAGE: Final = 500

FIRST_WAIT: Final = 0.05
LONGEST_WAIT: Final = 2.0

Callback = Callable[[Event], None]
Filter = Callable[[Event], bool]

Given = tuple[Action | Observation, str, int | str | None, Mapping[str, Any]]
"""An event, its source, its cause, and further fields of its record."""


def stream_name(session_id: str) -> str:
    """The stream, and the room, of an agent session."""
    return f"agent:{session_id}"


@dataclass(slots=True)
class _Waiting:
    """Events that are appended side by side; `added` is done when the last of them was heard."""

    key: str
    records: Sequence[NewEvent]
    added: asyncio.Future[Event]


class EventStream:
    """Typed events of one session: `add_event`, `subscribe`, `search_events`, `get_event`.

    `fence` is the generation of the owner's lease; None is for whoever only says what people want. An append with a
    stale fence raises `LeaseLost` in whoever waits for it, and ends the stream for writing.
    """

    def __init__(self, node: Node, session_id: str, secrets: Secrets | None = None) -> None:
        self.session_id = session_id
        self.name = stream_name(session_id)
        self.secrets = secrets or Secrets()
        self.fence: int | None = None
        self.unreadable = 0
        self.failed: ParlourError | None = None
        self.on_failed: Callable[[ParlourError], None] | None = None
        self._node = node
        self._queue: deque[_Waiting] = deque()
        self._queued = 0
        self._writer: asyncio.Task[None] | None = None
        self._closing = False
        self._subscribers: dict[str, Callback] = {}
        self._attachment: Attachment | None = None
        self._position: Position | None = None
        self._unheard: deque[tuple[Event, asyncio.Future[Event]]] = deque()
        self._early: list[Batch | Lost] | None = None
        self._mending: asyncio.Task[None] | None = None

    # -- life ------------------------------------------------------------------------------------

    @property
    def position(self) -> Position:
        """The newest event that was heard here."""
        assert self._position is not None, "the stream is not open"
        return self._position

    @property
    def queued(self) -> int:
        """Events that wait to be written."""
        return self._queued

    async def open(self, after: Position | None = None) -> None:
        """Hear everything from `after` on (None: from the beginning). What is stored already reaches the
        subscribers before this returns. Raises `PositionLost` where `after` is of another epoch."""
        self._early = []
        attachment = await self._node.log.attach(self.name, self._hear)
        try:
            head = attachment.position
            start = after or Position(head.epoch, 0)
            if start.epoch != head.epoch or start.offset > head.offset:
                raise PositionLost(stream=self.name)
            self._position = start
            await self._catch_up(head)
        except BaseException:
            await attachment.detach()
            raise
        self._attachment = attachment
        early, self._early = self._early, None
        for item in early:
            self._hear(item)

    async def close(self) -> None:
        """Write what is queued and let it be heard, then stop. Idempotent."""
        self._closing = True
        while self._writer is not None:
            await asyncio.wait({self._writer})
        if self._mending is not None:
            self._mending.cancel()
            await asyncio.wait({self._mending})
        if self._unheard and self._attachment is not None and self.failed is None:
            # The announcements are on their way; what they would say is stored already.
            await self._settle_stored()
        attachment, self._attachment = self._attachment, None
        if attachment is not None:
            await attachment.detach()
        self._drop(Unavailable("The session is closed."))

    async def _settle_stored(self) -> None:
        try:
            await self._catch_up(await self._node.log.head(self.name))
        except ParlourError as error:
            log.warning("the end of a stream was not heard", stream=self.name, error=str(error))

    # -- writing ---------------------------------------------------------------------------------

    def add_event(
        self,
        event: Action | Observation,
        source: str,
        cause: int | str | None = None,
        **more: Any,
    ) -> asyncio.Future[Event]:
        """Queue an event; the future is done once it is stored and every subscriber has heard it.

        `source` is `agent:{id}`, `user:{id}` or `system`; `cause` the number of the event that led to it;
        `more` are further fields of the record. Raises `RateLimited` when the queue is full, `TooLarge`,
        `InvalidPayload`, and `Unavailable` after `close`; the future raises `LeaseLost` when another owner
        writes."""
        return self.add_events((event, source, cause, more))

    def add_events(self, *given: Given) -> asyncio.Future[Event]:
        """As `add_event` for several that are stored in one step, side by side or not at all. Gives the last."""
        self._check_open(len(given))
        now = self._node.clock.now_ms()
        records = [self.record(*one, at=now) for one in given]
        key = f"write:{self._node.new_id()}"
        waiting = _Waiting(key, records, asyncio.get_running_loop().create_future())
        # Whoever does not wait for an event must not be told that nobody looked at its failure.
        waiting.added.add_done_callback(_look)
        self._queue.append(waiting)
        self._queued += len(records)
        if self._writer is None:
            self._writer = self._node.tasks.spawn(self._write(), f"writer of {self.name}")
        return waiting.added

    def record(
        self,
        event: Action | Observation,
        source: str,
        cause: int | str | None,
        more: Mapping[str, Any],
        *,
        at: int,
    ) -> NewEvent:
        """An event as it is stored: with its secrets masked, also those in what is derived from it."""
        data = self.secrets.mask({**event.to_data(), **more})
        try:
            size = len(orjson.dumps(data))
        except TypeError as error:
            raise InvalidPayload(f"an event must be JSON: {error}") from None
        if size > EVENT_BYTES:
            raise TooLarge(f"An event may have at most {EVENT_BYTES} bytes.", limit=EVENT_BYTES)
        return NewEvent(event_type(event), data, at, source, None if cause is None else str(cause))

    def _check_open(self, count: int) -> None:
        if self.failed is not None:
            raise self.failed
        if self._closing:
            raise Unavailable("The session is closing; try again.")
        if self._queued + count > QUEUED:
            raise RateLimited("Too many events wait to be written.")

    async def _write(self) -> None:
        try:
            while self._queue and self.failed is None:
                together = self._take()
                try:
                    await self._append(together)
                except ParlourError as error:
                    await self._refused(together, error)
        finally:
            self._writer = None

    def _take(self) -> list[_Waiting]:
        """As many whole entries from the front as one append may hold."""
        together = [self._queue.popleft()]
        count = len(together[0].records)
        while self._queue and count + len(self._queue[0].records) <= AT_ONCE:
            together.append(self._queue.popleft())
            count += len(together[-1].records)
        self._queued -= count
        return together

    async def _append(self, together: Sequence[_Waiting]) -> None:
        records = [record for waiting in together for record in waiting.records]
        appended = await self._append_surely(records, Dedupe(together[0].key))
        offset = appended.first - 1
        for waiting in together:
            offset += len(waiting.records)
            last = waiting.records[-1]
            event = Event(
                self.name,
                appended.epoch,
                offset,
                last.type,
                last.data,
                last.at,
                last.source,
                last.cause,
            )
            self._expect(event, waiting.added)

    async def _append_surely(self, records: Sequence[NewEvent], dedupe: Dedupe) -> Appended:
        """Go on trying while the store is away: the key makes that safe."""
        wait = FIRST_WAIT
        while True:
            try:
                return await self._node.streams.append_records(
                    self.name, records, dedupe, fence=self.fence
                )
            except Unavailable as error:
                log.warning("events wait for the store", stream=self.name, error=str(error))
                await asyncio.sleep(wait)
                wait = min(wait * 2, LONGEST_WAIT)

    async def _refused(self, together: Sequence[_Waiting], error: ParlourError) -> None:
        """Nothing of it was stored. A stale owner can write no more; one that was refused for what it says does
        not take its neighbours with it."""
        if isinstance(error, CommandError) and len(together) == 1:
            _fail(together[0].added, error)
        elif isinstance(error, CommandError):
            for waiting in together:
                try:
                    await self._append([waiting])
                except ParlourError as own:
                    await self._refused([waiting], own)
        else:
            if isinstance(error, LeaseLost):
                self._node.metrics.agent_stale_appends.inc()
            log.warning("a stream cannot be written", stream=self.name, error=str(error))
            self._drop(error)
            for waiting in together:
                _fail(waiting.added, error)

    def _drop(self, error: ParlourError) -> None:
        """Nothing more is written."""
        first = self.failed is None
        self.failed = self.failed or error
        for waiting in self._queue:
            _fail(waiting.added, error)
        self._queue.clear()
        self._queued = 0
        for _, added in self._unheard:
            _fail(added, error)
        self._unheard.clear()
        if first and self.on_failed is not None and not self._closing:
            self.on_failed(error)

    # -- hearing ---------------------------------------------------------------------------------

    def subscribe(self, subscriber: str, callback: Callback) -> None:
        """Hear every event from now on, on the event loop, in order; must not block. One callback per name."""
        self._subscribers[subscriber] = callback

    def unsubscribe(self, subscriber: str) -> None:
        """Idempotent; the callback is not called again."""
        self._subscribers.pop(subscriber, None)

    def _expect(self, event: Event, added: asyncio.Future[Event]) -> None:
        heard = self._attachment is None or self.position.offset >= event.offset
        if heard:
            _resolve(added, event)
        else:
            self._unheard.append((event, added))

    def _hear(self, item: Batch | Lost) -> None:
        """The sink on the log."""
        if self._early is not None:
            self._early.append(item)
        elif isinstance(item, Lost):
            self._attachment = None
            if not self._closing and self._mending is None:
                self._mending = self._node.tasks.spawn(self._mend(), f"follow {self.name} anew")
        else:
            self._deliver(item.events)

    def _deliver(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.offset <= self.position.offset:
                continue
            self._position = event.position
            self._dispatch(event)
            while self._unheard and self._unheard[0][0].offset <= event.offset:
                _resolve(self._unheard[0][1], self._unheard[0][0])
                self._unheard.popleft()

    def _dispatch(self, event: Event) -> None:
        if not self._readable(event):
            return
        for name, callback in tuple(self._subscribers.items()):
            try:
                callback(event)
            except Exception:
                # One subscriber's mistake must not keep the event from the others.
                log.exception("a subscriber failed", stream=self.name, subscriber=name)
                self._node.metrics.unexpected_errors.labels("agent stream").inc()

    async def _mend(self) -> None:
        """Continuity broke underneath: attach anew and read what was missed."""
        wait = FIRST_WAIT
        try:
            while not self._closing:
                try:
                    await self.open(self._position)
                    return
                except PositionLost as error:
                    self._drop(error)
                    return
                except Unavailable as error:
                    log.warning("a stream waits for the store", stream=self.name, error=str(error))
                    await asyncio.sleep(wait)
                    wait = min(wait * 2, LONGEST_WAIT)
        finally:
            self._mending = None

    async def _catch_up(self, head: Position) -> None:
        while self.position.offset < head.offset:
            page = await self._node.log.read(self.name, self.position, PAGE)
            if not page.events:
                raise PositionLost(stream=self.name)
            self._deliver(page.events)

    # -- reading ---------------------------------------------------------------------------------

    async def get_latest_event_id(self) -> int:
        """The number of the newest event, 0 where there is none."""
        return (await self._node.log.head(self.name)).offset

    async def get_event(self, event_id: int) -> Event:
        """Raises `NotFound`, also for one that cannot be read."""
        async for event in self.search_events(start_id=event_id, end_id=event_id, limit=1):
            return event
        raise NotFound(f"There is no event {event_id}.")

    async def search_events(
        self,
        start_id: int = 1,
        end_id: int | None = None,
        reverse: bool = False,
        filter: Filter | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[Event]:
        """Stored events from `start_id` to `end_id`, both included; `reverse` begins at the end. What cannot be read is
        skipped and counted (`unreadable`), one by one."""
        head = await self._node.log.head(self.name)
        last = head.offset if end_id is None else min(end_id, head.offset)
        left = limit
        async for event in self._pages(head.epoch, max(1, start_id), last, reverse):
            if left is not None and left <= 0:
                return
            if self._readable(event) and (filter is None or filter(event)):
                left = None if left is None else left - 1
                yield event

    async def _pages(
        self, epoch: str, first: int, last: int, reverse: bool
    ) -> AsyncIterator[Event]:
        low, high = first, last
        while low <= high:
            begin = max(low, high - PAGE + 1) if reverse else low
            count = min(PAGE, high - begin + 1)
            page = await self._node.log.read(self.name, Position(epoch, begin - 1), count)
            events = [event for event in page.events if event.offset <= high]
            if not events:
                return
            for event in reversed(events) if reverse else events:
                yield event
            if reverse:
                high = begin - 1
            else:
                low = events[-1].offset + 1

    def _readable(self, event: Event) -> bool:
        try:
            parse(event)
        except InvalidPayload as error:
            self.unreadable += 1
            self._node.metrics.agent_unreadable.inc()
            log.error(
                "an event cannot be read", stream=self.name, event_id=event.offset, error=str(error)
            )
            return False
        return True


def _resolve(added: asyncio.Future[Event], event: Event) -> None:
    if not added.done():
        added.set_result(event)


def _fail(added: asyncio.Future[Event], error: ParlourError) -> None:
    if not added.done():
        added.set_exception(error)


def _look(added: asyncio.Future[Event]) -> None:
    if not added.cancelled():
        added.exception()
