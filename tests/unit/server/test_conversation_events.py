"""What emitted events are in a conversation's stream."""

from __future__ import annotations

from typing import Any

import pytest

from parlour.errors import InvalidPayload
from parlour.server.conversation_events import conversation_event


@pytest.mark.parametrize(
    ("emitted", "recorded"),
    [
        (
            {"type": "status", "data": {"description": "Searching", "done": False}},
            (
                "status",
                {
                    "description": "Searching",
                    "done": False,
                    "message_id": "m1",
                    "text": "Searching",
                },
            ),
        ),
        (
            {"type": "message", "data": {"content": "a"}},
            ("message:delta", {"id": "m1", "text": "a"}),
        ),
        (
            {"type": "chat:message:delta", "data": {"content": "a"}},
            ("message:delta", {"id": "m1", "text": "a"}),
        ),
        (
            {"type": "replace", "data": {"content": "all"}},
            ("message:replace", {"id": "m1", "content": "all"}),
        ),
        (
            {"type": "files", "data": {"files": [{"id": "f"}]}},
            ("files", {"message_id": "m1", "files": [{"id": "f"}]}),
        ),
        (
            {"type": "citation", "data": {"name": "A book"}},
            ("source", {"message_id": "m1", "source": {"name": "A book"}}),
        ),
        ({"type": "own", "data": {"x": 1}}, ("own", {"x": 1, "message_id": "m1"})),
        ({"type": "own", "data": 7}, ("own", {"value": 7, "message_id": "m1"})),
    ],
)
def test_each_type_has_its_form(emitted: Any, recorded: Any) -> None:
    assert conversation_event(emitted, "m1") == recorded


@pytest.mark.parametrize(
    "emitted",
    [
        {},
        {"type": 3},
        {"type": "message", "data": {}},
        {"type": "replace", "data": {"content": 3}},
        {"type": "files", "data": {"files": "f"}},
    ],
)
def test_an_event_without_its_fields_is_refused(emitted: Any) -> None:
    with pytest.raises(InvalidPayload):
        conversation_event(emitted, "m1")
