"""Agents that an app registers with `parlour.agent`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

import parlour as cl
from parlour.agents.events import FinishAction, RunAction
from parlour.agents.kinds import Answer, Situation
from parlour.chat.application import ChatApp
from parlour.chat.registry import Registry, registering
from parlour.demo.agent import install
from tests.serving import Served, serve

PATIENCE_S = 30.0

install()


def _app() -> ChatApp:
    with registering(Registry()) as registry:

        @cl.agent("greeter")
        async def greet(situation: Situation) -> Answer | list[Answer]:
            if any(message["role"] == "tool" for message in situation.messages):
                return FinishAction(content="Greeted")
            return [RunAction(command="echo hello", thought="I greet.")]

        @cl.agent("asker")
        def ask() -> str:
            return "What is it about?"

        @cl.agent("curious")
        async def wonder(situation: Situation) -> str:
            return (await situation.model.complete([{"role": "user", "content": "Who?"}])).text

        @cl.agent("mistaken")
        async def mistaken() -> Any:
            return {"action": "fly"}

    return ChatApp(registry)


async def _run(server: Served, agent: str, *states: str) -> list[dict[str, Any]]:
    """The events of a session with this agent, once it is in one of these states."""
    headers = {"authorization": f"Bearer {await server.user('ann')}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=30) as http:
        settings = {"agent": agent, "confirmation": "never"}
        begun = await http.post("/api/agents", json={"message": "Go", "settings": settings})
        path = f"/api/agents/{begun.json()['id']}"
        async with asyncio.timeout(PATIENCE_S):
            while True:
                if (await http.get(path)).json()["detail"]["state"] in states:
                    break
                await asyncio.sleep(0.05)
        events: list[dict[str, Any]] = (await http.get(f"{path}/events")).json()["events"]
        return events


async def test_functions_of_an_app_are_agents(tmp_path: Path) -> None:
    async with serve(_app(), tmp_path, agent_model="demo") as server:
        greeted = await _run(server, "greeter", "finished", "error")
        asked = await _run(server, "asker", "awaiting_user_input", "error")
        failed = await _run(server, "mistaken", "error")

    result = next(one for one in greeted if one.get("observation") == "run")
    assert "hello" in result["content"]
    words = [one["args"]["content"] for one in asked if one.get("action") == "message"]
    assert words == ["Go", "What is it about?"]
    problem = next(one for one in failed if one.get("observation") == "error")
    assert problem["extras"]["code"] == "internal"


async def test_functions_need_a_model_only_where_they_ask_one(tmp_path: Path) -> None:
    async with serve(_app(), tmp_path, agent_model="none-such") as server:
        asked = await _run(server, "asker", "awaiting_user_input", "error")
        failed = await _run(server, "curious", "error")

    assert [one["args"]["content"] for one in asked if one.get("action") == "message"][1:]
    problem = next(one for one in failed if one.get("observation") == "error")
    assert "none-such" in problem["content"]


async def test_an_app_without_agents_has_the_usual_one(tmp_path: Path) -> None:
    with registering(Registry()) as registry:
        cl.on_message(lambda message: None)

    assert ChatApp(registry).agents == {}
    with pytest.raises(TypeError, match="needs more than"):
        cl.agent("greedy")(lambda situation, more: None)
