"""The shared vectors of the fold of agent sessions: made here, checked in Python and in TypeScript.

`python -m tests.golden.agent_vectors` writes `tests/golden/agent/*.json`; a test fails where the files differ from
what this module makes. Each file: `{name, state, events, expected}` in wire form, without `trail`, which no client
keeps.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from parlour.agents.events import (
    ACTIONS,
    OBSERVATIONS,
    Action,
    CellAction,
    CellObservation,
    ChangeStateAction,
    CommentAction,
    CondensationObservation,
    DelegateAction,
    DelegateObservation,
    EditAction,
    EditObservation,
    ErrorObservation,
    FinishAction,
    InputTakenObservation,
    MessageAction,
    Observation,
    ReadAction,
    ReadObservation,
    RejectAction,
    RunAction,
    RunObservation,
    StateObservation,
    StatusObservation,
    ThinkAction,
    ThinkObservation,
    UserRejectedObservation,
    WriteAction,
    WriteObservation,
    event_type,
)
from parlour.core.agent_state import SessionState, fold
from parlour.core.agents import AgentState, InputPolicy, Request
from parlour.core.streams import Event
from parlour.wire.events import agent_payload
from tests.golden.vectors import render

FOLDER = Path(__file__).parent / "agent"
STREAM = "agent:a"
PERSON = {"id": "ann", "name": "Ann"}

Entry = tuple[Action | Observation, str, int | None, dict[str, Any]]
"""An event, its source, its cause, and further fields of its record."""


def _cost(prompt: int, completion: int, cost: float) -> dict[str, Any]:
    return {"usage": {"prompt": prompt, "completion": completion, "cost": cost}}


def person(event: Action) -> Entry:
    return event, "user:ann", None, {"user": PERSON, "command_id": "c"}


def agent(event: Action, **more: Any) -> Entry:
    return event, "agent:a", None, more


def system(event: Observation, cause: int | None = None, **more: Any) -> Entry:
    return event, "system", cause, more


def state(name: AgentState, cause: int | None = None, **more: Any) -> Entry:
    return system(StateObservation(agent_state=name, **more), cause)


def events(entries: list[Entry]) -> list[Event]:
    """Numbered from 1, a second apart."""
    return [
        Event(
            STREAM,
            "e1",
            number,
            event_type(event),
            {**event.to_data(), **more},
            1_700_000_000_000 + number * 1000,
            source,
            None if cause is None else str(cause),
        )
        for number, (event, source, cause, more) in enumerate(entries, 1)
    ]


_S = AgentState

CASES: dict[str, list[Entry]] = {
    "a task from start to end": [
        person(MessageAction(content="Mend it")),
        system(StatusObservation(status="ready", node="n1")),
        state(_S.RUNNING, 1, began=True),
        system(InputTakenObservation(ids=[1])),
        agent(ThinkAction(thought="Look first."), **_cost(20, 5, 0.25)),
        system(ThinkObservation(), 5),
        agent(ReadAction(path="a.py"), **_cost(40, 5, 0.5)),
        system(ReadObservation(content="x = 1", path="a.py"), 7),
        agent(WriteAction(path="b.py", content="y = 2")),
        system(WriteObservation(path="b.py", content="5 characters"), 9),
        agent(EditAction(path="a.py", old="1", new="2"), **_cost(60, 9, 0.125)),
        system(EditObservation(path="a.py", diff="@@", content="@@"), 11),
        agent(RunAction(command="make"), **_cost(80, 3, 0.0)),
        system(RunObservation(content="ok", command="make", exit_code=0), 13),
        agent(CellAction(code="1 + 1")),
        system(CellObservation(content="2", command="1 + 1", exit_code=0), 15),
        agent(FinishAction(content="Done"), **_cost(90, 7, 1.0)),
        state(_S.FINISHED),
    ],
    "a confirmation": [
        person(MessageAction(content="Go")),
        state(_S.RUNNING, 1, began=True),
        system(InputTakenObservation(ids=[1])),
        agent(RunAction(command="rm x"), confirmation_state="awaiting_confirmation"),
        state(_S.AWAITING_USER_CONFIRMATION, 4, ask_id=4),
        person(ChangeStateAction(agent_state=Request.CONFIRM, ask_id=4)),
        state(_S.RUNNING, 6, confirmed=True),
        system(RunObservation(command="rm x", exit_code=0), 4),
        agent(RunAction(command="rm y"), confirmation_state="awaiting_confirmation"),
        state(_S.AWAITING_USER_CONFIRMATION, 9, ask_id=9),
        person(ChangeStateAction(agent_state=Request.REJECT, ask_id=9)),
        system(UserRejectedObservation(content="No.", action_id=9), 9),
        state(_S.AWAITING_USER_INPUT, 11, reason="rejected"),
    ],
    "pause, comment and steer": [
        person(MessageAction(content="Go")),
        state(_S.RUNNING, 1, began=True),
        person(ChangeStateAction(agent_state=Request.PAUSE)),
        state(_S.PAUSED, 3),
        person(CommentAction(content="Look at this")),
        person(MessageAction(content="Use pytest", policy=InputPolicy.QUEUE)),
        person(MessageAction(content="Now", policy=InputPolicy.INTERRUPT)),
        person(ChangeStateAction(agent_state=Request.RESUME)),
        state(_S.RUNNING, 8, began=True),
        system(InputTakenObservation(ids=[1, 7])),
        person(ChangeStateAction(agent_state=Request.PAUSE)),
        system(ErrorObservation(content="Not now", code="illegal_transition"), 11),
    ],
    "limits": [
        state(_S.RUNNING, began=True),
        state(_S.RATE_LIMITED, reason="model_limited", resume_at=1_700_000_009_000),
        state(_S.RUNNING),
        state(_S.PAUSED, reason="iteration_limit"),
    ],
    "sub-agents": [
        state(_S.RUNNING, began=True),
        agent(DelegateAction(agent="tester", task="Test it"), **_cost(1, 1, 0.5)),
        agent(DelegateAction(agent="reader", task="Read it")),
        agent(RunAction(command="ls")),
        system(RunObservation(command="ls", exit_code=0), 4),
        agent(FinishAction(content="Tested")),
        system(DelegateObservation(content="Tested", agent="tester"), 2),
        agent(MessageAction(content="And now?", wait=True), **_cost(1, 2, 0.5)),
        state(_S.AWAITING_USER_INPUT),
    ],
    "a stop ends everything": [
        state(_S.RUNNING, began=True),
        agent(DelegateAction(agent="tester", task="Test it")),
        agent(RunAction(command="sleep 9")),
        person(ChangeStateAction(agent_state=Request.STOP)),
        state(_S.STOPPED, 4),
    ],
    "a summary costs and is no step": [
        state(_S.RUNNING, began=True),
        agent(ThinkAction(thought="So")),
        system(CondensationObservation(content="It began.", through=1), **_cost(500, 50, 0.75)),
        agent(RejectAction(content="I will not"), **_cost(9, 9, 0.25)),
        state(_S.REJECTED),
    ],
}


def random_entries(seed: int, count: int) -> list[Entry]:
    """A repeatable mixture of everything, with causes that may or may not fit."""
    draw = random.Random(seed)
    entries: list[Entry] = []

    def cause() -> int | None:
        last = len(entries)
        found: list[int | None] = [None, *range(max(1, last - 6), last + 1)]
        return draw.choice(found)

    def spent() -> dict[str, Any]:
        return _cost(draw.randrange(99), draw.randrange(99), draw.randrange(8) / 8)

    makers: list[Callable[[], Entry]] = [
        lambda: person(MessageAction(content="a", policy=draw.choice([None, InputPolicy.QUEUE]))),
        lambda: person(CommentAction(content="b")),
        lambda: person(ChangeStateAction(agent_state=draw.choice(list(Request)), ask_id=cause())),
        lambda: agent(RunAction(command="c"), **spent()),
        lambda: agent(WriteAction(path="d", content="e")),
        lambda: agent(ThinkAction(thought="f"), **spent()),
        lambda: agent(MessageAction(content="g", wait=True), **spent()),
        lambda: agent(DelegateAction(agent="h", task="i"), **spent()),
        lambda: agent(FinishAction(content="j")),
        lambda: system(RunObservation(command="c", exit_code=draw.randrange(2)), cause()),
        lambda: system(WriteObservation(path="d"), cause()),
        lambda: system(ThinkObservation(), cause()),
        lambda: system(DelegateObservation(agent="h", content="k"), cause()),
        lambda: system(ErrorObservation(content="l", code="internal"), cause()),
        lambda: system(UserRejectedObservation(action_id=1), cause()),
        lambda: system(InputTakenObservation(ids=[draw.randrange(1, 60) for _ in range(4)])),
        lambda: system(CondensationObservation(content="m", through=1), **spent()),
        lambda: system(StatusObservation(status="moved")),
        lambda: state(
            draw.choice(list(AgentState)),
            cause(),
            reason=draw.choice(["", "stuck"]),
            began=draw.choice([None, True]),
            resume_at=draw.choice([None, 5]),
        ),
    ]
    while len(entries) < count:
        entries.append(draw.choice(makers)())
    return entries


def _wire(folded: SessionState) -> dict[str, Any]:
    return {name: value for name, value in folded.to_json().items() if name != "trail"}


def vector(name: str, entries: list[Entry], split: int) -> dict[str, Any]:
    """The first `split` events are in the state; the vector's events overlap with them by one."""
    stored = events(entries)
    before = fold(SessionState(), stored[:split])
    return {
        "name": name,
        "state": _wire(before),
        "events": [agent_payload(event) for event in stored[max(0, split - 1) :]],
        "expected": _wire(fold(before, stored[split:])),
    }


def vectors() -> dict[str, dict[str, Any]]:
    """Every vector by file name."""
    made = {name: vector(name, entries, len(entries) // 4) for name, entries in CASES.items()}
    for seed in range(6):
        name = f"random {seed}"
        made[name] = vector(name, random_entries(seed, 60), 15)
    return {
        name.replace(" ", "_").replace(",", "") + ".json": value for name, value in made.items()
    }


def covered_types() -> set[str]:
    return {event_type(event) for entries in CASES.values() for event, *_ in entries}


def all_types() -> set[str]:
    return {f"action:{name}" for name in ACTIONS} | {f"observation:{name}" for name in OBSERVATIONS}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file_name, value in vectors().items():
        (FOLDER / file_name).write_text(render(value))
