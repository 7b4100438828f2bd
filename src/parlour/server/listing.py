"""The list of conversations, where the archive lags behind: what the list shows is written at once.

Over a hot log that is archived on an interval, titles and times would be minutes old. Only what the
list shows is written early, one row per change; the messages follow with the synchroniser.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

from parlour.core.streams import NewEvent
from parlour.errors import NotFound, Unavailable
from parlour.ports import ThreadRecord, ThreadStore

log = structlog.get_logger(__name__)

PREVIEW_LENGTH = 200
RETRY_SECONDS = 1.0

_LISTED = frozenset({"message", "chat:title", "chat:tags"})
"""Events that change what the list shows."""

Listed = Callable[[ThreadRecord], Awaitable[None]]


class Listing:
    """Gathers what changed in the list and writes it; `listed` hears of each written row."""

    def __init__(self, threads: ThreadStore, listed: Listed) -> None:
        self._threads = threads
        self._listed = listed
        self._pending: dict[str, dict[str, Any]] = {}
        self._wake = asyncio.Event()

    def touched(self, stream: str, events: Sequence[NewEvent]) -> None:
        """A stream was appended to."""
        if len(events) == 1 and events[0].type not in _LISTED:
            return
        kind, _, thread_id = stream.partition(":")
        changes = _changes(events) if kind == "thread" else None
        if changes:
            self._pending.setdefault(thread_id, {}).update(changes)
            self._wake.set()

    async def run(self) -> None:
        """Write for ever; a database that is away is tried again."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.flush()
            except Unavailable as error:
                log.warning("the list of conversations is delayed", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
                self._wake.set()

    async def flush(self) -> None:
        """Write what is pending."""
        while self._pending:
            thread_id = next(iter(self._pending))
            changes = self._pending.pop(thread_id)
            try:
                record = await self._threads.update_thread(thread_id, **changes)
            except NotFound:
                continue
            except Unavailable:
                # What came meanwhile is newer.
                self._pending[thread_id] = {**changes, **self._pending.get(thread_id, {})}
                raise
            await self._listed(record)


def _changes(events: Sequence[NewEvent]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for event in events:
        if event.type == "message" and event.data.get("content"):
            changes["preview"] = " ".join(event.data["content"].split())[:PREVIEW_LENGTH]
            changes["updated_at"] = event.at
        elif event.type == "chat:title":
            changes["title"] = event.data.get("title")
        elif event.type == "chat:tags":
            changes["tags"] = list(event.data.get("tags", ()))
    return changes
