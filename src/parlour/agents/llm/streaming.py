"""An answer that comes in chunks of OpenAI's chat API, whoever sends them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

from parlour.agents.errors import ModelRefused, ModelUnavailable
from parlour.agents.llm.retries import Retries
from parlour.agents.llm.tokens import count_message, count_tokens
from parlour.agents.llm.usage import Prices
from parlour.agents.ports import Json, ModelAnswer, TokenUsage, ToolCall

ANSWER_LIMIT: Final = 1_000_000
"""Characters of an answer, with the arguments of its calls; a model that goes on is cut off."""

CALLS_LIMIT: Final = 64
UNREADABLE: Final = "unreadable_arguments"
"""The argument that holds what a model wrote where it was no JSON object, so that it can be told."""


@dataclass(slots=True)
class Growing:
    """A call whose arguments are still coming."""

    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class Draft:
    """An answer that grows with each chunk."""

    on_delta: Callable[[str], None] | None
    text: list[str] = field(default_factory=list)
    calls: dict[int, Growing] = field(default_factory=dict)
    usage: TokenUsage | None = None
    finish: str | None = None
    size: int = 0
    heard: bool = False

    def take(self, chunk: Any) -> None:
        """Raises `ModelRefused` where the answer is past every bound."""
        # Not every kind of chunk has the field.
        used = getattr(chunk, "usage", None)
        if used is not None:
            self.usage = TokenUsage(used.prompt_tokens or 0, used.completion_tokens or 0)
        for choice in chunk.choices[:1]:
            self.finish = choice.finish_reason or self.finish
            self._say(choice.delta.content or getattr(choice.delta, "refusal", None) or "")
            for piece in choice.delta.tool_calls or ():
                self._call(piece)
        if self.size > ANSWER_LIMIT or len(self.calls) > CALLS_LIMIT:
            raise ModelRefused("The model's answer does not end.")

    def _say(self, text: str) -> None:
        if text:
            self.size += len(text)
            self.heard = True
            self.text.append(text)
            if self.on_delta is not None:
                self.on_delta(text)

    def _call(self, piece: Any) -> None:
        growing = self.calls.setdefault(piece.index or 0, Growing())
        growing.id = piece.id or growing.id
        if piece.function is not None:
            # Some endpoints repeat the name with every piece.
            growing.name = growing.name or piece.function.name or ""
            growing.arguments += piece.function.arguments or ""
            self.size += len(piece.function.arguments or "")

    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(
            ToolCall(one.id or f"call-{index}", one.name, decode_arguments(one.arguments))
            for index, one in sorted(self.calls.items())
        )


class StreamedModel:
    """A model whose service sends chunks. How they are asked for is what its kinds differ in (`chunks`)."""

    def __init__(
        self,
        model: str,
        *,
        prices: Prices | None = None,
        retries: Retries | None = None,
        options: Json | None = None,
    ) -> None:
        """`options` go into every request (`temperature`, …); one that is False is left out of it."""
        self.name = model
        self._prices = prices or Prices()
        self._retries = retries or Retries()
        self._options = dict(options or {})

    def chunks(self, request: dict[str, Any]) -> AsyncGenerator[Any]:
        """Send one request. Raises errors of the tree only (`Model.complete` names them)."""
        raise NotImplementedError

    async def close(self) -> None:
        """End the connections. Idempotent."""

    async def complete(
        self,
        messages: Sequence[Json],
        tools: Sequence[Json] = (),
        *,
        on_delta: Callable[[str], None] | None = None,
    ) -> ModelAnswer:
        draft = Draft(on_delta)

        async def attempt() -> ModelAnswer:
            nonlocal draft
            draft = Draft(on_delta)
            async with aclosing(self.chunks(self._request(messages, tools))) as chunks:
                async for chunk in chunks:
                    draft.take(chunk)
            return self._answer(draft, messages)

        # Words that were heard cannot be taken back: then the caller decides.
        return await self._retries.run(attempt, lambda: not draft.heard)

    def cost_of(self, usage: TokenUsage) -> float:
        """US dollars."""
        return self._prices.of(usage)

    def _request(self, messages: Sequence[Json], tools: Sequence[Json]) -> dict[str, Any]:
        wanted = {"stream_options": {"include_usage": True}, **self._options}
        request: dict[str, Any] = {
            **{name: value for name, value in wanted.items() if value is not False},
            "model": self.name,
            "messages": [dict(message) for message in messages],
            "stream": True,
        }
        if tools:
            request["tools"] = [dict(tool) for tool in tools]
        return request

    def _answer(self, draft: Draft, messages: Sequence[Json]) -> ModelAnswer:
        if draft.finish is None:
            raise ModelUnavailable("The model's answer broke off.")
        if draft.finish == "content_filter":
            raise ModelRefused("The model's service stopped the answer for its content.")
        calls = draft.tool_calls()
        text = "".join(draft.text)
        usage = draft.usage or _estimated(messages, draft)
        return ModelAnswer(text, calls, usage, self.cost_of(usage))


def decode_arguments(text: str) -> Json:
    """An object in any case: what is none is handed on under `UNREADABLE`, and fails where it is checked."""
    try:
        arguments = json.loads(text or "{}")
    except ValueError:
        arguments = text
    return arguments if isinstance(arguments, dict) else {UNREADABLE: str(arguments)[:2_000]}


def _estimated(messages: Sequence[Json], draft: Draft) -> TokenUsage:
    """For endpoints that do not count."""
    said = "".join(draft.text) + "".join(one.name + one.arguments for one in draft.calls.values())
    return TokenUsage(sum(map(count_message, messages)), count_tokens(said))
