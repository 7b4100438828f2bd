"""An agent session as a fold of its events, and what its owner has to do next.

`fold` and `next_step` are pure: a session that is restored on another node, at any event, decides as the
first one would have. Nothing that was typed can be stranded: an input is in `inputs` from the event that
brought it until an event says that it was taken, and `next_step` looks at it in every state.

Event types are `action:{name}` and `observation:{name}`; data are JSON (docs/agents.md lists them).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from parlour.core.agents import (
    REQUESTS,
    TAKES_INPUT,
    TERMINAL,
    AgentState,
    InputPolicy,
    Request,
)
from parlour.core.streams import Event

Record = Mapping[str, Any]

ANSWERED: Final = frozenset(
    {"run", "run_ipython", "read", "write", "edit", "delegate", "think", "recall"}
)
"""Actions that an observation answers. The next step waits for it."""

TRAIL_LENGTH: Final = 12
"""Steps that are remembered to see whether the agent goes in circles."""

REPEATS: Final = 4
"""The same step with the same result so often is stuck …"""

ALTERNATIONS: Final = 3
"""… and so is the same pair of steps."""

MONOLOGUE: Final = 3
"""… and the same words without a step."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one run, from a person's message to its end; 0 is none. Cost in US dollars."""

    iterations: int = 100
    seconds: float = 0.0
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class SessionState:
    """Where a session stands at event `offset`. A value: `fold` gives back another one.

    `inputs` are messages of people that the agent has not taken yet, oldest first; `requests` are changes of
    state that people asked for and that nobody decided yet; `pending` is the action without an
    observation; `delegates` the sub-agents at work, innermost last. `iterations`, `cost` and `began_at` are of
    the present run; `total_cost` and the tokens of the session's whole life.
    """

    offset: int = 0
    state: AgentState = AgentState.LOADING
    reason: str = ""
    inputs: tuple[Record, ...] = ()
    requests: tuple[Record, ...] = ()
    pending: Record | None = None
    delegates: tuple[Record, ...] = ()
    iterations: int = 0
    cost: float = 0.0
    began_at: int = 0
    resume_at: int = 0
    total_iterations: int = 0
    total_cost: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    trail: tuple[str, ...] = ()
    runs: int = 0
    messages: int = 0

    def to_json(self) -> dict[str, Any]:
        """As a checkpoint and as clients get it."""
        return {one.name: _plain(getattr(self, one.name)) for one in fields(self)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> SessionState:
        """The inverse. Unknown fields are those of a newer version and are left out."""
        known = {one.name for one in fields(cls)}
        values: dict[str, Any] = {name: value for name, value in stored.items() if name in known}
        for name in ("inputs", "requests", "delegates", "trail"):
            values[name] = tuple(values.get(name, ()))
        values["state"] = AgentState(values.get("state", AgentState.LOADING))
        return cls(**values)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [dict(one) if isinstance(one, Mapping) else one for one in value]
    if isinstance(value, AgentState):
        return str(value)
    return value


# --------------------------------------------------------------------------------------------------
# The fold
# --------------------------------------------------------------------------------------------------


def fold(state: SessionState, events: Iterable[Event]) -> SessionState:
    """The state after `events`. What is unknown or does not have its shape changes nothing but the offset."""
    for event in events:
        if event.offset <= state.offset:
            continue
        rule = _RULES.get(event.type)
        changed = state
        if rule is not None:
            try:
                changed = rule(state, event)
            except (KeyError, TypeError, ValueError):
                # A record that another version wrote, or a torn one: the session goes on without it.
                changed = state
        elif event.type.startswith("action:"):
            changed = _acted(state, event)
        elif event.type.startswith("observation:"):
            changed = _observed(state, event)
        state = replace(changed, offset=event.offset)
    return state


def _said(state: SessionState, event: Event) -> SessionState:
    """A message: a person's waits to be taken, an agent's is a step of its own."""
    if not event.source.startswith("user:"):
        return _acted(state, event)
    given = event.data["args"]
    entry = {"id": event.offset, "text": str(given["content"]), "policy": given.get("policy")}
    return replace(state, inputs=(*state.inputs, entry), messages=state.messages + 1)


def _taken(state: SessionState, event: Event) -> SessionState:
    """The agent took messages: a new run begins where none was going on."""
    ids = set(event.data["extras"]["ids"])
    left = tuple(one for one in state.inputs if one["id"] not in ids)
    return replace(state, inputs=left, trail=())


def _asked(state: SessionState, event: Event) -> SessionState:
    """Somebody asked for a change of state."""
    wanted = Request(event.data["args"]["agent_state"])
    entry = {"id": event.offset, "request": str(wanted), "ask": event.data["args"].get("ask_id")}
    return replace(state, requests=(*state.requests, entry))


def _changed(state: SessionState, event: Event) -> SessionState:
    """The agent's state is another one now."""
    extras = event.data["extras"]
    present = AgentState(extras["agent_state"])
    state = replace(
        _answered(state, event),
        state=present,
        reason=str(extras.get("reason", "")),
        resume_at=int(extras.get("resume_at") or 0),
    )
    if extras.get("began"):
        state = replace(
            state, iterations=0, cost=0.0, began_at=event.at, trail=(), runs=state.runs + 1
        )
    if present in TERMINAL:
        state = replace(state, pending=None, delegates=())
    return state


def _answered(state: SessionState, event: Event) -> SessionState:
    """The request that caused this event is decided."""
    left = tuple(one for one in state.requests if str(one["id"]) != event.cause)
    return state if len(left) == len(state.requests) else replace(state, requests=left)


def _acted(state: SessionState, event: Event) -> SessionState:
    """An agent's action: it costs, it may wait for an observation."""
    data = event.data
    name = event.type.partition(":")[2]
    state = _charged(state, data.get("usage") or {})
    if name == "finish" or name == "reject":
        return replace(state, pending=None)
    if name in ANSWERED:
        pending = {"id": event.offset, "action": name, "args": data.get("args", {})}
        if name == "delegate":
            agent = {"id": event.offset, "agent": data["args"]["agent"]}
            return replace(state, delegates=(*state.delegates, agent), pending=None)
        return replace(state, pending=pending)
    if name == "message":
        words = f"say {data.get('args', {}).get('content', '')}"
        return replace(state, trail=_longer(state.trail, words))
    return state


def _charged(state: SessionState, usage: Mapping[str, Any]) -> SessionState:
    if not usage:
        return state
    state = replace(
        state, iterations=state.iterations + 1, total_iterations=state.total_iterations + 1
    )
    return _paid(state, usage)


def _summed_up(state: SessionState, event: Event) -> SessionState:
    """A summary costs, and is no step."""
    return _paid(state, event.data.get("usage") or {})


def _paid(state: SessionState, usage: Mapping[str, Any]) -> SessionState:
    cost = float(usage.get("cost", 0.0))
    return replace(
        state,
        cost=state.cost + cost,
        total_cost=state.total_cost + cost,
        prompt_tokens=state.prompt_tokens + int(usage.get("prompt", 0)),
        completion_tokens=state.completion_tokens + int(usage.get("completion", 0)),
    )


def _observed(state: SessionState, event: Event) -> SessionState:
    """What came of an action."""
    state = _answered(state, event)
    ends = [one for one in state.delegates if str(one["id"]) == event.cause]
    if ends:
        keep = state.delegates[: state.delegates.index(ends[0])]
        state = replace(state, delegates=keep, pending=None)
    pending = state.pending
    if pending is None or str(pending["id"]) != event.cause:
        return state
    step = f"{pending['action']} {_fingerprint(pending['args'])} -> {_result(event)}"
    return replace(state, pending=None, trail=_longer(state.trail, step))


def _fingerprint(args: Mapping[str, Any]) -> str:
    """An action's arguments without what says nothing about what is done."""
    return repr(sorted((key, value) for key, value in args.items() if key not in _NOISE))[:2_000]


_NOISE: Final = frozenset({"thought", "confirmation_state"})


def _result(event: Event) -> str:
    content = str(event.data.get("content", ""))
    return f"{event.type} {content[:1_000]} {len(content)}"


def _longer(trail: tuple[str, ...], step: str) -> tuple[str, ...]:
    return (*trail, step)[-TRAIL_LENGTH:]


_RULES: Final[Mapping[str, Callable[[SessionState, Event], SessionState]]] = {
    "action:message": _said,
    "action:change_agent_state": _asked,
    "observation:condensation": _summed_up,
    "observation:input_taken": _taken,
    "observation:agent_state_changed": _changed,
}


# --------------------------------------------------------------------------------------------------
# What to do next
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing, until an event comes."""


@dataclass(frozen=True, slots=True)
class Become:
    """Change the agent's state. `cause` is the event that asked for it."""

    state: AgentState
    cause: int | None = None
    reason: str = ""
    began: bool = False
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class Refuse:
    """Tell that the request of event `cause` cannot be granted."""

    cause: int
    request: str


@dataclass(frozen=True, slots=True)
class Take:
    """Tell that the agent takes these inputs now."""

    ids: tuple[int, ...]
    begins: bool = False


@dataclass(frozen=True, slots=True)
class Act:
    """Carry out the pending action, which this owner recorded, or told that it was confirmed, and did not begin."""

    action: Record


@dataclass(frozen=True, slots=True)
class Disown:
    """An earlier owner recorded this action and may have begun it: say that its outcome is not known."""

    action: Record


@dataclass(frozen=True, slots=True)
class Discard:
    """A person was asked about the pending action and refused, or something else was wanted."""

    action: Record
    cause: int | None = None


@dataclass(frozen=True, slots=True)
class Think:
    """Ask the model."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Go on at this time (ms), or when an event comes."""

    until: int


Step = Rest | Become | Refuse | Take | Act | Disown | Discard | Think | Wait


def next_step(
    state: SessionState, *, now: int, limits: Limits, policy: InputPolicy, mine: int | None
) -> Step:
    """What a session's owner does next. `mine` is the pending action that this owner recorded and has not begun
    yet; any other one is somebody else's, and whether it was begun is not known: it is never begun again."""
    if state.requests:
        return _decide(state)
    match state.state:
        case AgentState.LOADING:
            return _begin(state) if state.inputs else Become(AgentState.AWAITING_USER_INPUT)
        case AgentState.AWAITING_USER_CONFIRMATION:
            return _while_asked(state, policy)
        case AgentState.RATE_LIMITED:
            return Wait(state.resume_at) if now < state.resume_at else Become(AgentState.RUNNING)
        case AgentState.PAUSED:
            return Rest()
        case AgentState.RUNNING:
            return _while_running(state, now, limits, policy, mine)
    assert state.state in TAKES_INPUT
    return _begin(state) if state.inputs else Rest()


def _begin(state: SessionState) -> Step:
    """A message begins a run."""
    return Become(AgentState.RUNNING, state.inputs[0]["id"], began=True)


def _decide(state: SessionState) -> Step:
    """The oldest request, by the table."""
    asked = state.requests[0]
    request = Request(asked["request"])
    allowed, target = REQUESTS[request]
    about = asked.get("ask")
    stale = about is not None and (state.pending is None or state.pending["id"] != about)
    if state.state not in allowed or stale:
        return Refuse(asked["id"], str(request))
    if request is Request.REJECT and state.pending is not None:
        return Discard(state.pending, asked["id"])
    again = request is Request.RESUME
    return Become(
        target,
        asked["id"],
        began=again and state.state is not AgentState.RATE_LIMITED,
        confirmed=request is Request.CONFIRM,
    )


def _while_asked(state: SessionState, policy: InputPolicy) -> Step:
    """A person's word is awaited; only an interrupting message goes before it."""
    if state.pending is None:
        return Become(AgentState.AWAITING_USER_INPUT)
    if any(_policy_of(one, policy) is InputPolicy.INTERRUPT for one in state.inputs):
        return Discard(state.pending)
    return Rest()


def _while_running(
    state: SessionState, now: int, limits: Limits, policy: InputPolicy, mine: int | None
) -> Step:
    if state.pending is not None:
        own = state.pending["id"] == mine
        return Act(state.pending) if own else Disown(state.pending)
    begins = state.iterations == 0
    wanted = tuple(
        one["id"]
        for one in state.inputs
        if begins or _policy_of(one, policy) is not InputPolicy.QUEUE
    )
    if wanted:
        return Take(wanted)
    over = _over(state, now, limits)
    if over:
        return Become(AgentState.PAUSED, reason=over)
    if is_stuck(state.trail):
        return Become(AgentState.ERROR, reason="stuck")
    return Think()


def _policy_of(entry: Record, policy: InputPolicy) -> InputPolicy:
    return InputPolicy(entry["policy"]) if entry.get("policy") else policy


def interrupts(state: SessionState, policy: InputPolicy, *, thinking: bool) -> bool:
    """Whether what the agent does at this moment has to be cancelled: a Stop, a message that cannot wait, and
    while it is only thinking (nothing is half-done then) also a pause."""
    wanted = {Request.STOP, Request.PAUSE} if thinking else {Request.STOP}
    if any(one["request"] in wanted for one in state.requests):
        return True
    return any(_policy_of(one, policy) is InputPolicy.INTERRUPT for one in state.inputs)


def _over(state: SessionState, now: int, limits: Limits) -> str:
    """Which limit of the run is reached, if any."""
    if limits.iterations and state.iterations >= limits.iterations:
        return "iteration_limit"
    if limits.cost and state.cost >= limits.cost:
        return "budget_limit"
    if limits.seconds and now - state.began_at >= limits.seconds * 1000:
        return "time_limit"
    return ""


def is_stuck(trail: Sequence[str]) -> bool:
    """Whether the newest steps repeat themselves: one step `REPEATS` times, a pair `ALTERNATIONS` times, the
    same words `MONOLOGUE` times."""
    if len(trail) >= MONOLOGUE and trail[-1].startswith("say "):
        return len(set(trail[-MONOLOGUE:])) == 1
    if len(trail) >= REPEATS and len(set(trail[-REPEATS:])) == 1:
        return True
    pairs = trail[-2 * ALTERNATIONS :]
    if len(pairs) < 2 * ALTERNATIONS or pairs[0] == pairs[1]:
        return False
    return len(set(pairs[0::2])) == 1 and len(set(pairs[1::2])) == 1


__all__ = [
    "Act",
    "Become",
    "Discard",
    "Disown",
    "Limits",
    "Refuse",
    "Rest",
    "SessionState",
    "Step",
    "Take",
    "Think",
    "Wait",
    "fold",
    "interrupts",
    "is_stuck",
    "next_step",
]
