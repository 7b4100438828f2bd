"""The fold of a session's events, and what follows from it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parlour.agents.events import (
    ChangeStateAction,
    DelegateAction,
    DelegateObservation,
    ErrorObservation,
    FinishAction,
    InputTakenObservation,
    MessageAction,
    RunAction,
    RunObservation,
    StateObservation,
    UserRejectedObservation,
    event_type,
)
from parlour.core.agent_state import (
    Act,
    Become,
    Discard,
    Disown,
    Limits,
    Refuse,
    Rest,
    SessionState,
    Step,
    Take,
    Think,
    Wait,
    fold,
    interrupts,
    is_stuck,
    next_step,
)
from parlour.core.agents import AgentState, InputPolicy, Request
from parlour.core.streams import Event

S = AgentState


class Tape:
    """Builds a stream event by event."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def add(self, event: Any, source: str = "system", cause: int | None = None, **more: Any) -> int:
        offset = len(self.events) + 1
        data = {**event.to_data(), **more}
        told = None if cause is None else str(cause)
        self.events.append(
            Event("agent:a", "e", offset, event_type(event), data, 1000 * offset, source, told)
        )
        return offset

    def say(self, text: str = "hi", policy: InputPolicy | None = None) -> int:
        return self.add(MessageAction(content=text, policy=policy), "user:ann")

    def ask_for(self, request: Request, ask_id: int | None = None) -> int:
        return self.add(ChangeStateAction(agent_state=request, ask_id=ask_id), "user:ann")

    def become(self, state: AgentState, cause: int | None = None, **extras: Any) -> int:
        return self.add(StateObservation(agent_state=state, **extras), cause=cause)

    def run(self, command: str = "ls") -> int:
        usage = {"prompt": 3, "completion": 2, "cost": 0.5}
        return self.add(RunAction(command=command), "agent:a", usage=usage)

    @property
    def state(self) -> SessionState:
        return fold(SessionState(), self.events)

    def next(self, **given: Any) -> Step:
        options: dict[str, Any] = {
            "now": 10_000_000,
            "limits": Limits(),
            "policy": InputPolicy.STEER,
            "mine": None,
            **given,
        }
        return next_step(self.state, **options)


def running() -> Tape:
    tape = Tape()
    asked = tape.say()
    tape.become(S.RUNNING, asked, began=True)
    tape.add(InputTakenObservation(ids=[asked]))
    return tape


def test_a_message_begins_a_run_is_taken_and_then_there_is_thinking() -> None:
    tape = Tape()
    assert tape.next() == Become(S.AWAITING_USER_INPUT)
    asked = tape.say()
    assert tape.next() == Become(S.RUNNING, asked, began=True)
    tape.become(S.RUNNING, asked, began=True)
    assert tape.next() == Take((asked,))
    tape.add(InputTakenObservation(ids=[asked]))
    assert tape.next() == Think()


def test_an_action_is_begun_only_by_its_recorder() -> None:
    # A successor cannot know whether it was begun: it must not do it a second time.
    tape = running()
    action = tape.run()

    assert isinstance(tape.next(mine=action), Act)
    assert isinstance(tape.next(mine=None), Disown)


def test_a_missing_observation_is_not_waited_for_for_ever() -> None:
    tape = running()
    action = tape.run()
    tape.add(ErrorObservation(content="lost", code="interrupted"), cause=action)

    assert tape.state.pending is None
    assert tape.next() == Think()


def test_a_restart_while_a_word_is_awaited_still_awaits_it() -> None:
    # "Awaiting confirmation" was lost by a restart.
    tape = running()
    action = tape.run()
    tape.become(S.AWAITING_USER_CONFIRMATION, action, ask_id=action)
    restored = SessionState.from_json(tape.state.to_json())

    assert restored == tape.state
    assert tape.next() == Rest()
    asked = tape.ask_for(Request.CONFIRM, action)
    assert tape.next() == Become(S.RUNNING, asked, confirmed=True)


