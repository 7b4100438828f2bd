"""The loop of think, act, observe, on a real node with a model that says what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from parlour.agents.errors import ContextTooLong, ModelLimited, ModelUnavailable
from parlour.agents.ports import Json, ModelAnswer
from parlour.core.agents import AgentState
from parlour.errors import Conflict, Forbidden, IllegalTransition, InvalidPayload
from tests.agent_parts import Stage, call, stage, words

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with stage(tmp_path_factory.mktemp("controller")) as here:
        yield here


async def test_an_agent_works_until_it_finishes(shared: Stage) -> None:
    replies = [call("run", "Look first.", command="echo hi"), call("finish", content="all done")]
    async with shared.scene(*replies) as here:
        talk = await here.begin("do it")
        state = await talk.until_state(AgentState.FINISHED)

        assert await talk.types() == [
            "!message",
            "=running",
            ">input_taken",
            "!run",
            ">run",
            "!finish",
            "=finished",
        ]
        assert (state.iterations, state.prompt_tokens, state.completion_tokens) == (2, 20, 10)
        events = await talk.events()
        run, result = (e for e in events if e.type.endswith(":run"))
        assert run.data["args"]["thought"] == "Look first."
        assert (result.cause, result.data["content"]) == (str(run.offset), "hi")


async def test_words_without_a_tool_wait_for_the_person(shared: Stage) -> None:
    async with shared.scene(words("Which colour?"), call("finish")) as here:
        talk = await here.begin("paint it")
        await talk.until_state(AgentState.AWAITING_USER_INPUT)

        await talk.say("green")
        await talk.until_state(AgentState.FINISHED)

        shown = [message["content"] for message in here.model.shown[-1][1:]]
        assert shown == [
            "action:message paint it",
            "action:message Which colour?",
            "action:message green",
        ]


async def test_a_message_typed_while_the_agent_starts_arrives(shared: Stage) -> None:
    async with shared.scene() as here:
        talk = await here.begin()
        await talk.say("hello")
        await talk.until_state(AgentState.FINISHED)

        assert "hello" in here.model.shown[0][-1]["content"]


class Gate:
    """A model's answer that waits until it is let through; counts how often it was begun."""

    def __init__(self, answer: ModelAnswer) -> None:
        self.begun = asyncio.Event()
        self.through = asyncio.Event()
        self.cancelled = 0
        self._answer = answer

    async def __call__(self, messages: Sequence[Json]) -> ModelAnswer:
        self.begun.set()
        try:
            await self.through.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self._answer


async def test_a_steering_message_is_taken_before_the_next_step(shared: Stage) -> None:
    async with shared.scene(call("run", command="wait"), call("finish")) as here:
        talk = await here.begin("go", input_policy="steer")
        await talk.workspace.waiting.wait()
        await talk.say("left, please")
        talk.workspace.go_on.set()
        await talk.until_state(AgentState.FINISHED)

        assert (await talk.types())[3:] == [
            "!run",
            "!message",
            ">run",
            ">input_taken",
            "!finish",
            "=finished",
        ]
        assert "left, please" in here.model.shown[-1][-1]["content"]


async def test_a_queued_message_waits_for_the_end_of_the_run_and_is_not_stranded(
    shared: Stage,
) -> None:
    replies = [
        call("run", command="wait"),
        call("finish", content="1"),
        call("finish", content="2"),
    ]
    async with shared.scene(*replies) as here:
        talk = await here.begin("go", input_policy="queue")
        await talk.workspace.waiting.wait()
        await talk.say("and then this")
        talk.workspace.go_on.set()
        await talk.until(lambda s: s.runs == 2 and s.state == AgentState.FINISHED)

        assert "and then this" not in str(here.model.shown[1])
        assert "and then this" in str(here.model.shown[2])
        assert (await talk.types())[-6:] == [
            "!finish",
            "=finished",
            "=running",
            ">input_taken",
            "!finish",
            "=finished",
        ]


