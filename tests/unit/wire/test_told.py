"""Every event that the server tells has a form, and is told by it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import parlour
from parlour.core.thread import EVENT_TYPES
from parlour.server.conversation_events import conversation_event
from parlour.wire.schema import payload_schema
from parlour.wire.told import MESSAGE_DELTA, SOCKET_EVENTS, STREAM_EVENTS

SOURCES = Path(parlour.__file__).parent
FORMS = SOURCES / "wire/told.py"

SOCKET_NAMES = {one.name for one in SOCKET_EVENTS}
STREAM_TYPES = {one.type for types in STREAM_EVENTS.values() for one in types}


def trees() -> Iterator[tuple[str, ast.AST]]:
    for file in sorted(SOURCES.rglob("*.py")):
        # The test kit plays the part of clients and apps.
        if file != FORMS and SOURCES / "testing" not in file.parents:
            yield str(file.relative_to(SOURCES)), ast.parse(file.read_text("utf-8"))


def literal(node: ast.expr) -> str | None:
    found = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return node.value if found else None


def name_of(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def test_nothing_is_encoded_for_a_socket_by_a_name_written_on_the_spot() -> None:
    written = [
        (file, name)
        for file, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and name_of(node) == "encode_event" and node.args
        if (name := literal(node.args[0])) is not None
    ]

    assert written == []


def test_no_event_of_a_stream_is_made_but_by_its_form() -> None:
    """Neither as `("run:ended", {…})` nor as `emit("run:ended", {…})`."""
    made = []
    for file, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Load):
                parts = node.elts
            elif isinstance(node, ast.Call) and name_of(node) in ("emit", "NewEvent"):
                parts = node.args
            else:
                continue
            if len(parts) > 1 and isinstance(parts[1], ast.Dict | ast.Name):
                made.append((file, literal(parts[0])))

    assert [one for one in made if one[1] in STREAM_TYPES] == []


def test_what_a_conversation_folds_is_told() -> None:
    assert {one.type for one in STREAM_EVENTS["thread"]} >= EVENT_TYPES


def test_the_forms_are_in_the_schema_with_the_names_of_their_events() -> None:
    definitions = payload_schema()["$defs"]

    assert set(definitions["ServerEvents"]["properties"]) == SOCKET_NAMES
    for kind, types in STREAM_EVENTS.items():
        assert list(definitions[f"{kind.title()}EventData"]["properties"]) == [
            one.type for one in types
        ]


def test_a_type_is_told_in_one_form_only() -> None:
    for types in STREAM_EVENTS.values():
        names = [one.type for one in types]
        assert len(names) == len(set(names))


def test_what_a_tool_emits_under_an_older_name_is_told_in_the_form() -> None:
    told = conversation_event({"type": "chat:message:delta", "data": {"content": "a"}}, "m")

    assert told == MESSAGE_DELTA({"id": "m", "text": "a"})
