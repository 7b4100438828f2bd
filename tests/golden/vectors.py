"""The shared vectors of the conversation fold: made here, checked in Python and in TypeScript.

`python -m tests.golden.vectors` writes `tests/golden/thread/*.json`; a test fails where the files differ
from what this module makes. Each file: `{name, snapshot, events, expected}` in wire form.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from parlour.core.streams import Event
from parlour.core.thread import EVENT_TYPES, ThreadState, fold
from parlour.wire.events import event_payload

FOLDER = Path(__file__).parent / "thread"
EPOCH = "e1"

Pair = tuple[str, dict[str, Any]]


def events(pairs: list[Pair], after: int = 0) -> list[Event]:
    """Numbered events of one stream, a second apart."""
    return [
        Event("thread:t", EPOCH, offset, type, data, 1_700_000_000_000 + offset * 1000)
        for offset, (type, data) in enumerate(pairs, after + 1)
    ]


def message(message_id: str, **more: Any) -> Pair:
    return (
        "message",
        {"id": message_id, "role": "assistant", "author": None, "content": "", **more},
    )


def ask(ask_id: str, **more: Any) -> Pair:
    spec = {"type": "text", "timeout_at": 1_700_000_100_000}
    return ("ask", {"ask_id": ask_id, "content": "Why?", "spec": spec, "run_id": "r1", **more})


def step(step_id: str, status: str, **more: Any) -> Pair:
    return ("step", {"id": step_id, "name": "search", "status": status, "run_id": "r1", **more})


CASES: dict[str, list[Pair]] = {
    "message": [message("m1", content="one", created_at=5), message("m2", content="two")],
    "message again keeps its place": [
        message("m1", content="one"),
        message("m2", content="two"),
        message("m1", content="changed"),
    ],
    "delta": [
        message("m1", streaming=True, run_id="r1"),
        ("message:delta", {"id": "m1", "text": "Grüße "}),
        ("message:delta", {"id": "m1", "text": "👩‍👩‍👧 \u2028"}),
        ("message:delta", {"id": "unknown", "text": "x"}),
    ],
    "deltas": [
        message("m1", streaming=True, run_id="r1"),
        message("m2", content="two "),
        (
            "message:deltas",
            {"deltas": [{"id": "m2", "text": "é"}, {"id": "m1", "text": "one"}]},
        ),
        ("message:deltas", {"deltas": [{"id": "unknown", "text": "x"}, {"id": "m2", "text": "!"}]}),
    ],
    "replace": [message("m1", content="a"), ("message:replace", {"id": "m1", "content": "b"})],
    "done": [
        message("m1", streaming=True),
        ("message:delta", {"id": "m1", "text": "ab"}),
        ("message:done", {"id": "m1", "length": 2, "hash": "fb8e20fc2e4c3f24"}),
    ],
    "update": [
        message("m1", content="a"),
        ("message:update", {"id": "m1", "content": "b", "edited_at": 9, "role": "user"}),
    ],
    "delete": [
        message("m1"),
        message("m2"),
        ("message:delete", {"id": "m1"}),
        ("message:delta", {"id": "m1", "text": "late"}),
        ("message:delete", {"id": "never"}),
    ],
    "step": [step("s1", "running"), step("s2", "running"), step("s1", "done", output="42")],
    "status": [("status", {"text": "Looking"}), ("status", {"text": "Reading"})],
    "status done": [("status", {"text": "Looking"}), ("status", {"text": "Found", "done": True})],
    "files and sources": [
        message("m1"),
        ("files", {"message_id": "m1", "files": [{"id": "f1"}]}),
        ("files", {"message_id": "m1", "files": [{"id": "f2"}]}),
        ("source", {"message_id": "m1", "source": {"url": "https://example.org"}}),
        ("source", {"message_id": "gone", "source": {"url": "https://example.org"}}),
    ],
    "ask": [ask("t.a1"), ask("t.a2")],
    "ask closed": [
        ask("t.a1"),
        ask("t.a2"),
        ("ask:closed", {"ask_id": "t.a1", "outcome": "answered", "answered_by": None}),
    ],
    "run queued": [
        ("run:queued", {"run_id": "r1", "handler": "on_message", "message_id": "m1"}),
        ("run:queued", {"run_id": "r2", "handler": "on_message", "message_id": "m2"}),
        ("run:started", {"run_id": "r1", "handler": "on_message"}),
        ("run:ended", {"run_id": "r1", "outcome": "completed"}),
    ],
    "run": [
        ("run:started", {"run_id": "r1", "handler": "on_message"}),
        ("status", {"text": "Working"}),
        message("m1", streaming=True, run_id="r1"),
        message("m2", streaming=True, run_id="r2"),
        step("s1", "running"),
        ("run:ended", {"run_id": "r1", "outcome": "interrupted"}),
        ("run:ended", {"run_id": "unknown", "outcome": "completed"}),
    ],
    "title and tags": [
        ("chat:title", {"title": "First"}),
        ("chat:tags", {"tags": ["a", "b"]}),
        ("chat:title", {"title": "Second"}),
    ],
    "unknown types change nothing": [message("m1"), ("later:invention", {"id": "m1"})],
    "deleting at a full window": [
        *[message(f"m{n}") for n in range(1000)],
        message("m1000"),
        ("message:delete", {"id": "m500"}),
    ],
    "window": [message(f"m{n}", content=str(n)) for n in range(1005)],
}


def random_pairs(seed: int, count: int) -> list[Pair]:
    """A repeatable mixture of everything."""
    draw = random.Random(seed)
    ids = [f"m{n}" for n in range(6)]
    makers = [
        lambda: message(draw.choice(ids), streaming=draw.random() < 0.5, run_id="r1"),
        lambda: ("message:delta", {"id": draw.choice(ids), "text": draw.choice("aé漢😀 \n")}),
        lambda: ("message:replace", {"id": draw.choice(ids), "content": "new"}),
        lambda: ("message:done", {"id": draw.choice(ids), "length": 1, "hash": "0"}),
        lambda: ("message:update", {"id": draw.choice(ids), "data": {"n": draw.randrange(9)}}),
        lambda: ("message:delete", {"id": draw.choice(ids)}),
        lambda: step(draw.choice("abc"), draw.choice(["running", "done"])),
        lambda: ("status", {"text": draw.choice(["", "busy"])}),
        lambda: ("files", {"message_id": draw.choice(ids), "files": [{"id": "f"}]}),
        lambda: ("source", {"message_id": draw.choice(ids), "source": {"title": "s"}}),
        lambda: ask(f"t.{draw.choice('xyz')}"),
        lambda: ("ask:closed", {"ask_id": f"t.{draw.choice('xyz')}", "outcome": "expired"}),
        lambda: ("run:started", {"run_id": draw.choice(["r1", "r2"]), "handler": "h"}),
        lambda: ("run:ended", {"run_id": draw.choice(["r1", "r2"]), "outcome": "completed"}),
        lambda: ("chat:title", {"title": draw.choice(["x", "y"])}),
        lambda: ("chat:tags", {"tags": [draw.choice("pq")]}),
    ]
    return [draw.choice(makers)() for _ in range(count)]


def vector(name: str, pairs: list[Pair], split: int) -> dict[str, Any]:
    """Fold the first `split` events into the snapshot; the others are the vector's events."""
    all_events = events(pairs)
    before, _ = fold(ThreadState(), all_events[:split])
    after, _ = fold(before, all_events[split:])
    return {
        "name": name,
        "snapshot": before.to_wire(),
        "events": [event_payload(event) for event in all_events[split:]],
        "expected": after.to_wire(),
    }


def vectors() -> dict[str, dict[str, Any]]:
    """Every vector by file name."""
    made = {name: vector(name, pairs, len(pairs) // 3) for name, pairs in CASES.items()}
    for seed in range(12):
        name = f"random {seed}"
        made[name] = vector(name, random_pairs(seed, 60), 20)
    return {name.replace(" ", "_") + ".json": value for name, value in made.items()}


def covered_types() -> set[str]:
    return {type for pairs in CASES.values() for type, _ in pairs} & EVENT_TYPES


def render(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":")) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file_name, value in vectors().items():
        (FOLDER / file_name).write_text(render(value))
