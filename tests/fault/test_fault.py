"""A short fault run: every fault once on the embedded store, the telling ones on two nodes over Redis.

`make fault` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from parlour.testing.servers import PostgresServer, RedisServer
from tests.fault.run import Totals, arguments, report, run

EMBEDDED = 9
"""Faults of the embedded stage; each is played once."""

SHARED = ["kill_writer", "redis_restart", "redis_lost", "pubsub_cut"]


async def play(*words: str) -> Totals:
    totals = await run(
        arguments([*words, "--tokens", "600", "--pause", "4", "--quiet"]), Console(quiet=True)
    )
    report(totals, Console())
    return totals


@pytest.mark.timeout(300)
async def test_embedded_store_loses_nothing_whatever_breaks(tmp_path: Path) -> None:
    totals = await play("--store", "embedded", "--rounds", str(EMBEDDED), "--seed", "7")

    assert (totals.rounds, totals.failed) == (EMBEDDED, 0)
    assert len(totals.faults) == EMBEDDED


@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", SHARED)
async def test_two_nodes_lose_nothing_whatever_breaks(
    fault: str, redis_server: RedisServer, postgres_server: PostgresServer
) -> None:
    """The stage starts its own stores; the fixtures say what is missing where they are not installed."""
    totals = await play("--store", "redis", "--rounds", "1", "--only", fault, "--seed", "11")

    assert (totals.rounds, totals.failed) == (1, 0)