async def test_an_interrupting_message_ends_what_runs(shared: Stage) -> None:
    async with shared.scene(call("run", command="wait"), call("finish")) as here:
        talk = await here.begin("go", input_policy="interrupt")
        await talk.workspace.waiting.wait()
        await talk.say("no, wait")
        await talk.until_state(AgentState.FINISHED)

        result = next(e for e in await talk.events() if e.type == "observation:run")
        assert result.data["extras"]["interrupted"] is True
        assert result.data["content"].startswith("begun")


async def test_a_message_that_the_policy_rejects_is_refused_and_not_stored(shared: Stage) -> None:
    async with shared.scene(call("run", command="wait"), call("finish")) as here:
        talk = await here.begin("go", input_policy="reject")
        await talk.workspace.waiting.wait()
        before = len(await talk.events())

        with pytest.raises(Conflict):
            await talk.say("me too")

        assert len(await talk.events()) == before
        talk.workspace.go_on.set()
        await talk.until_state(AgentState.FINISHED)


async def test_pause_ends_thinking_and_resume_goes_on(shared: Stage) -> None:
    gate = Gate(call("finish"))
    async with shared.scene(gate, call("finish", content="after")) as here:
        talk = await here.begin("go")
        await gate.begun.wait()
        await talk.ask_for("paused")
        await talk.until_state(AgentState.PAUSED)
        assert gate.cancelled == 1
        await talk.ask_for("running")
        await talk.until_state(AgentState.FINISHED)


async def test_stop_ends_a_command_and_a_message_begins_anew(shared: Stage) -> None:
    async with shared.scene(call("run", command="wait"), call("finish")) as here:
        talk = await here.begin("go")
        await talk.workspace.waiting.wait()
        await talk.ask_for("stopped")
        await talk.until_state(AgentState.STOPPED)

        await talk.say("go on")
        await talk.until_state(AgentState.FINISHED)

        assert (await talk.types())[-7:] == [
            ">run",
            "=stopped",
            "!message",
            "=running",
            ">input_taken",
            "!finish",
            "=finished",
        ]


async def test_a_change_that_the_state_does_not_allow_is_refused(shared: Stage) -> None:
    async with shared.scene() as here:
        talk = await here.begin("go")
        await talk.until_state(AgentState.FINISHED)
        before = len(await talk.events())

        for wanted in ("paused", "user_confirmed", "stopped", "running"):
            with pytest.raises(IllegalTransition):
                await talk.ask_for(wanted)
        for wanted in ("finished", "error", "rate_limited"):
            with pytest.raises(InvalidPayload):
                await talk.ask_for(wanted)
        with pytest.raises(InvalidPayload):
            await talk.send("finish", content="I say so")

        assert len(await talk.events()) == before


async def test_a_risky_action_waits_for_a_word(shared: Stage) -> None:
    async with shared.scene(call("run", command="echo risky"), call("finish")) as here:
        talk = await here.begin("go", confirmation="commands")
        state = await talk.until_state(AgentState.AWAITING_USER_CONFIRMATION)
        assert not talk.workspace.commands

        answer = await talk.ask_for("user_confirmed", ask_id=state.pending["id"])
        await talk.until_state(AgentState.FINISHED)

        assert answer["accepted"]
        assert talk.workspace.commands == ["echo risky"]
        assert (await talk.types())[3:] == [
            "!run",
            "=awaiting_user_confirmation",
            "!change_agent_state",
            "=running",
            ">run",
            "!finish",
            "=finished",
        ]


async def test_a_refused_action_is_not_carried_out(shared: Stage) -> None:
    async with shared.scene(call("run", command="echo risky"), call("finish")) as here:
        talk = await here.begin("go", confirmation="commands")
        await talk.until_state(AgentState.AWAITING_USER_CONFIRMATION)
        await talk.ask_for("user_rejected")
        await talk.until_state(AgentState.AWAITING_USER_INPUT)

        assert not talk.workspace.commands
        assert ">user_rejected" in await talk.types()
        await talk.say("something else")
        await talk.until_state(AgentState.FINISHED)


