"""A followed stream on the client's side: contiguous events, or a snapshot where that is impossible."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from parlour.core.streams import Event, Position
from parlour.errors import Lagged

ITEMS_KEPT = 100_000
"""Items that wait for a reader that does not read; then the following ends with `Lagged`."""


EARLY_KEPT = 1_000
"""Events that may overtake the answer of `subscribe`; what is beyond leaves a gap that is read again."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The stream's whole state at `position`; whatever was known before is replaced by it."""

    position: Position
    state: Mapping[str, Any]


Item = Event | Snapshot


class Following:
    """An asynchronous iterator of what happens in a stream, over reconnects.

    What is at or below the own position is dropped; a gap or another epoch makes `stale` true, and the
    connection subscribes again from `position`.
    """

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.position: Position | None = None
        self.stale = True
        self._items: deque[Item] = deque()
        self._early: list[Mapping[str, Any]] = []
        self._news = asyncio.Event()
        self._error: Exception | None = None
        self._final = True

    def __aiter__(self) -> AsyncIterator[Item]:
        return self

    async def __anext__(self) -> Item:
        while not self._items:
            if self._error is not None:
                error = self._error
                if not self._final:
                    self._error = None
                raise error
            self._news.clear()
            await self._news.wait()
        return self._items.popleft()

    def fail(self, error: Exception, *, final: bool = True) -> None:
        """Raise an error once everything before it was read. After one that is not final, such as a refusal,
        reading on waits for what may come: access, or the next refusal."""
        self._error = error
        self._final = final
        self._news.set()

    def reopen(self) -> None:
        """Access was given (back): whoever reads on gets a snapshot, and what comes after it."""
        self._error = None
        self.position = None
        self.suspect()

    def suspect(self) -> None:
        """Continuity is uncertain (a new connection, a lost room): subscribe again from `position`."""
        self.stale = True
        self._early.clear()

    def answered(self, answer: Mapping[str, Any]) -> None:
        """The answer of `subscribe`."""
        position = Position(answer["position"]["epoch"], answer["position"]["offset"])
        events = [read_event(payload) for payload in answer["events"]]
        if answer["status"] == "snapshot":
            start = Position(position.epoch, position.offset - len(events))
            self._put(Snapshot(start, answer["snapshot"]))
        for event in events:
            self._put(event)
        self.position = position
        self.stale = False
        early, self._early = self._early, []
        for payload in early:
            self.heard(payload)

    def heard(self, payload: Mapping[str, Any]) -> None:
        """A live event."""
        if self.stale or self.position is None:
            # It may have overtaken the answer of `subscribe`; what does not fit is dropped then.
            if len(self._early) < EARLY_KEPT:
                self._early.append(payload)
            return
        event = read_event(payload)
        since = payload.get("since", event.offset - 1)
        if event.epoch != self.position.epoch or since > self.position.offset:
            self.stale = True
            return
        if event.offset <= self.position.offset:
            return
        if since < self.position.offset:
            # A joined run of deltas that begins before the own position cannot be cut: start over.
            self.stale = True
            return
        self.position = event.position
        self._put(event)

    def _put(self, item: Item) -> None:
        if len(self._items) >= ITEMS_KEPT:
            self.fail(Lagged(stream=self.stream, position=str(self.position)))
            return
        self._items.append(item)
        self._news.set()


def read_event(payload: Mapping[str, Any]) -> Event:
    """An event from its wire form."""
    return Event(
        payload["stream"],
        payload["epoch"],
        payload["offset"],
        payload["data"]["type"],
        payload["data"]["data"],
        payload["at"],
        payload.get("source", "app"),
        payload.get("cause"),
    )
