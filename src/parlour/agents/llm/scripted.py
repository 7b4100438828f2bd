"""A model that says what a script tells it to: for demonstrations, tests and replays; no key, no network.

A script is a list of steps, in Python or as a JSON file:

    [{"text": "I look around.", "tool_calls": [{"name": "run", "arguments": {"command": "ls"}}]},
     {"when": "FAILED", "text": "It fails, as it should.", "tool_calls": […], "otherwise": {"text": "Strange."}},
     {"error": "limited", "retry_after": 2},
     {"text": "Done."}]

Which step is next is read from the conversation: calls carry their step's number in their id, and answers
in words alone count on from there. So it goes on where it was after a restart, on another node, and in a
fork, and two sessions never disturb each other. A step that fails (`error`) fails each time the model is asked
for it, unless `times` says how often.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from parlour.agents.errors import (
    ContextTooLong,
    ModelLimited,
    ModelRefused,
    ModelUnavailable,
)
from parlour.agents.llm.tokens import count_message, count_tokens
from parlour.agents.llm.usage import Prices
from parlour.agents.ports import Json, ModelAnswer, TokenUsage, ToolCall
from parlour.errors import ParlourError, SettingsError

ENDED: Final = "That is all that my script says."

_ID = re.compile(r"step-(\d+)-\d+\Z")
_TOKEN = re.compile(r"\s*\S{1,6}|\s+\Z")
_ERRORS: Final = ("limited", "unavailable", "too_long", "refused")
_FIELDS: Final = frozenset(
    {"text", "tool_calls", "when", "otherwise", "error", "retry_after", "times"}
)


@dataclass(frozen=True, slots=True)
class Step:
    """One answer. `when` is a pattern that the last message must contain, else `otherwise` is the answer."""

    text: str = ""
    calls: Sequence[tuple[str, Json]] = ()
    when: str = ""
    otherwise: Step | None = None
    error: str = ""
    retry_after: float | None = None
    times: int = 0

    @classmethod
    def parse(cls, data: Any) -> Step:
        """Raises ValueError with what is wrong."""
        if not isinstance(data, Mapping):
            raise ValueError("a step is an object")
        unknown = set(data) - _FIELDS
        if unknown:
            raise ValueError(f"a step has no field {min(unknown)!r}")
        if data.get("error", "") not in ("", *_ERRORS):
            raise ValueError(f"an error is one of {', '.join(_ERRORS)}")
        otherwise = data.get("otherwise")
        return cls(
            text=str(data.get("text", "")),
            calls=tuple(_parse_call(call) for call in data.get("tool_calls", ())),
            when=_parse_pattern(data.get("when", "")),
            otherwise=None if otherwise is None else cls.parse(otherwise),
            error=data.get("error", ""),
            retry_after=data.get("retry_after"),
            times=int(data.get("times", 0)),
        )

    def chosen(self, messages: Sequence[Json]) -> Step:
        """This step, or the one for when things went another way."""
        last = str(messages[-1].get("content") or "") if messages else ""
        if self.when and self.otherwise is not None and not re.search(self.when, last):
            return self.otherwise.chosen(messages)
        return self


def _parse_call(call: Any) -> tuple[str, Json]:
    if not isinstance(call, Mapping) or not isinstance(call.get("name"), str):
        raise ValueError("a tool call has a name and arguments")
    arguments = call.get("arguments", {})
    if not isinstance(arguments, Mapping):
        raise ValueError("the arguments of a tool call are an object")
    return call["name"], arguments


def _parse_pattern(pattern: Any) -> str:
    try:
        re.compile(str(pattern))
    except re.error as error:
        raise ValueError(f"when is not a pattern ({error})") from None
    return str(pattern)


def load_script(path: Path) -> list[Step]:
    """The steps of a file. Raises `SettingsError` with what is wrong where."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(
            [f"the script {path} cannot be read ({error}): correct the file."]
        ) from None
    if not isinstance(data, list):
        raise SettingsError([f"the script {path} must be a list of steps."])
    steps, problems = [], []
    for number, step in enumerate(data):
        try:
            steps.append(Step.parse(step))
        except (ValueError, TypeError) as error:
            problems.append(f"the script {path}, step {number}: {error}.")
    if problems:
        raise SettingsError(problems)
    return steps


@dataclass(slots=True)
class ScriptedModel:
    """Says its steps, token by token; `rest` is awaited before each token."""

    steps: Sequence[Step]
    prices: Prices = field(default_factory=Prices)
    tokens_per_second: float = 0.0
    context_tokens: int = 0
    sleep: Callable[[float], Any] = asyncio.sleep
    _failed: dict[int, int] = field(default_factory=dict)

    async def complete(
        self,
        messages: Sequence[Json],
        tools: Sequence[Json] = (),
        *,
        on_delta: Callable[[str], None] | None = None,
    ) -> ModelAnswer:
        prompt = sum(map(count_message, messages))
        if 0 < self.context_tokens < prompt:
            raise ContextTooLong()
        number = next_step(messages)
        step = self.steps[number] if number < len(self.steps) else Step(ENDED)
        step = step.chosen(messages)
        self._fail(number, step)
        await self._speak(step.text, on_delta)
        calls = tuple(
            ToolCall(f"step-{number}-{place}", name, arguments)
            for place, (name, arguments) in enumerate(step.calls)
        )
        usage = TokenUsage(
            prompt, count_tokens(step.text + json.dumps([list(c) for c in step.calls]))
        )
        return ModelAnswer(step.text, calls, usage, self.prices.of(usage))

    def _fail(self, number: int, step: Step) -> None:
        if not step.error:
            return
        failed = self._failed.get(number, 0)
        if step.times and failed >= step.times:
            return
        self._failed[number] = failed + 1
        raise _error(step)

    async def _speak(self, text: str, on_delta: Callable[[str], None] | None) -> None:
        for token in tokenise(text):
            await self.sleep(1 / self.tokens_per_second if self.tokens_per_second else 0)
            if on_delta is not None:
                on_delta(token)


def next_step(messages: Sequence[Json]) -> int:
    """The number of the step that answers this conversation."""
    number = 0
    for message in messages:
        if message.get("role") != "assistant":
            continue
        told = [
            int(found[1])
            for call in message.get("tool_calls") or ()
            if (found := _ID.match(str(call.get("id", ""))))
        ]
        number = max(told) + 1 if told else number + 1
    return number


def tokenise(text: str) -> Iterator[str]:
    """Pieces of a few letters; joined again they are the text."""
    end = 0
    for match in _TOKEN.finditer(text):
        end = match.end()
        yield match[0]
    if end < len(text):
        yield text[end:]


def _error(step: Step) -> ParlourError:
    match step.error:
        case "limited":
            return ModelLimited(retry_after=step.retry_after)
        case "too_long":
            return ContextTooLong()
        case "refused":
            return ModelRefused()
    return ModelUnavailable()
