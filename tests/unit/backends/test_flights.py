"""Work that many ask for is done once, and nobody's leaving hurts the others."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from parlour.backends.flights import SingleFlight
from parlour.errors import ShuttingDown


async def test_many_callers_share_one_piece_of_work() -> None:
    flights: SingleFlight[int] = SingleFlight()
    started = 0

    async def work() -> int:
        nonlocal started
        started += 1
        await asyncio.sleep(0)
        return started

    results = await asyncio.gather(*(flights.run("a", work) for _ in range(5)))
    later = await flights.run("a", work)

    assert results == [1] * 5
    assert later == 2


async def test_an_error_reaches_everybody_and_the_next_one_tries_again() -> None:
    flights: SingleFlight[None] = SingleFlight()

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    results = await asyncio.gather(
        *(flights.run("a", fail) for _ in range(3)), return_exceptions=True
    )

    assert [str(result) for result in results] == ["no"] * 3
    with pytest.raises(ValueError, match="no"):
        await flights.run("a", fail)


async def test_a_cancelled_caller_does_not_end_the_work_of_the_others() -> None:
    flights: SingleFlight[str] = SingleFlight()
    gate = asyncio.Event()

    async def work() -> str:
        await gate.wait()
        return "done"

    first = asyncio.create_task(flights.run("a", work))
    second = asyncio.create_task(flights.run("a", work))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    gate.set()

    assert await second == "done"
    assert first.cancelled()


async def test_a_failure_that_nobody_waits_for_is_not_reported_as_forgotten() -> None:
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, told: complaints.append(told))
    flights: SingleFlight[None] = SingleFlight()
    gate = asyncio.Event()

    async def fail() -> None:
        await gate.wait()
        raise ValueError("no")

    alone = asyncio.create_task(flights.run("a", fail))
    await asyncio.sleep(0)
    alone.cancel()
    gate.set()
    await asyncio.wait([alone])
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect()

    assert complaints == []


async def test_closing_ends_what_runs_and_says_so() -> None:
    flights: SingleFlight[None] = SingleFlight()

    async def work() -> None:
        await asyncio.Event().wait()

    caller = asyncio.create_task(flights.run("a", work))
    await asyncio.sleep(0)

    await flights.close()
    await flights.close()

    with pytest.raises(ShuttingDown):
        await caller
