"""Agent sessions on two nodes over Redis and PostgreSQL: one owner, reachable through both, handed over at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from parlour.agents.service import Agents
from parlour.demo.agent import install
from parlour.testing.servers import PostgresServer, RedisServer
from tests.serving import Client, Served, serve

install()

PATIENCE_S = 60.0


@pytest.fixture
async def nodes(
    tmp_path: Path, redis_server: RedisServer, postgres_server: PostgresServer
) -> AsyncIterator[tuple[Served, Served]]:
    shared: dict[str, Any] = {
        "redis_url": redis_server.url,
        "redis_key_prefix": tmp_path.name,
        "database_url": await postgres_server.create_database("agents_nodes"),
        "database_pool_size": 3,
        "agent_workspaces": tmp_path / "workspaces",
        "agent_model": "demo",
        "demo_tokens_per_second": 0,
        "shutdown_runs_seconds": 2,
    }
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(serve(None, tmp_path / name, **shared))
            for name in ("one", "two")
        ]
        yield one, two


class Person:
    """Ann, talking to one node."""

    def __init__(self, server: Served, token: str) -> None:
        self.server = server
        headers = {"authorization": f"Bearer {token}"}
        self._http = httpx.AsyncClient(base_url=server.url, headers=headers, timeout=30)

    async def __call__(self, method: str, path: str, **body: Any) -> Any:
        answer = await self._http.request(method, f"/api/agents{path}", json=body or None)
        assert answer.status_code < 300, answer.text
        return answer.json()

    async def until(self, session_id: str, *states: str) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                session = await self("GET", f"/{session_id}")
                if session["state"] in states and not session["detail"]["requests"]:
                    return session
                await asyncio.sleep(0.05)


async def test_a_session_is_reached_through_every_node_and_moves_when_its_own_stops(
    nodes: tuple[Served, Served],
) -> None:
    one, two = nodes
    token = await one.user("ann")
    here, there = Person(one, token), Person(two, token)
    session_id = one.node.new_id()
    asked = {"confirmation": "commands"}
    begun = await asyncio.gather(
        *(
            person("POST", "", id=session_id, message="Count words", settings=asked)
            for person in (here, there, here, there)
        )
    )
    assert {session["id"] for session in begun} == {session_id}
    owners = [served for served in nodes if session_id in served.node.part(Agents).live]
    assert len(owners) == 1
    owner = owners[0]
    person = there if owner is one else here

    await person.until(session_id, "awaiting_user_confirmation")
    watching = Client()
    await watching.connect(person.server.url, token=token)
    snapshot = (await watching.call("subscribe", stream=f"agent:{session_id}"))["snapshot"]
    assert snapshot["state"]["pending"]["args"]["command"]
    files = await person("GET", f"/{session_id}/files")
    assert {"words.py", "test_words.py"} <= {one["path"] for one in files["files"]}

    await owner.node.stop()
    moved = await person.until(session_id, "awaiting_user_confirmation")
    assert moved["detail"]["pending"] == snapshot["state"]["pending"]
    for _ in range(2):
        state = await person.until(session_id, "awaiting_user_confirmation")
        word = {"agent_state": "user_confirmed", "ask_id": state["detail"]["pending"]["id"]}
        answer = await person(
            "POST", f"/{session_id}/actions", action="change_agent_state", args=word
        )
        assert answer["accepted"]
        done = state["detail"]["pending"]["id"]
        await watching.until(
            lambda e, p, done=done: (
                e == "oh_event" and p.get("cause") == done and p.get("observation") == "run"
            ),
            PATIENCE_S,
        )
    await person.until(session_id, "finished")

    page = await person("GET", f"/{session_id}/events?limit=500")
    results = [e for e in page["events"] if e.get("observation") == "run"]
    assert [e["extras"]["exit_code"] for e in results] == [1, 0]
    assert sum(1 for e in page["events"] if e.get("action") == "message") == 1
    await watching.until(
        lambda e, p: e == "oh_event" and p.get("extras", {}).get("agent_state") == "finished",
        PATIENCE_S,
    )
    heard = [p["id"] for e, p in watching.heard if e == "oh_event"]
    assert heard == list(range(heard[0], heard[0] + len(heard)))
    assert session_id in person.server.node.part(Agents).live
    await watching.close()


async def test_a_working_agent_goes_on_elsewhere_when_its_node_stops(
    nodes: tuple[Served, Served],
) -> None:
    one, two = nodes
    token = await one.user("ann")
    here, there = Person(one, token), Person(two, token)
    session = await here("POST", "", message="Count words", settings={"confirmation": "never"})
    await there.until(session["id"], "running", "finished")

    await one.node.stop()
    await there.until(session["id"], "finished", "error")

    page = await there("GET", f"/{session['id']}/events?limit=500")
    actions = {e["id"] for e in page["events"] if e.get("action") in ("run", "write", "edit")}
    causes = [e["cause"] for e in page["events"] if e.get("cause") in actions]
    assert sorted(causes) == sorted(actions)
    states = [
        e["extras"]["agent_state"] for e in page["events"] if "agent_state" in e.get("extras", {})
    ]
    assert states[-1] == "finished"
