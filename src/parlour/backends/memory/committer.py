"""Group commit: appends that wait at the same time become one transaction of the journal.

Decide, write, show, in this order: numbers, `expected`, fences and dedupe keys are decided on a
stage; one transaction makes them durable; only then does anybody see them. What a follower has seen
can therefore not disappear, whatever dies in between. A failing transaction fails every append of
its group and leaves the streams as they were.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from parlour.backends.memory.stream import Draft, HeldStream, Stage
from parlour.backends.window import WindowLimits
from parlour.core.streams import Appended, Batch, Position
from parlour.errors import ParlourError, ShuttingDown, Unavailable
from parlour.ports import Archive, Clock, Origin

log = logging.getLogger(__name__)

GROUP_LIMIT = 1024
"""Appends in one transaction at most."""

MAX_WAITING = 50_000
"""Appends that may wait for the disk; beyond it they are refused."""

CATCH_UP = 1000
"""Events that are read at once when a stream is compared with the journal."""


@dataclass(slots=True)
class _Waiting:
    stream: HeldStream
    draft: Draft
    answer: asyncio.Future[Appended]


@dataclass(slots=True)
class _Decided:
    one: _Waiting
    appended: Appended | None = None
    error: ParlourError | None = None


class Committer:
    """Takes drafts from many callers; one task writes them. `shown` is called after each group with
    the streams that moved."""

    def __init__(
        self, journal: Archive, origin: Origin, clock: Clock, limits: WindowLimits
    ) -> None:
        self._journal = journal
        self._origin = origin
        self._clock = clock
        self._limits = limits
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    async def commit(self, stream: HeldStream, draft: Draft) -> Appended:
        """Append durably. A cancelled caller's append either happens whole or not at all."""
        if self._closing:
            raise ShuttingDown("the log is closed")
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable("too many appends are waiting for the disk")
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="log-committer")
        answer: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        stream.pending += 1
        self._waiting.append(_Waiting(stream, draft, answer))
        self._wake.set()
        return await answer

    async def close(self) -> None:
        """Commit what was accepted, then end."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task
            self._task = None

    async def _run(self) -> None:
        while self._waiting or not self._closing:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
                continue
            group = [self._waiting.popleft() for _ in range(min(GROUP_LIMIT, len(self._waiting)))]
            try:
                await self._commit([one for one in group if not one.answer.done()])
            except Exception:  # the committer must outlive a defect; its callers hear of it
                log.exception("a group of appends failed")
                _fail(group, Unavailable("the append failed"))
            finally:
                for one in group:
                    one.stream.pending -= 1

    async def _commit(self, group: Sequence[_Waiting]) -> None:
        try:
            for stream in {
                id(one.stream): one.stream for one in group if one.stream.uncertain
            }.values():
                await self._catch_up(stream)
            decided = _stage(group, self._clock.now_ms())
            await self._write(decided)
        except Unavailable as error:
            # The answer may have been lost after the commit: compare with the journal before going
            # on.
            for one in group:
                one.stream.uncertain = True
            _fail(group, error)
        except ParlourError as error:
            await self._isolate(group, error)
        else:
            self._show(decided)

    async def _write(self, decided: Sequence[_Decided]) -> None:
        entries = [
            replace(one.one.draft.entry(one.appended), receipt=_receipt(one))
            for one in decided
            if one.appended is not None and not one.appended.duplicate
        ]
        if entries:
            await self._journal.write(entries)

    async def _isolate(self, group: Sequence[_Waiting], error: ParlourError) -> None:
        """The journal refused the group for one append: find it by writing each alone."""
        if len(group) == 1:
            _fail(group, error)
            return
        for one in group:
            await self._commit([one])

    def _show(self, decided: Sequence[_Decided]) -> None:
        now = self._clock.now_ms()
        shown: dict[int, tuple[HeldStream, list[Batch]]] = {}
        for one in decided:
            stream, appended = one.one.stream, one.appended
            if appended is not None and not appended.duplicate:
                batch = stream.apply(one.one.draft, appended, now)
                shown.setdefault(id(stream), (stream, []))[1].append(batch)
        for stream, batches in shown.values():
            self._settle_window(stream)
            # What became durable together is heard together: when the disk is slow the groups grow, and
            # a group costs its readers one packet.
            stream.sinks.announce(_joined(batches))
        for one in decided:
            _settle(one)

    def _settle_window(self, stream: HeldStream) -> None:
        stream.mark_synced(stream.head)
        stream.shrink(self._limits)

    async def _catch_up(self, stream: HeldStream) -> None:
        """After an unanswered write: take over what the journal holds beyond our head."""
        opening = await self._origin.open(stream.name)
        while stream.head < opening.position.offset:
            page = await self._journal.read(
                stream.name, Position(stream.epoch, stream.head), CATCH_UP
            )
            batch = stream.adopt(page.events, self._clock.now_ms())
            self._settle_window(stream)
            stream.sinks.announce(batch)
        stream.restore(opening, self._clock.now_ms())
        stream.uncertain = False


def _stage(group: Sequence[_Waiting], now: int) -> list[_Decided]:
    stages: dict[int, Stage] = {}
    decided = []
    for one in group:
        stage = stages.setdefault(id(one.stream), Stage(one.stream))
        try:
            decided.append(_Decided(one, appended=stage.take(one.draft, now)))
        except ParlourError as error:
            decided.append(_Decided(one, error=error))
    return decided


def _joined(batches: Sequence[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    events = [event for batch in batches for event in batch.events]
    return replace(batches[0], events=events)


def _receipt(decided: _Decided) -> tuple[str, Appended] | None:
    dedupe, appended = decided.one.draft.dedupe, decided.appended
    if dedupe is None or appended is None:
        return None
    return dedupe.key, replace(appended, receipt=dedupe.receipt)


def _settle(decided: _Decided) -> None:
    answer = decided.one.answer
    if answer.done():  # the caller was cancelled meanwhile; what was committed stays
        return
    if decided.error is not None:
        answer.set_exception(decided.error)
    elif decided.appended is not None:
        answer.set_result(decided.appended)


def _fail(group: Sequence[_Waiting], error: ParlourError) -> None:
    for one in group:
        if not one.answer.done():
            one.answer.set_exception(error)
