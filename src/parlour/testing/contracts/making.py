"""Small values that the suites use."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from parlour.core.streams import Event, NewEvent, Page, Position

LIMIT_S = 30.0
"""How long a suite waits for something that must happen."""


def fresh(kind: str = "thread") -> str:
    """A stream name that no other test uses."""
    return f"{kind}:{uuid.uuid4()}"


def note(text: str, **data: Any) -> NewEvent:
    """A small event."""
    return NewEvent("note", {"text": text, **data}, at=1_700_000_000_000)


def notes(*texts: str) -> list[NewEvent]:
    return [note(text) for text in texts]


def texts(events: Sequence[Event]) -> list[str]:
    return [event.data["text"] for event in events]


def offsets(events: Sequence[Event]) -> list[int]:
    return [event.offset for event in events]


class Readable(Protocol):
    """A log or an archive."""

    async def read(self, stream: str, after: Position | None, limit: int) -> Page: ...


async def read_all(log: Readable, stream: str, after: Position | None = None) -> list[Event]:
    """Page through a stream from `after` to its head."""
    found: list[Event] = []
    while True:
        page = await log.read(stream, after, 7)
        found.extend(page.events)
        after = page.position
        if page.position == page.head:
            return found


async def until(condition: Callable[[], Awaitable[bool]], limit_s: float = LIMIT_S) -> None:
    """Wait for something that another process does. Raises TimeoutError."""
    async with asyncio.timeout(limit_s):
        while not await condition():  # noqa: ASYNC110 - there is no event across processes
            await asyncio.sleep(0.01)
