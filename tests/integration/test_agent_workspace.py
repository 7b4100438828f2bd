"""An agent with everything real but its words: workspace, memory, knowledge, and a scripted model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from parlour.agents.assembly import make_agents
from parlour.agents.llm import LLMRegistry, ScriptedModel, Step
from parlour.agents.memory.blocks import SUMMARY
from parlour.agents.memory.condensation import INSTRUCTIONS
from parlour.agents.ports import Json, Model, ModelAnswer, TokenUsage
from parlour.agents.service import Agents
from parlour.chat.application import ChatApp
from parlour.chat.registry import Registry
from parlour.config import Settings
from parlour.core.agents import AgentState
from parlour.server.node import Node, run_node
from tests.agent_parts import Models, Stage, Talk, ToldModel


@dataclass
class Shown:
    """A scripted model that keeps what it was shown, and sums up when it is asked to."""

    script: ScriptedModel
    shown: list[list[Json]] = field(default_factory=list)
    summed_up: int = 0

    async def complete(
        self,
        messages: Sequence[Json],
        tools: Sequence[Json] = (),
        *,
        on_delta: Callable[[str], None] | None = None,
    ) -> ModelAnswer:
        if messages[0]["content"] == INSTRUCTIONS:
            self.summed_up += 1
            return ModelAnswer("Numbers were counted.", (), TokenUsage(100, 5), 0.25)
        self.shown.append(list(messages))
        return await self.script.complete(messages, tools, on_delta=on_delta)


@asynccontextmanager
async def node_of(folder: Path) -> AsyncIterator[Node]:
    app = ChatApp(Registry())
    async with run_node(Settings(data_folder=folder), app, parts=(make_agents,)) as node:
        yield node


async def begin(node: Node, model: Model, message: str, **settings: object) -> Talk:
    registry = node.part(Agents).llm_registry
    assert isinstance(registry, LLMRegistry)
    registry.add("told", lambda: model)
    told = ToldModel()
    stage = Stage(node, told, {}, Models(told), "told")
    return await stage.begin(message, **settings)


async def test_an_agent_writes_a_program_and_mends_it(tmp_path: Path) -> None:
    check = ("run", {"command": "python3 test_double.py"})
    test = "from double import double\nassert double(4) == 8, double(4)\nprint('passed')\n"
    script = [
        Step(
            "A first try.",
            [("write", {"path": "double.py", "content": "def double(x):\n    return x\n"})],
        ),
        Step("Its test.", [("write", {"path": "test_double.py", "content": test})]),
        Step("Does it pass?", [check]),
        Step(
            "No.",
            [("edit", {"path": "double.py", "old": "return x", "new": "return 2 * x"}), check],
            when="AssertionError: 4",
            otherwise=Step("Odd.", [("reject", {"content": "It should have failed."})]),
        ),
        Step("It does.", [("finish", {"content": "Mended."})], when="passed", otherwise=Step("?")),
    ]
    async with node_of(tmp_path) as node:
        talk = await begin(node, ScriptedModel(script), "Write double().")

        state = await talk.until_state(AgentState.FINISHED, AgentState.REJECTED, AgentState.ERROR)

        assert state.state is AgentState.FINISHED
        runs = [e.data for e in await talk.events() if e.type == "observation:run"]
        assert [run["extras"]["exit_code"] for run in runs] == [1, 0]
        assert runs[1]["content"] == "passed\n"


async def test_what_the_workspace_says_is_told_to_the_model(tmp_path: Path) -> None:
    knowledge = "---\ntriggers: deploy\n---\nUse make."
    script = [
        Step("", [("write", {"path": "AGENTS.md", "content": "Always test."})]),
        Step("", [("write", {"path": ".agents/knowledge/deploy.md", "content": knowledge})]),
        Step("Ready."),
        Step("Deployed.", [("finish", {})]),
    ]
    model = Shown(ScriptedModel(script))
    async with node_of(tmp_path) as node:
        talk = await begin(node, model, "Set it up.")
        await talk.until_state(AgentState.AWAITING_USER_INPUT)
        first = str(model.shown[0][0]["content"])

        await talk.say("Now deploy it.")
        await talk.until_state(AgentState.FINISHED)

        told = str(model.shown[-1][0]["content"])
        assert "Always test." not in first
        assert "From the workspace's file AGENTS.md:\nAlways test." in told
        assert "Use make." in told


async def test_a_long_session_is_summed_up_and_goes_on(tmp_path: Path) -> None:
    steps = [Step(f"Step {n}.", [("run", {"command": f"seq {n} 300"})]) for n in range(6)]
    model = Shown(ScriptedModel([*steps, Step("Done.", [("finish", {"content": "Counted."})])]))
    async with node_of(tmp_path) as node:
        talk = await begin(node, model, "Count.", context_tokens=1_000)

        state = await talk.until_state(AgentState.FINISHED, AgentState.ERROR)

        events = await talk.events()
        summaries = [e for e in events if e.type == "observation:condensation"]
        assert state.state is AgentState.FINISHED
        assert len([e for e in events if e.type == "observation:run"]) == 6
        assert len(summaries) == model.summed_up >= 1
        assert state.total_cost == 0.25 * model.summed_up
        assert state.total_iterations == 7
        contents = [str(message["content"]) for message in model.shown[-1]]
        assert contents[1] == "Count."
        assert contents[2] == SUMMARY + "Numbers were counted."
