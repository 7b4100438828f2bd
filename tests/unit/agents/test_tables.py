"""The tables of an agent session, every pair of them."""

from __future__ import annotations

import itertools

import pytest

from parlour.core.agents import (
    PHASES,
    REQUESTS,
    STATES,
    TERMINAL,
    USER_ACTIONS,
    AgentState,
    Confirmation,
    Phase,
    Request,
    Role,
    advance,
    change,
    grant,
    may,
    needs_confirmation,
)
from parlour.errors import IllegalTransition

SET_UP = (
    Phase.INITIALIZING,
    Phase.RUNTIME_SETUP,
    Phase.AGENT_SETUP,
    Phase.MEMORY_SETUP,
    Phase.CONTROLLER_SETUP,
)


@pytest.mark.parametrize(("present", "wanted"), list(itertools.product(Phase, Phase)))
def test_a_phase_follows_only_as_the_table_says(present: Phase, wanted: Phase) -> None:
    if wanted in PHASES[present]:
        assert advance(present, wanted) is wanted
    else:
        with pytest.raises(IllegalTransition):
            advance(present, wanted)


def test_a_session_is_set_up_in_the_order_of_the_reference() -> None:
    way = [Phase.CREATED, *SET_UP, Phase.READY, Phase.RUNNING, Phase.CLOSING, Phase.CLOSED]

    assert all(later in PHASES[earlier] for earlier, later in itertools.pairwise(way))


@pytest.mark.parametrize("phase", SET_UP)
def test_every_step_of_the_set_up_can_fail_and_is_cleaned_up(phase: Phase) -> None:
    assert Phase.CLOSED in PHASES[advance(advance(phase, Phase.ERROR), Phase.CLOSING)]


def test_every_phase_leads_to_the_end_and_nothing_leaves_it() -> None:
    assert all(Phase.CLOSED in _reached(PHASES, phase) for phase in Phase if phase != "closed")
    assert PHASES[Phase.CLOSED] == frozenset()


@pytest.mark.parametrize(("present", "wanted"), list(itertools.product(AgentState, AgentState)))
def test_an_agent_changes_only_as_the_table_says(present: AgentState, wanted: AgentState) -> None:
    if wanted in STATES[present]:
        assert change(present, wanted) is wanted
    else:
        with pytest.raises(IllegalTransition):
            change(present, wanted)


@pytest.mark.parametrize("state", AgentState)
def test_no_state_is_one_that_nothing_leaves(state: AgentState) -> None:
    # A rate limit once left a state that nothing left.
    assert AgentState.RUNNING in _reached(STATES, state)
    assert TERMINAL & (_reached(STATES, state) | {state})


@pytest.mark.parametrize(("present", "request_"), list(itertools.product(AgentState, Request)))
def test_a_client_may_ask_only_for_what_the_table_says(
    present: AgentState, request_: Request
) -> None:
    allowed, target = REQUESTS[request_]
    if present in allowed:
        assert grant(present, request_) is target
    else:
        with pytest.raises(IllegalTransition):
            grant(present, request_)


def test_no_request_makes_an_agent_finish_fail_or_ask() -> None:
    # Any client could inject that the agent had finished.
    targets = {target for _, target in REQUESTS.values()}

    assert targets == {
        AgentState.RUNNING,
        AgentState.PAUSED,
        AgentState.STOPPED,
        AgentState.AWAITING_USER_INPUT,
    }


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        (Role.DRIVE, {"message", "change_agent_state", "comment"}),
        (Role.COMMENT, {"comment"}),
        (Role.WATCH, set()),
        (None, set()),
    ],
)
def test_a_role_allows_its_actions(role: Role | None, allowed: set[str]) -> None:
    assert {action for action in (*USER_ACTIONS, "finish", "run") if may(role, action)} == allowed


@pytest.mark.parametrize(
    ("mode", "asked"),
    [
        (Confirmation.NEVER, set()),
        (Confirmation.COMMANDS, {"run", "run_ipython"}),
        (Confirmation.CHANGES, {"run", "run_ipython", "write", "edit"}),
    ],
)
def test_confirmation_covers_its_actions(mode: Confirmation, asked: set[str]) -> None:
    names = ("run", "run_ipython", "read", "write", "edit", "think", "message", "finish")

    assert {name for name in names if needs_confirmation(mode, name)} == asked


def _reached(table: object, start: object) -> set[object]:
    """Everything that can come after a state."""
    assert isinstance(table, dict)
    found: set[object] = set()
    ahead = [start]
    while ahead:
        fresh = table[ahead.pop()] - found
        found |= fresh
        ahead += fresh
    return found
