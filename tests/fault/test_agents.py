"""A short kill run of agents: each way in which a node goes away, once or twice. `make fault` is the long one."""

from __future__ import annotations

import pytest
from rich.console import Console

from parlour.testing.servers import PostgresServer, RedisServer
from tests.fault.agents import FAULTS, report, run


@pytest.mark.timeout(600)
async def test_agents_go_on_whatever_becomes_of_their_node(
    redis_server: RedisServer, postgres_server: PostgresServer
) -> None:
    """The stage starts its own stores; the fixtures say what is missing where they are not installed."""
    totals = await run(len(FAULTS), 5, Console(quiet=True), quiet=True)
    report(totals, Console())

    assert (totals.rounds, totals.failed) == (len(FAULTS), 0), totals.problems
    assert totals.takeovers >= 1
