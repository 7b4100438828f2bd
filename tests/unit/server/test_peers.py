"""Requests between nodes, over a bus in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from parlour.backends.memory import MemoryBus
from parlour.errors import Unavailable
from parlour.server.peers import Peers
from parlour.server.tasks import Tasks


class CountingBus(MemoryBus):
    """Counts what is published."""

    def __init__(self) -> None:
        super().__init__()
        self.published = 0

    async def publish(self, topic: str, payload: bytes) -> None:
        self.published += 1
        await super().publish(topic, payload)


@pytest.fixture
def bus() -> CountingBus:
    return CountingBus()


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    async with Tasks() as owned:
        yield owned


async def peer(name: str, bus: MemoryBus, tasks: Tasks) -> Peers:
    made = Peers(name, bus, tasks)
    await bus.subscribe(f"node:{name}", lambda payload: made.hear(orjson.loads(payload)))
    return made


async def test_a_question_is_answered(bus: CountingBus, tasks: Tasks) -> None:
    a, b = await peer("a", bus, tasks), await peer("b", bus, tasks)
    b.on("double", lambda sender, body: [sender, body["n"] * 2])

    answer = await a.ask("b", "double", {"n": 2})

    assert answer == ["a", 4]
    assert a.awaited() == set()


async def test_questions_of_one_turn_travel_together_and_in_order(
    bus: CountingBus, tasks: Tasks
) -> None:
    a, b = await peer("a", bus, tasks), await peer("b", bus, tasks)
    heard: list[int] = []

    def hear(sender: str, body: Any) -> None:
        heard.append(body)

    b.on("hear", hear)
    await asyncio.gather(*(a.ask("b", "hear", number) for number in range(100)))

    assert heard == list(range(100))
    assert bus.published == 2


async def test_what_a_handler_raises_is_told_to_whoever_asked(
    bus: CountingBus, tasks: Tasks
) -> None:
    a, b = await peer("a", bus, tasks), await peer("b", bus, tasks)

    async def refuse(sender: str, body: Any) -> None:
        raise Unavailable("not now")

    b.on("work", refuse)

    with pytest.raises(Unavailable, match="not now"):
        await a.ask("b", "work", {})


async def test_an_unknown_request_does_not_lose_the_others(bus: CountingBus, tasks: Tasks) -> None:
    a, b = await peer("a", bus, tasks), await peer("b", bus, tasks)
    b.on("known", lambda sender, body: "yes")

    unknown, known = await asyncio.gather(
        a.ask("b", "unknown", {}), a.ask("b", "known", {}), return_exceptions=True
    )

    assert isinstance(unknown, Unavailable)
    assert known == "yes"


async def test_a_silent_node_runs_out_of_time(bus: CountingBus, tasks: Tasks) -> None:
    a = await peer("a", bus, tasks)

    with pytest.raises(Unavailable):
        await a.ask("nobody", "work", {}, timeout=0.01)


async def test_nobody_waits_for_a_node_that_is_gone(bus: CountingBus, tasks: Tasks) -> None:
    a = await peer("a", bus, tasks)
    asked = asyncio.create_task(a.ask("b", "work", {}, timeout=60))
    await asyncio.sleep(0)
    owing = a.awaited()

    a.gone("b")

    with pytest.raises(Unavailable):
        await asked
    assert owing == {"b"}
