"""Events as blocks of messages. A block is shown whole or not at all, so a call is never without its result."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from parlour.agents.llm.tokens import count_message
from parlour.agents.ports import Json
from parlour.core.streams import Event

NO_RESULT: Final = "[There is no result: the action was interrupted.]"
REPORTED: Final = "[The report was passed on.]"
SUMMARY: Final = "[What happened before, in short]\n"
NOTE: Final = "[A note of the session] "

ENDING: Final = frozenset({"finish", "reject"})
"""Actions that nothing is observed of."""

Kind = Literal["person", "summary", "step"]
"""Somebody's words, what stands for forgotten events, or what the agent did."""

UNSAID: Final = frozenset({"comment", "change_agent_state"})

UNLIKE_RESULTS: Final = frozenset(
    {"observation:agent_state_changed", "observation:status", "observation:condensation"}
)


@dataclass(frozen=True, slots=True)
class Block:
    """Messages that stand together. `first` and `last` are the numbers of their events."""

    messages: tuple[Json, ...]
    first: int
    last: int
    kind: Kind = "step"
    tokens: int = 0


def block(messages: Iterable[Json], first: int, last: int, kind: Kind = "step") -> Block:
    held = tuple(messages)
    return Block(held, first, last, kind, sum(map(count_message, held)))


def blocks_of(events: Sequence[Event]) -> list[Block]:
    """The blocks in the events' order. Of what a condensation has forgotten, the first words of a person stay,
    and its summary stands for the rest."""
    results = {
        cause: event
        for event in events
        if _is_result(event) and (cause := _cause(event)) is not None
    }
    found: list[Block] = []
    for event in events:
        if event.type == "observation:condensation":
            found = _condensed(found, event)
        elif (made := _block(event, results)) is not None:
            found.append(made)
    return found


def shortened(one: Block, limit: int) -> Block:
    """The block with each of its texts cut to `limit` characters, beginning and end."""
    if all(_longest(message) <= limit for message in one.messages):
        return one
    messages = [_shortened(message, limit) for message in one.messages]
    return block(messages, one.first, one.last, one.kind)


# -- one event -------------------------------------------------------------------------------------


def _block(event: Event, results: Mapping[int, Event]) -> Block | None:
    name = event.type.partition(":")[2]
    args = event.data.get("args") or {}
    at = event.offset
    if event.type == "action:message":
        person = event.source.startswith("user:")
        role = "user" if person else "assistant"
        said = {"role": role, "content": str(args.get("content", ""))}
        return block([said], at, at, "person" if person else "step")
    if event.type.startswith("action:"):
        return None if name in UNSAID else _call(event, name, args, results.get(at))
    if name == "error" and _cause(event) is None:
        return block([{"role": "user", "content": NOTE + _observed(event)}], at, at)
    return None


def _call(event: Event, name: str, args: Json, result: Event | None) -> Block:
    tool = event.data.get("tool") or {}
    arguments = tool.get("arguments", args)
    call_id = str(tool.get("id") or f"event-{event.offset}")
    function = {
        "name": str(tool.get("name") or name),
        "arguments": json.dumps(arguments, ensure_ascii=False),
    }
    thought = str(args.get("thought") or "") if "thought" not in arguments else ""
    said = {
        "role": "assistant",
        "content": thought or None,
        "tool_calls": [{"id": call_id, "type": "function", "function": function}],
    }
    heard = {"role": "tool", "tool_call_id": call_id, "content": _result(name, result)}
    return block([said, heard], event.offset, event.offset if result is None else result.offset)


def _result(name: str, result: Event | None) -> str:
    if result is not None:
        return _observed(result)
    return REPORTED if name in ENDING else NO_RESULT


def _observed(event: Event) -> str:
    """What a model reads of an observation."""
    name = event.type.partition(":")[2]
    extras: Mapping[str, Any] = event.data.get("extras") or {}
    content = str(event.data.get("content") or "")
    if name in ("run", "run_ipython"):
        return f"{content}{'' if content.endswith(chr(10)) or not content else chr(10)}{_ending(extras)}"
    if name == "edit":
        return str(extras.get("diff") or "") or content or "[The file was edited.]"
    if name == "error":
        return f"[Error] {content}"
    if name == "user_rejected":
        return f"[A person refused this.] {content}".strip()
    return content or f"[{event.data.get('message') or 'Done'}]"


def _ending(extras: Mapping[str, Any]) -> str:
    if extras.get("interrupted"):
        return "[It was interrupted.]"
    if extras.get("timed_out"):
        return "[It did not end in time and was ended.]"
    return f"[exit code {extras.get('exit_code')}]"


def _cause(event: Event) -> int | None:
    cause = event.cause or ""
    return int(cause) if cause.isdigit() else None


def _is_result(event: Event) -> bool:
    return event.type.startswith("observation:") and event.type not in UNLIKE_RESULTS


# -- condensations ---------------------------------------------------------------------------------


def _condensed(found: list[Block], event: Event) -> list[Block]:
    through = int((event.data.get("extras") or {}).get("through", 0))
    first = next((one for one in found if one.kind == "person"), None)
    begin = [] if first is None else [first]
    kept = [one for one in found if one.last > through and one is not first]
    words = SUMMARY + str(event.data.get("content") or "")
    summary = block([{"role": "user", "content": words}], event.offset, event.offset, "summary")
    return [*begin, summary, *kept]


# -- long texts ------------------------------------------------------------------------------------


def _longest(message: Json) -> int:
    calls = message.get("tool_calls") or ()
    return max(
        [len(message.get("content") or ""), *(len(call["function"]["arguments"]) for call in calls)]
    )


def _shortened(message: Json, limit: int) -> Json:
    changed = {**message}
    if message.get("content"):
        changed["content"] = _cut(message["content"], limit)
    if message.get("tool_calls"):
        changed["tool_calls"] = [
            {**call, "function": _shortened_call(call["function"], limit)}
            for call in message["tool_calls"]
        ]
    return changed


def _shortened_call(function: Json, limit: int) -> Json:
    """The arguments stay an object; what is cut are its texts."""
    if len(function["arguments"]) <= limit:
        return function
    arguments = {
        name: _cut(value if isinstance(value, str) else json.dumps(value), limit)
        for name, value in json.loads(function["arguments"]).items()
    }
    return {**function, "arguments": json.dumps(arguments, ensure_ascii=False)}


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters are left out …]\n{text[-half:]}"
