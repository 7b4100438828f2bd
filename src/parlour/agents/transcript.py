"""A session's events as a conversation in the form of OpenAI's chat API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from parlour.agents.ports import Json
from parlour.core.streams import Event

LETTERS_PER_TOKEN: Final = 4
"""A rough measure that errs on the side of fewer words."""

NO_RESULT: Final = "(There is no result.)"


class Transcript:
    """`Memory` that shows the first message and as much of the end as fits."""

    def view(self, events: Sequence[Event], budget: int) -> Sequence[Json]:
        turns = _turns(events)
        if not turns:
            return []
        first, rest = turns[0], turns[1:]
        left = budget * LETTERS_PER_TOKEN - _size(first)
        kept: list[list[Json]] = []
        for turn in reversed(rest):
            left -= _size(turn)
            if left < 0 and kept:
                break
            kept.append(turn)
        return [message for turn in (first, *reversed(kept)) for message in turn]


def _turns(events: Sequence[Event]) -> list[list[Json]]:
    """Messages in groups that belong together: a call and its result."""
    results = {event.cause: event for event in events if event.type.startswith("observation:")}
    turns: list[list[Json]] = []
    for event in events:
        name = event.type.partition(":")[2]
        if event.type == "action:message":
            role = "user" if event.source.startswith("user:") else "assistant"
            turns.append([{"role": role, "content": str(event.data["args"]["content"])}])
        elif event.type.startswith("action:"):
            turns.append(_call(event, name, results.get(str(event.offset))))
    return turns


def _call(event: Event, name: str, result: Event | None) -> list[Json]:
    args: dict[str, Any] = dict(event.data.get("args") or {})
    tool = event.data.get("tool") or {
        "id": f"event-{event.offset}",
        "name": name,
        "arguments": args,
    }
    function = {"name": tool["name"], "arguments": orjson.dumps(tool["arguments"]).decode()}
    said: Json = {
        "role": "assistant",
        "content": str(args.get("thought") or ""),
        "tool_calls": [{"id": tool["id"], "type": "function", "function": function}],
    }
    answer = NO_RESULT if result is None else _told(result)
    return [said, {"role": "tool", "tool_call_id": tool["id"], "content": answer}]


def _told(result: Event) -> str:
    extras = result.data.get("extras") or {}
    content = str(result.data.get("content") or result.data.get("message") or "")
    if "exit_code" in extras:
        return f"{content}\n[exit code {extras['exit_code']}]".lstrip()
    return content or NO_RESULT


def _size(turn: Sequence[Json]) -> int:
    return sum(len(orjson.dumps(message)) for message in turn)
