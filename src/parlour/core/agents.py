"""Agent sessions as tables: the life of a session, the states of an agent, who may ask for what.

The tables are data (the idea of `h11`'s state machine): an illegal step raises `IllegalTransition` and
changes nothing, and the diagrams of docs/agents.md are drawn from them (`python -m parlour.agents.diagram`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from parlour.errors import IllegalTransition

# --------------------------------------------------------------------------------------------------
# The life of a session on its node (reference document 002)
# --------------------------------------------------------------------------------------------------


class Phase(StrEnum):
    """How far a session is set up, on the node that owns it."""

    CREATED = "created"
    INITIALIZING = "initializing"
    RUNTIME_SETUP = "runtime_setup"
    AGENT_SETUP = "agent_setup"
    MEMORY_SETUP = "memory_setup"
    CONTROLLER_SETUP = "controller_setup"
    READY = "ready"
    RUNNING = "running"
    CLOSING = "closing"
    CLOSED = "closed"
    ERROR = "error"


PHASES: Final[Mapping[Phase, frozenset[Phase]]] = {
    Phase.CREATED: frozenset({Phase.INITIALIZING, Phase.CLOSING}),
    Phase.INITIALIZING: frozenset({Phase.RUNTIME_SETUP, Phase.ERROR}),
    Phase.RUNTIME_SETUP: frozenset({Phase.AGENT_SETUP, Phase.ERROR}),
    Phase.AGENT_SETUP: frozenset({Phase.MEMORY_SETUP, Phase.ERROR}),
    Phase.MEMORY_SETUP: frozenset({Phase.CONTROLLER_SETUP, Phase.ERROR}),
    Phase.CONTROLLER_SETUP: frozenset({Phase.READY, Phase.ERROR}),
    Phase.READY: frozenset({Phase.RUNNING, Phase.CLOSING}),
    Phase.RUNNING: frozenset({Phase.RUNNING, Phase.CLOSING}),
    Phase.CLOSING: frozenset({Phase.CLOSED}),
    Phase.CLOSED: frozenset(),
    Phase.ERROR: frozenset({Phase.CLOSING}),
}
"""From each phase to the ones that may follow. A set-up that is cancelled goes through `error` as well."""


def advance(present: Phase, wanted: Phase) -> Phase:
    """The next phase. Raises `IllegalTransition`."""
    if wanted not in PHASES[present]:
        raise IllegalTransition(f"A session that is {present} cannot become {wanted}.")
    return wanted


# --------------------------------------------------------------------------------------------------
# The states of an agent
# --------------------------------------------------------------------------------------------------


class AgentState(StrEnum):
    """What an agent is doing, as everybody sees it."""

    LOADING = "loading"
    RUNNING = "running"
    AWAITING_USER_INPUT = "awaiting_user_input"
    PAUSED = "paused"
    AWAITING_USER_CONFIRMATION = "awaiting_user_confirmation"
    RATE_LIMITED = "rate_limited"
    FINISHED = "finished"
    REJECTED = "rejected"
    ERROR = "error"
    STOPPED = "stopped"


_S = AgentState

STATES: Final[Mapping[AgentState, frozenset[AgentState]]] = {
    _S.LOADING: frozenset({_S.RUNNING, _S.AWAITING_USER_INPUT, _S.STOPPED, _S.ERROR}),
    _S.RUNNING: frozenset(
        {
            _S.AWAITING_USER_INPUT,
            _S.PAUSED,
            _S.AWAITING_USER_CONFIRMATION,
            _S.RATE_LIMITED,
            _S.FINISHED,
            _S.REJECTED,
            _S.ERROR,
            _S.STOPPED,
        }
    ),
    _S.AWAITING_USER_INPUT: frozenset({_S.RUNNING, _S.STOPPED, _S.ERROR}),
    _S.PAUSED: frozenset({_S.RUNNING, _S.STOPPED, _S.ERROR}),
    _S.AWAITING_USER_CONFIRMATION: frozenset(
        {_S.RUNNING, _S.AWAITING_USER_INPUT, _S.STOPPED, _S.ERROR}
    ),
    _S.RATE_LIMITED: frozenset({_S.RUNNING, _S.PAUSED, _S.STOPPED, _S.ERROR}),
    _S.FINISHED: frozenset({_S.RUNNING}),
    _S.REJECTED: frozenset({_S.RUNNING}),
    _S.ERROR: frozenset({_S.RUNNING, _S.STOPPED}),
    _S.STOPPED: frozenset({_S.RUNNING}),
}
"""From each state to the ones that may follow."""

ACTIVE: Final = frozenset({_S.LOADING, _S.RUNNING, _S.RATE_LIMITED})
"""States in which the agent goes on by itself: their sessions move to another node when theirs dies."""

TERMINAL: Final = frozenset({_S.FINISHED, _S.REJECTED, _S.ERROR, _S.STOPPED})
"""States that end a run; a new message begins the next one."""

TAKES_INPUT: Final = TERMINAL | {_S.AWAITING_USER_INPUT}
"""States in which a message starts the agent."""


class Request(StrEnum):
    """What a client may ask for, by the name that it uses for it in `change_agent_state`."""

    RESUME = "running"
    PAUSE = "paused"
    STOP = "stopped"
    CONFIRM = "user_confirmed"
    REJECT = "user_rejected"


REQUESTS: Final[Mapping[Request, tuple[frozenset[AgentState], AgentState]]] = {
    Request.RESUME: (
        frozenset({_S.PAUSED, _S.RATE_LIMITED, _S.STOPPED, _S.ERROR}),
        _S.RUNNING,
    ),
    Request.PAUSE: (frozenset({_S.RUNNING, _S.RATE_LIMITED}), _S.PAUSED),
    Request.STOP: (
        frozenset(
            {
                _S.LOADING,
                _S.RUNNING,
                _S.AWAITING_USER_INPUT,
                _S.PAUSED,
                _S.AWAITING_USER_CONFIRMATION,
                _S.RATE_LIMITED,
            }
        ),
        _S.STOPPED,
    ),
    Request.CONFIRM: (frozenset({_S.AWAITING_USER_CONFIRMATION}), _S.RUNNING),
    Request.REJECT: (frozenset({_S.AWAITING_USER_CONFIRMATION}), _S.AWAITING_USER_INPUT),
}
"""Each request: the states in which it may be made, and where it leads. Nothing else can be asked for: that
an agent has finished is the agent's to say."""


