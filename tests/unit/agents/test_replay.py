"""A recording carried out anew, and as a regression test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from parlour.agents.errors import ContextTooLong, ModelLimited
from parlour.agents.recording import parse_trajectory
from parlour.agents.rehearsal import Rehearsal, rehearse
from parlour.agents.trajectory import export
from parlour.cli import cli
from parlour.core.agents import AgentState
from tests.agent_parts import Stage, Talk, call, stage, words

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with stage(tmp_path_factory.mktemp("replay")) as here:
        yield here


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def theatre(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """A node on which nothing but rehearsals happens."""
    async with stage(tmp_path_factory.mktemp("theatre")) as here:
        yield here


async def plain(here: Stage) -> Talk:
    here.model.replies = [
        call("run", "Look.", command="echo hi"),
        call("write", path="a.txt", content="one"),
        call("edit", path="a.txt", old="one", new="two"),
        call("finish", content="ok"),
    ]
    talk = await here.begin("do it")
    await talk.until_state(AgentState.FINISHED)
    return talk


async def steered_stopped_and_resumed(here: Stage) -> Talk:
    here.model.replies = [call("run", command="wait"), words("what else?")]
    talk = await here.begin("go")
    workspace = talk.workspace
    await workspace.waiting.wait()
    await talk.say("mind the gap")
    workspace.go_on.set()
    await talk.until_state(AgentState.AWAITING_USER_INPUT)
    workspace.go_on.clear()
    here.model.replies = [call("run", command="wait"), call("finish")]
    workspace.waiting.clear()
    await talk.say("once more")
    await workspace.waiting.wait()
    await talk.ask_for("stopped")
    await talk.until_state(AgentState.STOPPED)
    await talk.ask_for("running")
    await talk.until_state(AgentState.FINISHED)
    return talk


async def confirmed_and_refused(here: Stage) -> Talk:
    here.model.replies = [call("run", command="echo a"), call("run", command="echo b"), words("?")]
    talk = await here.begin("go", confirmation="commands")
    await talk.until_state(AgentState.AWAITING_USER_CONFIRMATION)
    await talk.ask_for("user_confirmed")
    await talk.until(lambda s: s.pending and s.pending["args"]["command"] == "echo b")
    await talk.until_state(AgentState.AWAITING_USER_CONFIRMATION)
    await talk.ask_for("user_rejected")
    await talk.until_state(AgentState.AWAITING_USER_INPUT)
    return talk


async def troubled(here: Stage) -> Talk:
    here.model.replies = [
        ModelLimited(retry_after=0.01),
        call("run", wrong=1),
        call("run", command="fail"),
        *[ContextTooLong("too long")] * 3,
    ]
    talk = await here.begin("go")
    await talk.until_state(AgentState.ERROR)
    return talk


async def with_a_sub_agent(here: Stage) -> Talk:
    here.agents.agents["helper"] = here.agents.agents["coder"]
    here.model.replies = [
        call("delegate", agent="helper", task="x"),
        call("think", thought="hm"),
        call("finish", content="sub"),
        call("finish", content="all"),
    ]
    talk = await here.begin("go")
    await talk.until_state(AgentState.FINISHED)
    return talk


STORIES = [plain, steered_stopped_and_resumed, confirmed_and_refused, troubled, with_a_sub_agent]


async def recorded(shared: Stage, story: Any) -> dict[str, Any]:
    async with shared.scene() as here:
        talk = await story(here)
        return await export(here.agents, talk.id)


async def play(theatre: Stage, document: dict[str, Any]) -> Rehearsal:
    async with asyncio.timeout(60):
        user = await theatre.user()
        return await rehearse(theatre.agents, parse_trajectory(json.dumps(document)), user.id)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_a_recording_is_what_happens_again(shared: Stage, theatre: Stage, story: Any) -> None:
    document = await recorded(shared, story)

    rehearsal = await play(theatre, document)

    assert rehearsal.differences == []
    assert rehearsal.position == len(rehearsal.expected) > 5


async def test_what_differs_is_named(shared: Stage, theatre: Stage) -> None:
    document = await recorded(shared, plain)
    state = next(e for e in document["events"] if e.get("extras", {}).get("began"))
    state["extras"]["agent_state"] = "paused"

    rehearsal = await play(theatre, document)

    assert rehearsal.differences[0].startswith(f"event {state['id']}: recorded ")


async def test_the_command_says_whether_it_differs(shared: Stage, tmp_path: Path) -> None:
    document = await recorded(shared, plain)
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(document))
    document["events"] = [e for e in document["events"] if e["id"] != 3]
    bad.write_text(json.dumps(document))

    answers = await asyncio.to_thread(
        lambda: [CliRunner().invoke(cli, ["replay", str(path)]) for path in (good, bad)]
    )

    assert answers[0].exit_code == 0, answers[0].output
    assert "as recorded" in answers[0].output
    assert answers[1].exit_code == 1


async def test_a_session_replays_a_recording_in_its_workspace_and_goes_on(shared: Stage) -> None:
    document = await recorded(shared, plain)
    for event in document["events"]:
        if event.get("action") == "finish":
            event.update(action="message", args={"content": "what now?", "wait": True})
    async with shared.scene(call("finish", content="the model went on")) as here:
        talk = await here.begin(replay_json=json.dumps(document))
        await talk.until_state(AgentState.AWAITING_USER_INPUT)
        assert talk.workspace.files == {"a.txt": "two"}
        assert talk.workspace.commands == ["echo hi"]
        assert here.model.shown == []

        await talk.say("go on")
        await talk.until_state(AgentState.FINISHED)

        assert len(here.model.shown) == 1
