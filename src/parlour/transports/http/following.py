"""Following a stream over HTTP: history, then live events, with snapshots where continuity is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from parlour.core.streams import Position
from parlour.errors import InvalidPayload, Lagged, PositionLost

if TYPE_CHECKING:
    from parlour.server.connections import Caller
    from parlour.server.node import Node

Wire = dict[str, Any]


@dataclass(frozen=True, slots=True)
class News:
    """What a follower hears next: events, or a snapshot that replaces all before it."""

    position: Position
    events: list[Wire]
    snapshot: Wire | None = None


def parse_position(text: str | None) -> Position | None:
    """Read `epoch:offset`. Raises `InvalidPayload`."""
    if not text:
        return None
    try:
        return Position.parse(text)
    except ValueError as error:
        raise InvalidPayload(str(error), field="after") from None


def position_of(wire: Wire) -> Position:
    return Position(str(wire["epoch"]), int(wire["offset"]))


async def follow(
    node: Node, caller: Caller, stream: str, after: Position | None
) -> AsyncGenerator[News]:
    """Everything after `after` for as long as the consumer asks; a snapshot first where there is no
    position. Never ends by itself; raises what authorisation raises. Close it (`aclosing`)."""
    if after is None:
        news = await _snapshot(node, caller, stream)
        yield news
        after = news.position
    while True:
        try:
            async with node.recovery.follow(caller, stream, after) as batches:
                async for events in batches:
                    after = position_of(events[-1])
                    yield News(after, events)
        except Lagged:
            continue  # the history is read again from where this reader stands
        except PositionLost:
            news = await _snapshot(node, caller, stream)
            yield news
            after = news.position


async def _snapshot(node: Node, caller: Caller, stream: str) -> News:
    answer = await node.recovery.snapshot(caller, stream)
    return News(position_of(answer["position"]), [], answer.get("snapshot"))


async def with_ticks(source: AsyncGenerator[News], seconds: float) -> AsyncGenerator[News | None]:
    """The same, with None whenever nothing came for so long. Closes the source."""
    async with aclosing(source):
        waiting: asyncio.Task[News] | None = None
        try:
            while True:
                waiting = waiting or asyncio.create_task(anext(source))
                done, _ = await asyncio.wait({waiting}, timeout=seconds)
                if not done:
                    yield None
                    continue
                finished, waiting = waiting, None
                yield finished.result()
        finally:
            if waiting is not None:
                waiting.cancel()
                await asyncio.wait({waiting})