def test_running_stays_running_over_a_restart() -> None:
    # It came back as "waiting for input".
    tape = running()

    restored = SessionState.from_json(tape.state.to_json())

    assert restored.state is S.RUNNING
    assert tape.next() == Think()


def test_a_refusal_discards_the_action() -> None:
    tape = running()
    action = tape.run()
    tape.become(S.AWAITING_USER_CONFIRMATION, action, ask_id=action)
    asked = tape.ask_for(Request.REJECT, action)
    step = tape.next()
    assert isinstance(step, Discard)
    assert (step.action["id"], step.cause) == (action, asked)

    tape.add(UserRejectedObservation(action_id=action), cause=action)
    tape.become(S.AWAITING_USER_INPUT, asked)

    assert tape.next() == Rest()


def test_a_word_about_an_earlier_action_is_refused() -> None:
    tape = running()
    first = tape.run()
    tape.add(RunObservation(), cause=first)
    second = tape.run("rm -r .")
    tape.become(S.AWAITING_USER_CONFIRMATION, second, ask_id=second)
    asked = tape.ask_for(Request.CONFIRM, first)

    assert tape.next() == Refuse(asked, "user_confirmed")


def test_a_request_that_came_too_late_is_answered_and_changes_nothing() -> None:
    tape = running()
    tape.add(FinishAction(content="ok"), "agent:a")
    tape.become(S.FINISHED)
    asked = tape.ask_for(Request.PAUSE)
    assert tape.next() == Refuse(asked, "paused")

    tape.add(ErrorObservation(code="illegal_transition"), cause=asked)

    assert tape.state.requests == ()
    assert tape.next() == Rest()


@pytest.mark.parametrize(
    ("state", "step"),
    [
        (S.FINISHED, True),
        (S.REJECTED, True),
        (S.ERROR, True),
        (S.STOPPED, True),
        (S.AWAITING_USER_INPUT, True),
        (S.PAUSED, False),
        (S.RATE_LIMITED, False),
    ],
)
def test_a_message_starts_whoever_rests_and_waits_for_whoever_is_paused(
    state: AgentState, step: bool
) -> None:
    tape = running()
    tape.become(state, resume_at=20_000_000)
    asked = tape.say("more")

    expected = Become(S.RUNNING, asked, began=True)
    assert (tape.next() == expected) is step
    assert [one["id"] for one in tape.state.inputs] == [asked]


@pytest.mark.parametrize(
    ("policy", "step"),
    [(InputPolicy.QUEUE, Think), (InputPolicy.STEER, Take), (InputPolicy.INTERRUPT, Take)],
)
def test_the_policy_decides_when_a_message_is_taken(policy: InputPolicy, step: type) -> None:
    tape = running()
    action = tape.run()
    tape.add(RunObservation(), cause=action)
    tape.say("more")

    assert isinstance(tape.next(policy=policy), step)


def test_a_messages_own_policy_wins() -> None:
    tape = running()
    tape.say("later", InputPolicy.QUEUE)
    assert not interrupts(tape.state, InputPolicy.INTERRUPT, thinking=True)

    tape.say("now!", InputPolicy.INTERRUPT)

    assert interrupts(tape.state, InputPolicy.QUEUE, thinking=False)


def test_a_stop_ends_what_runs_and_a_pause_only_what_is_thought() -> None:
    for request, acting, thinking in (
        (Request.STOP, True, True),
        (Request.PAUSE, False, True),
        (Request.CONFIRM, False, False),
    ):
        tape = running()
        tape.ask_for(request)

        assert interrupts(tape.state, InputPolicy.STEER, thinking=False) is acting
        assert interrupts(tape.state, InputPolicy.STEER, thinking=True) is thinking


def test_a_rate_limit_ends_by_itself() -> None:
    tape = running()
    tape.become(S.RATE_LIMITED, resume_at=5_000)

    assert tape.next(now=4_000) == Wait(5_000)
    assert tape.next(now=5_000) == Become(S.RUNNING)