async def test_of_two_words_about_one_action_the_first_counts(shared: Stage) -> None:
    async with shared.scene(call("run", command="echo risky"), call("finish")) as here:
        talk = await here.begin("go", confirmation="commands")
        state = await talk.until_state(AgentState.AWAITING_USER_CONFIRMATION)
        about = state.pending["id"]

        answers = await asyncio.gather(
            *(talk.ask_for("user_confirmed", ask_id=about) for _ in range(4)),
            *(talk.ask_for("user_rejected", ask_id=about) for _ in range(4)),
        )
        await talk.until(lambda s: s.state in ("finished", "awaiting_user_input"))

        assert sorted(answer["accepted"] for answer in answers) == [False] * 7 + [True]
        assert (await talk.types()).count("!change_agent_state") == 1


async def test_limits_pause_the_run_and_resuming_allows_as_much_again(shared: Stage) -> None:
    replies = [call("think", thought=f"thought {n}") for n in range(5)]
    async with shared.scene(*replies) as here:
        talk = await here.begin("go", max_iterations=3)
        state = await talk.until_state(AgentState.PAUSED)
        assert (state.reason, state.iterations) == ("iteration_limit", 3)

        await talk.ask_for("running")
        state = await talk.until_state(AgentState.FINISHED)

        assert state.total_iterations == 6


async def test_a_budget_pauses_the_run(shared: Stage) -> None:
    replies = [call("think", cost=0.4, thought=f"thought {n}") for n in range(5)]
    async with shared.scene(*replies) as here:
        talk = await here.begin("go", max_cost=1.0)
        state = await talk.until_state(AgentState.PAUSED)

        assert (state.reason, round(state.cost, 2)) == ("budget_limit", 1.2)


async def test_an_agent_in_a_circle_is_stopped(shared: Stage) -> None:
    async with shared.scene(*[call("run", command="echo again")] * 9) as here:
        talk = await here.begin("go")
        state = await talk.until_state(AgentState.ERROR)

        assert state.reason == "stuck"
        assert len(talk.workspace.commands) == 4


async def test_a_rate_limit_waits_and_goes_on_by_itself(shared: Stage) -> None:
    async with shared.scene(ModelLimited(retry_after=0.05), call("finish")) as here:
        talk = await here.begin("go")
        await talk.until_state(AgentState.FINISHED)

        assert (await talk.types())[3:] == ["=rate_limited", "=running", "!finish", "=finished"]


async def test_a_rate_limited_agent_can_be_stopped(shared: Stage) -> None:
    async with shared.scene(ModelLimited(retry_after=3600)) as here:
        talk = await here.begin("go")
        await talk.until_state(AgentState.RATE_LIMITED)
        await talk.ask_for("stopped")

        await talk.until_state(AgentState.STOPPED)


async def test_a_model_that_is_away_is_asked_again(shared: Stage) -> None:
    async with shared.scene(ModelUnavailable("away"), call("finish")) as here:
        talk = await here.begin("go")
        state = await talk.until_state(AgentState.FINISHED)

        assert state.state == AgentState.FINISHED
        assert "=rate_limited" in await talk.types()


async def test_a_conversation_that_is_too_long_ends_the_run_with_a_reason(shared: Stage) -> None:
    async with shared.scene(*[ContextTooLong("too long")] * 5) as here:
        talk = await here.begin("go")
        state = await talk.until_state(AgentState.ERROR)

        assert state.reason == "context_too_long"
        assert len(here.model.shown) == 3


async def test_a_defect_ends_the_run_and_is_told_with_a_reference(shared: Stage) -> None:
    async with shared.scene(RuntimeError("password of the database")) as here:
        talk = await here.begin("go")
        await talk.until_state(AgentState.ERROR)

        told = next(e for e in await talk.events() if e.type == "observation:error")
        assert "password" not in str(told.data)
        assert told.data["extras"]["reference"] in told.data["content"]