def change(present: AgentState, wanted: AgentState) -> AgentState:
    """The agent's next state. Raises `IllegalTransition`."""
    if wanted not in STATES[present]:
        raise IllegalTransition(f"An agent that is {present} cannot become {wanted}.")
    return wanted


def grant(present: AgentState, request: Request) -> AgentState:
    """Where a client's request leads. Raises `IllegalTransition`."""
    allowed, target = REQUESTS[request]
    if present not in allowed:
        raise IllegalTransition(f"An agent that is {present} cannot be asked for {request}.")
    return change(present, target)


# --------------------------------------------------------------------------------------------------
# People
# --------------------------------------------------------------------------------------------------


class Role(StrEnum):
    """What somebody may do with an agent session."""

    DRIVE = "drive"
    COMMENT = "comment"
    WATCH = "watch"


USER_ACTIONS: Final[Mapping[str, Role]] = {
    "message": Role.DRIVE,
    "change_agent_state": Role.DRIVE,
    "comment": Role.COMMENT,
}
"""The actions that a client may send, and the least role for each."""

_RANK: Final = (Role.WATCH, Role.COMMENT, Role.DRIVE)


def may(role: Role | None, action: str) -> bool:
    """Whether somebody in this role may send this action."""
    least = USER_ACTIONS.get(action)
    return role is not None and least is not None and _RANK.index(role) >= _RANK.index(least)


MEMBER_REMOVED: Final = "member_removed"
"""The `status` of the event that says that somebody no longer takes part."""


def shuts_out(user_id: str, event_type: str, data: Mapping[str, Any]) -> bool:
    """Whether after this event a user has to be authorised again before hearing more."""
    if event_type != "observation:status":
        return False
    extras = data.get("extras") or {}
    about = (extras.get("detail") or {}).get("user_id")
    return bool(extras.get("status") == MEMBER_REMOVED and about == user_id)


class InputPolicy(StrEnum):
    """What becomes of a message that comes while the agent works."""

    QUEUE = "queue"
    """The agent takes it when it has finished what it does."""
    STEER = "steer"
    """The agent takes it before its next step."""
    INTERRUPT = "interrupt"
    """What the agent does is cancelled, and it takes the message now."""
    REJECT = "reject"
    """The message is refused; nothing of it is stored."""


class Confirmation(StrEnum):
    """Which actions wait for a person's word."""

    NEVER = "never"
    COMMANDS = "commands"
    """Shell commands and Python cells."""
    CHANGES = "changes"
    """The same, and whatever writes a file."""


_COMMANDS: Final = frozenset({"run", "run_ipython"})
_CONFIRMED: Final = {
    Confirmation.NEVER: frozenset[str](),
    Confirmation.COMMANDS: _COMMANDS,
    Confirmation.CHANGES: _COMMANDS | {"write", "edit"},
}


def needs_confirmation(mode: Confirmation, action: str) -> bool:
    """Whether a person is asked before this action."""
    return action in _CONFIRMED[mode]
