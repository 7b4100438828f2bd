"""The node's periodic duties: side by side in lanes, one after the other within a lane."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from parlour.server.sweeper import Sweeper
from tests.apps import ScriptedApp
from tests.serving import Served, serve

OFTEN_S = 0.01
LIMIT_S = 20


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Served]:
    async with serve(ScriptedApp(), tmp_path) as served:
        yield served


async def test_a_duty_that_takes_long_delays_nobody_outside_its_lane(server: Served) -> None:
    sweeper = Sweeper(server.node)
    done = asyncio.Queue[str]()

    async def hang() -> None:
        done.put_nowait("began")
        await asyncio.Event().wait()

    async def renew() -> None:
        done.put_nowait("renewed")

    sweeper.add("takes over", OFTEN_S, hang, "slow")
    sweeper.add("waits behind it", OFTEN_S, lambda: done.put("never"), "slow")
    sweeper.add("renews", OFTEN_S, renew, "quick")
    running = asyncio.create_task(sweeper.run())

    async with asyncio.timeout(LIMIT_S):
        heard = [await done.get() for _ in range(6)]
    running.cancel()
    await asyncio.wait({running})

    assert sorted(set(heard)) == ["began", "renewed"]
    assert heard.count("began") == 1


async def test_a_duty_that_fails_is_tried_again_and_stops_nobody(server: Served) -> None:
    sweeper = Sweeper(server.node)
    tried = asyncio.Queue[str]()

    async def fail() -> None:
        tried.put_nowait("failing")
        raise ValueError("broken")

    async def work() -> None:
        tried.put_nowait("working")

    sweeper.add("fails", OFTEN_S, fail, "one")
    sweeper.add("works", OFTEN_S, work, "one")
    running = asyncio.create_task(sweeper.run())

    async with asyncio.timeout(LIMIT_S):
        heard = [await tried.get() for _ in range(6)]
    running.cancel()
    await asyncio.wait({running})

    assert heard.count("failing") == heard.count("working") == 3
