"""Sessions: begun once, put aside, taken over, handed over, set up and taken down in order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from parlour.agents.agent_session import AgentSession
from parlour.agents.errors import RuntimeUnavailable
from parlour.agents.session_settings import of_user
from parlour.agents.web_session import WebSession
from parlour.core.agents import AgentState, Phase
from parlour.core.streams import Position
from parlour.errors import Forbidden, InvalidPayload, Unavailable
from parlour.ports import Checkpoint
from tests.agent_parts import Stage, Talk, Workspace, call, stage, words

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with stage(tmp_path_factory.mktemp("sessions")) as here:
        yield here


async def test_simultaneous_starts_make_one_session(shared: Stage) -> None:
    async with shared.scene(words("hello")) as here:
        session_id = here.node.new_id()
        await here.user()

        await asyncio.gather(*(here.begin("once", session_id=session_id) for _ in range(6)))
        talk = Talk(here, session_id, await here.user())
        await talk.until_state(AgentState.AWAITING_USER_INPUT)

        assert (await talk.types()).count("!message") == 2
        assert len(here.model.shown) == 1
        assert [e.type for e in await talk.events()].count("observation:status") == 1


async def test_an_id_of_somebody_else_is_refused(shared: Stage) -> None:
    async with shared.scene() as here:
        talk = await here.begin("mine")

        with pytest.raises(Forbidden):
            await here.begin("mine too", name="bob", session_id=talk.id)


async def test_the_reference_way_of_using_a_session(shared: Stage) -> None:
    async with shared.scene(words("yes?"), words("done")) as here:
        user = await here.user()
        session = WebSession(
            sid=here.node.new_id(),
            config=here.node.settings,
            llm_registry=here.agents.llm_registry,
            file_store=None,
            sio=here.agents,
            user_id=user.id,
        )
        await session.initialize_agent(
            settings={"model": here.model_name}, initial_message="hi", replay_json=None
        )
        talk = Talk(here, session.sid, user)
        await talk.until_state(AgentState.AWAITING_USER_INPUT)
        await session.dispatch({"action": "message", "args": {"content": "there"}})
        await talk.until(lambda state: len(here.model.shown) == 2 and not state.inputs)

        agent = session.agent_session
        assert agent is not None
        assert agent.phase is Phase.RUNNING
        assert None not in (agent.controller, agent.runtime, agent.memory, agent.event_stream)
        await talk.until_state(AgentState.AWAITING_USER_INPUT)
        await session.close()
        assert agent.phase is Phase.CLOSED
        assert talk.id not in here.agents.live
        assert session.conversation_stats.iterations == 2


async def test_the_phases_come_in_order_and_are_timed(tmp_path: Path) -> None:
    async with stage(tmp_path) as here:
        talk = await here.begin("go")
        await talk.until_state(AgentState.FINISHED)

        status = next(e for e in await talk.events() if e.type == "observation:status")

        assert list(status.data["extras"]["detail"]["phases"]) == [
            "initializing",
            "runtime_setup",
            "agent_setup",
            "memory_setup",
            "controller_setup",
        ]
        rendered = here.node.metrics.render().decode()
        assert 'parlour_agent_phase_seconds_count{phase="runtime_setup"} 1.0' in rendered


class BrokenWorkspace(Workspace):
    async def open(self) -> None:
        raise RuntimeUnavailable("The disk is full.")


@pytest.mark.parametrize(
    ("broken", "phase", "code"),
    [
        ("runtime", "runtime_setup", "runtime_unavailable"),
        ("agent", "agent_setup", "not_found"),
        ("model", "controller_setup", "not_found"),
        ("defect", "runtime_setup", "internal"),
    ],
)
async def test_a_set_up_that_fails_is_told_and_cleaned_up(
    tmp_path: Path, broken: str, phase: str, code: str
) -> None:
    async with stage(tmp_path) as here:
        settings: dict[str, Any] = {}
        if broken == "agent":
            settings["agent"] = "nobody"
        if broken == "model":
            settings["model"] = "missing"
        if broken in ("runtime", "defect"):
            here.workspaces["broken-session"] = BrokenWorkspace()
        if broken == "defect":
            here.agents.runtimes = _defect
        failing = here.begin("go", session_id="broken-session", **settings)
        with pytest.raises(Exception, match=r".") as failure:
            await failing
        assert "AssertionError" not in repr(failure.value)

        talk = Talk(here, "broken-session", await here.user())
        told = next(e for e in await talk.events() if e.type == "observation:error")
        state = await here.agents.state_of(talk.id)
        assert told.data["extras"]["code"] == code
        assert "secret path" not in str(told.data)
        assert state.state is AgentState.ERROR
        assert talk.id not in here.agents.live
        assert await here.node.leases.holder(f"agent:{talk.id}") is None
        assert [one["text"] for one in state.inputs] == ["go"]


def _defect(session_id: str) -> Workspace:
    raise RuntimeError("secret path")


async def test_after_a_failed_set_up_the_next_message_tries_again(tmp_path: Path) -> None:
    async with stage(tmp_path) as here:
        here.workspaces["broken-session"] = BrokenWorkspace()
        with pytest.raises(RuntimeUnavailable):
            await here.begin("go", session_id="broken-session")
        here.workspaces["broken-session"] = Workspace()
        talk = Talk(here, "broken-session", await here.user())

        await talk.say("again")
        await talk.until_state(AgentState.FINISHED)

        assert "go" in str(here.model.shown)


@pytest.mark.parametrize("resting", ["awaiting", "confirming", "paused"])
async def test_a_restart_restores_where_a_session_was(tmp_path: Path, resting: str) -> None:
    replies = {
        "awaiting": [words("which?")],
        "confirming": [call("run", command="echo risky")],
        "paused": [call("think", thought="a"), call("think", thought="b")],
    }[resting]
    settings: dict[str, Any] = {
        "awaiting": {},
        "confirming": {"confirmation": "commands"},
        "paused": {"max_iterations": 2},
    }[resting]
    states = {
        "awaiting": AgentState.AWAITING_USER_INPUT,
        "confirming": AgentState.AWAITING_USER_CONFIRMATION,
        "paused": AgentState.PAUSED,
    }
    async with stage(tmp_path, *replies) as here:
        talk = await here.begin("go", **settings)
        before = await talk.until_state(states[resting])

    async with stage(tmp_path) as again:
        talk = Talk(again, talk.id, talk.user)
        after = await again.agents.state_of(talk.id)
        assert (after.state, after.pending, after.inputs) == (
            before.state,
            before.pending,
            before.inputs,
        )
        match resting:
            case "awaiting":
                await talk.say("this one")
            case "confirming":
                await talk.ask_for("user_confirmed", ask_id=after.pending["id"])
            case "paused":
                await talk.ask_for("running")
        await talk.until_state(AgentState.FINISHED)
        if resting == "confirming":
            assert talk.workspace.commands == ["echo risky"]


async def test_a_running_agent_goes_on_after_a_restart_and_repeats_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path, call("run", command="wait"), shutdown_runs_seconds=0.2) as here:
        talk = await here.begin("go")
        await talk.workspace.waiting.wait()

    async with stage(tmp_path, call("finish", content="went on")) as again:
        talk = Talk(again, talk.id, talk.user)
        await talk.until_state(AgentState.FINISHED)

        types = await talk.types()
        assert types[3:] == ["!run", ">run", "!finish", "=finished"]
        interrupted = next(e for e in await talk.events() if e.type == "observation:run")
        assert interrupted.data["extras"]["interrupted"] is True
        assert talk.id not in again.workspaces or not talk.workspace.commands


async def test_an_action_whose_owner_vanished_is_not_done_again(shared: Stage) -> None:
    async with shared.scene(call("run", command="wait")) as here:
        talk = await here.begin("go")
        await talk.workspace.waiting.wait()
        # As if the process had been killed: nothing more is written, and its lease runs out.
        web = here.agents.live[talk.id]
        assert web.agent_session is not None
        await _vanish(here, web.agent_session)
        here.model.replies = [call("finish")]

        await here.agents.owned.search()
        await talk.until_state(AgentState.FINISHED)

        told = next(e for e in await talk.events() if e.type == "observation:error")
        assert told.data["extras"]["code"] == "interrupted"
        assert talk.workspace.commands == ["wait"]
        assert [e.data["extras"]["status"] for e in await talk.events() if "status" in e.type] == [
            "ready",
            "moved",
        ]


async def _vanish(here: Stage, session: AgentSession) -> None:
    """The owner is gone, and somebody else has written with a higher fence since."""
    lease = session.lease
    assert lease is not None
    assert session.controller is not None
    del here.agents.owned.live[session.sid]
    await here.node.leases.release(lease)
    taken = await here.node.leases.acquire(lease.name, "another node", 60_000)
    assert taken is not None
    await here.node.streams.append(
        session.event_stream.name,
        ("action:comment", {"action": "comment", "args": {"content": "mine now"}}),
        source="user:other",
        fence=taken.generation,
    )
    await here.node.leases.release(taken)
    await session.close()


async def test_a_stale_owner_gives_up_without_another_word(shared: Stage) -> None:
    gate = asyncio.Event()

    async def slow(messages: Any) -> Any:
        await gate.wait()
        return call("run", command="echo never")

    async with shared.scene(lambda messages: slow(messages)) as here:
        talk = await here.begin("go")
        await talk.until(lambda state: state.state == AgentState.RUNNING and not state.inputs)
        session = here.agents.live[talk.id].agent_session
        assert session is not None
        stale = here.node.metrics.agent_stale_appends
        before, count = stale._value.get(), len(await talk.events())
        lease = session.lease
        assert lease is not None
        await here.node.leases.release(lease)
        taken = await here.node.leases.acquire(lease.name, "another node", 600_000)
        assert taken is not None
        comment = {"action": "comment", "args": {"content": "mine now"}}
        await here.node.streams.append(
            f"agent:{talk.id}", ("action:comment", comment), fence=taken.generation
        )

        gate.set()
        await talk.until(lambda state: talk.id not in here.agents.live)

        assert stale._value.get() == before + 1
        assert len(await talk.events()) == count + 1
        assert not talk.workspace.commands


async def test_an_idle_session_is_put_aside_and_goes_on_with_the_next_message(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, words("a"), words("b"), agent_idle_seconds=0.01) as here:
        talk = await here.begin("go")
        await talk.until_state(AgentState.AWAITING_USER_INPUT)
        await talk.until(lambda state: talk.id not in here.agents.live)

        await talk.say("more")
        await talk.until(lambda state: len(here.model.shown) == 2 and not state.inputs)

        assert [m["content"] for m in here.model.shown[1][1:]] == [
            "action:message go",
            "action:message a",
            "action:message more",
        ]


async def test_the_limit_never_closes_who_works_or_is_watched(tmp_path: Path) -> None:
    # It closed the oldest one although people were attached to it.
    replies = [call("run", command="wait"), words("resting")]
    async with stage(tmp_path, *replies, agent_sessions_limit=2) as here:
        working = await here.begin("work")
        await working.workspace.waiting.wait()
        resting = await here.begin("rest")
        await resting.until_state(AgentState.AWAITING_USER_INPUT)
        await here.node.pool.enter(f"agent:{resting.id}", "another node")

        with pytest.raises(Unavailable):
            await here.begin("one too many")
        assert {working.id, resting.id} == set(here.agents.live)

        await here.node.pool.leave(f"agent:{resting.id}", "another node")
        here.model.replies = [words("in")]
        third = await here.begin("now there is room")

        assert {working.id, third.id} == set(here.agents.live)
        working.workspace.go_on.set()


async def test_a_checkpoint_of_another_history_is_not_used(shared: Stage) -> None:
    async with shared.scene(words("a"), words("b")) as here:
        talk = await here.begin("go")
        await talk.until_state(AgentState.AWAITING_USER_INPUT)
        await here.agents.live[talk.id].close()
        wrong = Checkpoint(Position("another-epoch", 99), {"state": "finished", "offset": 99})
        await here.node.agents.write_checkpoint(talk.id, wrong)

        state = await here.agents.state_of(talk.id)
        await talk.say("on")
        await talk.until(lambda s: len(here.model.shown) == 2 and not s.inputs)

        assert state.state is AgentState.AWAITING_USER_INPUT


async def test_many_idle_sessions_need_no_thread_and_no_task_each(tmp_path: Path) -> None:
    async with stage(tmp_path, *[words("ok")] * 60) as here:
        first = await here.begin("go")
        await first.until_state(AgentState.AWAITING_USER_INPUT)
        threads, tasks = threading.active_count(), len(here.node.tasks)
        talks = [await here.begin("go") for _ in range(50)]
        for talk in talks:
            await talk.until_state(AgentState.AWAITING_USER_INPUT)

        assert len(here.agents.live) == 51
        assert threading.active_count() <= threads + 2
        await talks[0].until(lambda state: len(here.node.tasks) <= tasks + 3)


async def test_what_is_in_force_says_where_it_came_from(tmp_path: Path) -> None:
    async with stage(tmp_path, agent_max_iterations=10, agent_input_policy="queue") as here:
        user = await here.user()
        web = WebSession(here.node.new_id(), sio=here.agents, user_id=user.id)
        record = await web.initialize_agent(
            {
                "max_iterations": 50,
                "instructions": "be brief",
                "secrets": {"token": "s3cr3t-value"},
            },
            user_settings={"input_policy": "reject", "instructions": "be long"},
        )

        force = record.settings
        assert force["max_iterations"] == 10
        assert (force["input_policy"], force["instructions"]) == ("reject", "be brief")
        assert {
            name: force["sources"][name]
            for name in ("max_iterations", "input_policy", "instructions", "model")
        } == {
            "max_iterations": "server",
            "input_policy": "user",
            "instructions": "session",
            "model": "server",
        }
        assert force["secrets"] == ["token"]
        assert "s3cr3t-value" not in str(await here.node.agents.agent(web.sid))
        for wrong in ({"agent": 7}, {"unknown": 1}, {"max_seconds": -1}):
            with pytest.raises(InvalidPayload):
                await here.begin("x", **wrong)


async def test_what_a_user_chose_for_agents_is_taken_where_it_fits() -> None:
    chosen = {"agents": {"input_policy": "queue", "max_iterations": "many", "color": "red"}}

    assert of_user(chosen) == {"input_policy": "queue"}
    assert of_user({"agents": 7}) == of_user({}) == {}


async def test_what_was_said_when_the_process_died_is_answered_by_its_next_life(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as here:
        talk = await here.begin("go")
        await talk.until_state(AgentState.FINISHED)
        session = here.agents.owned.live.pop(talk.id).agent_session
        assert session is not None
        await session.close()
        # The lease is still held, as after a kill -9; the message was stored and acknowledged.
        words_ = "still there?"
        said = {"action": "message", "args": {"content": words_}, "message": words_}
        author = f"user:{talk.user.id}"
        await here.node.streams.append(f"agent:{talk.id}", ("action:message", said), source=author)

    async with stage(tmp_path) as again:
        talk = Talk(again, talk.id, talk.user)
        await talk.until(lambda state: state.runs == 2 and state.state == AgentState.FINISHED)

        assert "still there?" in str(again.model.shown)


async def test_a_model_is_in_use_while_it_answers(shared: Stage) -> None:
    may_answer = asyncio.Event()

    async def answer() -> Any:
        await may_answer.wait()
        return words("there")

    async with shared.scene(lambda _messages: answer()) as here:
        talk = await here.begin("hello")
        async with asyncio.timeout(30):
            while True:
                used = await here.node.usage.in_use()
                if here.model_name in used:
                    break
                await asyncio.sleep(0.01)
        may_answer.set()
        await talk.until_state(AgentState.AWAITING_USER_INPUT)

    assert used[here.model_name] == 1