def test_limits_are_of_one_run() -> None:
    tape = running()
    for _ in range(2):
        tape.add(RunObservation(), cause=tape.run())

    assert tape.next(limits=Limits(iterations=2)) == Become(S.PAUSED, reason="iteration_limit")
    assert tape.next(limits=Limits(cost=1.0)) == Become(S.PAUSED, reason="budget_limit")
    assert tape.next(limits=Limits(seconds=60)) == Become(S.PAUSED, reason="time_limit")
    tape.become(S.PAUSED, reason="iteration_limit")
    tape.become(S.RUNNING, tape.ask_for(Request.RESUME), began=True)
    assert tape.state.iterations == 0
    assert tape.state.total_iterations == 2


def test_a_sub_agents_finish_ends_the_sub_agent_only() -> None:
    tape = running()
    delegated = tape.add(DelegateAction(agent="helper", task="x"), "agent:a")
    tape.add(RunObservation(), cause=tape.run())
    assert [one["agent"] for one in tape.state.delegates] == ["helper"]

    tape.add(FinishAction(), "agent:a")
    tape.add(DelegateObservation(agent="helper"), cause=delegated)

    assert tape.state.delegates == ()
    assert tape.state.state is S.RUNNING


@pytest.mark.parametrize(
    ("trail", "stuck"),
    [
        (["a"] * 4, True),
        (["b", "a", "a", "a"], False),
        (["a", "b"] * 3, True),
        (["a", "b", "a", "b", "a", "c"], False),
        (["say hm"] * 3, True),
        (["say hm", "say well", "say hm"], False),
        ([], False),
    ],
)
def test_circles_are_seen(trail: list[str], stuck: bool) -> None:
    assert is_stuck(trail) is stuck


def test_a_torn_record_changes_nothing() -> None:
    tape = running()
    before = tape.state
    for type_ in ("action:change_agent_state", "observation:agent_state_changed", "action:message"):
        torn = Event("agent:a", "e", len(tape.events) + 1, type_, {"args": {}}, 0, "user:x")
        tape.events.append(torn)

    after = tape.state

    assert after.offset == before.offset + 3
    assert (after.state, after.inputs, after.requests) == (before.state, (), ())


events = st.sampled_from(
    [
        MessageAction(content="m"),
        ChangeStateAction(agent_state=Request.PAUSE),
        ChangeStateAction(agent_state=Request.STOP),
        ChangeStateAction(agent_state=Request.RESUME),
        RunAction(command="x"),
        RunObservation(content="y"),
        FinishAction(),
        InputTakenObservation(ids=[1, 2, 3]),
        DelegateAction(agent="h", task="t"),
        *(StateObservation(agent_state=state) for state in AgentState),
    ]
)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.lists(st.tuples(events, st.sampled_from(["user:a", "agent:a", "system"])), max_size=25))
def test_a_checkpoint_and_the_rest_give_what_the_whole_gives(items: list[Any]) -> None:
    tape = Tape()
    for event, source in items:
        tape.add(event, source, cause=max(1, len(tape.events)))
    whole = fold(SessionState(), tape.events)

    for cut in range(len(tape.events)):
        stored = SessionState.from_json(fold(SessionState(), tape.events[:cut]).to_json())
        assert fold(stored, tape.events) == whole


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.lists(st.tuples(events, st.sampled_from(["user:a", "agent:a", "system"])), max_size=25))
def test_whatever_was_typed_is_taken_or_waits_and_is_never_forgotten(items: list[Any]) -> None:
    tape = Tape()
    for event, source in items:
        tape.add(event, source, cause=max(1, len(tape.events)))
    typed = {
        e.offset for e in tape.events if e.type == "action:message" and e.source.startswith("user:")
    }
    taken = {
        i
        for e in tape.events
        if e.type == "observation:input_taken"
        for i in e.data["extras"]["ids"]
        if i < e.offset
    }

    assert {one["id"] for one in tape.state.inputs} == typed - taken
    if tape.state.inputs and tape.state.state not in (S.PAUSED, S.AWAITING_USER_CONFIRMATION):
        assert not isinstance(tape.next(), Rest)
