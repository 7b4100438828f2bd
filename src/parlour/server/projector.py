"""The projector: keeps the database's picture of each conversation (messages, list, search) up to date.

The picture is derived: it is the fold of the archived events up to a position, and whatever comes
after is folded on reading. So it may lag, and a crash costs nothing but work.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence

import structlog

from parlour.core.streams import Event, NewEvent, Position
from parlour.core.thread import DELTA, ThreadState, Touched, fold, trim
from parlour.errors import PositionLost, Unavailable
from parlour.ports import Archive, Projection, ProjectionChange

log = structlog.get_logger(__name__)

READ_PAGE = 1000
KEPT_STATES = 512
"""Folds that are kept so that the next projection reads only what is new."""

FRESH_EVENTS = 10_000
"""Events that were just archived and are kept until they are projected; what is more is read back."""

KEPT_EVENTS = 4000
"""Events of a conversation beyond which those that the projection covers are compacted away …"""

REPLAYABLE_EVENTS = 2000
"""… except for this many newest ones, which brief absences replay."""

COMPACT_EVERY = 1000

EVERYTHING = 10**9

Projected = Callable[[str, ThreadState], Awaitable[None]]


class Projector:
    """Projects the streams that changed, one after the other, a moment after they changed."""

    def __init__(self, archive: Archive, window: int, projected: Projected) -> None:
        self._archive = archive
        self._window = window
        self._projected = projected
        self._dirty: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._states: OrderedDict[str, tuple[Position, ThreadState]] = OrderedDict()
        self._fresh: OrderedDict[str, list[Event]] = OrderedDict()
        """Of each stream a run without a gap, all of it in the archive."""
        self._fresh_events = 0
        self._lock = asyncio.Lock()

    def touched(self, stream: str, events: Sequence[NewEvent]) -> None:
        """A stream was appended to. Text deltas alone wait for the end of their message."""
        if any(event.type != DELTA for event in events):
            self.behind(stream)

    def behind(self, stream: str, events: Sequence[Event] = ()) -> None:
        """The archive holds more of a stream than its projection: these events, which need not be read then."""
        if stream.startswith("thread:"):
            self._add_fresh(stream, events)
            self._dirty[stream] = None
            self._wake.set()

    async def run(self) -> None:
        """Project for ever; a database that is away is tried again."""
        delay = 0.2
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.flush()
                delay = 0.2
            except Unavailable as error:
                log.warning("projection delayed", error=str(error))
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)
                self._wake.set()

    async def flush(self) -> None:
        """Project everything that changed until now."""
        while self._dirty:
            stream = next(iter(self._dirty))
            await self.settle(stream)
        async with self._lock:
            # What somebody else was projecting at the moment counts as well.
            return

    async def settle(self, stream: str) -> None:
        """Project one stream up to the archive's head."""
        async with self._lock:
            self._dirty.pop(stream, None)
            try:
                await self._project(stream)
            except Unavailable:
                self._dirty[stream] = None
                raise
            except PositionLost:
                await self._project_anew(stream)

    async def _project_anew(self, stream: str) -> None:
        """The archive no longer has what comes after the fold that is kept here: another node has projected
        and compacted it since, or the conversation was deleted and there is nothing to project."""
        if self._states.pop(stream, None) is None:
            return
        try:
            await self._project(stream)
        except PositionLost:
            log.info("a conversation that is gone is not projected", stream=stream)

    def forget(self, stream: str) -> None:
        """The stream is gone."""
        self._dirty.pop(stream, None)
        self._states.pop(stream, None)
        self._take_fresh(stream)

    async def _project(self, stream: str) -> None:
        fresh = self._take_fresh(stream)
        head = await self._archive.head(stream)
        if head is None:
            return
        position, state = await self._stored(stream, head)
        if position.offset >= head.offset:
            return
        since, before = position, state
        touched = Touched()
        while position.offset < head.offset:
            events: Sequence[Event] = _following(fresh, position)
            if not events:
                events = (await self._archive.read(stream, position, READ_PAGE)).events
            if not events:
                break
            state, more = fold(state, events, window=EVERYTHING)
            touched.written |= more.written
            touched.deleted |= more.deleted
            position = events[-1].position
        change = self._change(stream, since, position, state, touched)
        if not await self._archive.project(change):
            self._states.pop(stream, None)
            self._dirty[stream] = None
            return
        state = state.copy()
        trim(state, self._window)
        self._keep(stream, position, state)
        await self._compact(stream, since, position)
        if _listed(before) != _listed(state) or touched.written or touched.deleted:
            await self._projected(stream, state)

    def _add_fresh(self, stream: str, events: Sequence[Event]) -> None:
        if not events:
            return
        held = self._fresh.setdefault(stream, [])
        if held and not _following(events, held[-1].position):
            # Somebody else has archived what lies in between.
            self._take_fresh(stream)
            held = self._fresh[stream] = []
        new = _following(events, held[-1].position) if held else events
        held.extend(new)
        self._fresh_events += len(new)
        while self._fresh_events > FRESH_EVENTS:
            self._take_fresh(next(iter(self._fresh)))

    def _take_fresh(self, stream: str) -> list[Event]:
        held = self._fresh.pop(stream, [])
        self._fresh_events -= len(held)
        return held

    async def _stored(self, stream: str, head: Position) -> tuple[Position, ThreadState]:
        kept = self._states.get(stream)
        if kept is not None and kept[0].epoch == head.epoch:
            self._states.move_to_end(stream)
            return kept
        stored: Projection | None = await self._archive.projection(stream, self._window)
        if stored is None or stored.position.epoch != head.epoch:
            return Position(head.epoch, 0), ThreadState()
        return stored.position, ThreadState.from_wire(stored.state, stored.messages)

    def _change(
        self, stream: str, since: Position, position: Position, state: ThreadState, touched: Touched
    ) -> ProjectionChange:
        upserts = [state.messages[i] for i in touched.written if i in state.messages]
        rest = state.rest()
        rest["truncated"] = state.truncated or len(state.messages) > self._window
        return ProjectionChange(
            stream,
            position,
            since.offset,
            rest,
            upserts,
            sorted(touched.deleted),
            active_runs=len(state.runs),
        )

    def _keep(self, stream: str, position: Position, state: ThreadState) -> None:
        self._states[stream] = (position, state)
        self._states.move_to_end(stream)
        while len(self._states) > KEPT_STATES:
            self._states.popitem(last=False)

    async def _compact(self, stream: str, since: Position, position: Position) -> None:
        """Deltas and superseded events are history that nobody replays: the messages hold what they did."""
        crossed = position.offset // COMPACT_EVERY != since.offset // COMPACT_EVERY
        if crossed and position.offset > KEPT_EVENTS:
            await self._archive.compact(stream, position.offset - REPLAYABLE_EVENTS)


def _following(events: Sequence[Event], position: Position) -> Sequence[Event]:
    """What of a run without a gap comes right after the position; nothing where the run does not reach it."""
    if not events or events[0].epoch != position.epoch:
        return ()
    known = position.offset + 1 - events[0].offset
    return events[known:] if known >= 0 else ()


def _listed(state: ThreadState) -> tuple[object, ...]:
    """What the list of conversations shows of one."""
    return (state.title, tuple(state.tags), tuple(state.runs))