async def test_a_workspace_that_fails_is_an_answer_to_the_agent(shared: Stage) -> None:
    async with shared.scene(call("run", command="fail"), call("read", path="nowhere")) as here:
        talk = await here.begin("go")
        await talk.until_state(AgentState.FINISHED)

        failed, missing = (e for e in await talk.events() if e.type == "observation:error")
        assert failed.data["extras"]["code"] == "internal"
        assert "/secret" not in str(failed.data)
        assert missing.data["extras"]["code"] == "not_found"


async def test_a_call_that_does_not_fit_is_told_to_the_model(shared: Stage) -> None:
    async with shared.scene(call("run", wrong="x"), call("fly"), call("finish")) as here:
        talk = await here.begin("go")
        await talk.until_state(AgentState.FINISHED)

        codes = [
            e.data["extras"]["code"] for e in await talk.events() if e.type == "observation:error"
        ]
        assert codes == ["invalid_call", "invalid_call"]


async def test_a_sub_agent_works_in_the_same_stream(shared: Stage) -> None:
    replies = [
        call("delegate", agent="helper", task="count the words"),
        call("run", command="echo 42"),
        call("finish", content="there are 42"),
        call("finish", content="thanks"),
    ]
    async with shared.scene(*replies) as here:
        here.agents.agents["helper"] = here.agents.agents["coder"]
        talk = await here.begin("how many words?")
        state = await talk.until_state(AgentState.FINISHED)

        assert (await talk.types())[3:] == [
            "!delegate",
            "!run",
            ">run",
            "!finish",
            ">delegate",
            "!finish",
            "=finished",
        ]
        assert state.delegates == ()
        task, *_ = here.model.shown[1][1:]
        assert task["content"] == "action:message count the words"
        told = [message["content"] for message in here.model.shown[3][1:]]
        assert [line.partition(" ")[0] for line in told] == [
            "action:message",
            "action:delegate",
            "observation:delegate",
        ]


async def test_an_unknown_sub_agent_is_told(shared: Stage) -> None:
    async with shared.scene(call("delegate", agent="nobody", task="x"), call("finish")) as here:
        talk = await here.begin("go")
        await talk.until_state(AgentState.FINISHED)

        assert "!delegate" not in await talk.types()


async def test_a_command_is_carried_out_once_however_often_it_is_sent(shared: Stage) -> None:
    async with shared.scene(words("?"), call("finish")) as here:
        talk = await here.begin("go")
        await talk.until_state(AgentState.AWAITING_USER_INPUT)

        answers = [await talk.send("message", "c1", content="yes") for _ in range(3)]
        await talk.until_state(AgentState.FINISHED)

        assert len({answer["id"] for answer in answers}) == 1
        assert (await talk.types()).count("!message") == 3


async def test_who_watches_cannot_steer_and_who_comments_is_not_read_by_the_agent(
    shared: Stage,
) -> None:
    async with shared.scene(words("?"), call("finish")) as here:
        talk = await here.begin("go")
        await talk.until_state(AgentState.AWAITING_USER_INPUT)
        bob = await here.user("bob")
        web = here.agents.session(talk.id)
        say = {"action": "message", "args": {"content": "do this"}}
        comment = {"action": "comment", "args": {"content": "nice work"}}
        for role, events in (
            (None, (say, comment)),
            ("watch", (say, comment)),
            ("comment", (say,)),
        ):
            await here.node.agents.set_agent_role(talk.id, bob.id, role)
            for event in events:
                with pytest.raises(Forbidden):
                    await web.dispatch(event, bob)
        await web.dispatch(comment, bob)
        await here.node.agents.set_agent_role(talk.id, bob.id, "drive")
        await web.dispatch(say, bob)
        await talk.until_state(AgentState.FINISHED)

        said = [e for e in await talk.events() if e.data.get("user", {}).get("id") == bob.id]
        assert [e.type for e in said] == ["action:comment", "action:message"]
        assert "nice work" not in str(here.model.shown)
