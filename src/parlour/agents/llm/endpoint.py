"""Any endpoint that speaks OpenAI's chat API, through its official SDK: streaming, tools, usage, cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import httpx
import openai
import structlog

from parlour.agents.errors import (
    ContextTooLong,
    ModelLimited,
    ModelRefused,
    ModelUnavailable,
)
from parlour.agents.llm.retries import Retries
from parlour.agents.llm.tokens import count_message, count_tokens
from parlour.agents.llm.usage import Prices
from parlour.agents.ports import Json, ModelAnswer, TokenUsage, ToolCall
from parlour.errors import ParlourError

log = structlog.get_logger(__name__)

NO_KEY: Final = "not-needed"
"""Endpoints of one's own often take any key; the SDK insists on one."""

CONNECT_S: Final = 10.0
ANSWER_LIMIT: Final = 1_000_000
"""Characters of an answer, with the arguments of its calls; a model that goes on is cut off."""

CALLS_LIMIT: Final = 64
UNREADABLE: Final = "unreadable_arguments"
"""The argument that holds what a model wrote where it was no JSON object, so that it can be told."""

LONG_CONTEXT: Final = (
    *("context_length_exceeded", "context length", "context window", "prompt is too long"),
    *("maximum context", "too many tokens", "exceeds the limit of tokens", "input is too long"),
)
NO_QUOTA: Final = ("insufficient_quota", "billing")


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
        if chunk.usage is not None:
            self.usage = TokenUsage(
                chunk.usage.prompt_tokens or 0, chunk.usage.completion_tokens or 0
            )
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


class EndpointModel:
    """A model behind an endpoint. One connection pool, opened with the first request; `close` ends it."""

    def __init__(
        self,
        model: str,
        *,
        api_key: str = "",
        base_url: str | None = None,
        timeout_s: float = 120.0,
        prices: Prices | None = None,
        retries: Retries | None = None,
        options: Json | None = None,
    ) -> None:
        """`timeout_s`: how long it may be silent. `options` go into every request (`temperature`, …); one
        that is False is left out of it."""
        self.name = model
        self._key = api_key or NO_KEY
        self._url = base_url
        self._timeout = openai.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s))
        self._prices = prices or Prices()
        self._retries = retries or Retries()
        self._options = dict(options or {})
        self._client: openai.AsyncOpenAI | None = None

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
            return await self._ask(draft, messages, tools)

        # Words that were heard cannot be taken back: then the caller decides.
        return await self._retries.run(attempt, lambda: not draft.heard)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    # -- one request -----------------------------------------------------------------------------

    async def _ask(
        self, draft: Draft, messages: Sequence[Json], tools: Sequence[Json]
    ) -> ModelAnswer:
        try:
            stream = await self._open().chat.completions.create(
                **cast(Any, self._request(messages, tools))
            )
            async with stream:
                async for chunk in stream:
                    draft.take(chunk)
        except openai.OpenAIError as error:
            raise translated(error, self.name) from error
        except (httpx.HTTPError, ValueError) as error:
            # A connection that breaks in the middle of a stream, or a line that is no JSON.
            raise ModelUnavailable("The model's answer broke off.") from error
        return self._answer(draft, messages)

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
        return ModelAnswer(text, calls, usage, self._prices.of(usage))

    def _open(self) -> openai.AsyncOpenAI:
        if self._client is None:
            # It does not retry by itself: here it is known what was already passed on.
            self._client = openai.AsyncOpenAI(
                api_key=self._key, base_url=self._url, timeout=self._timeout, max_retries=0
            )
        return self._client


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


def translated(error: openai.OpenAIError, model: str) -> ParlourError:
    """The error of the tree, in words for people: never the key, never the endpoint's own words."""
    match error:
        case openai.RateLimitError() if _speaks_of(error, NO_QUOTA):
            return ModelRefused("The account at the model's service has nothing left to spend.")
        case openai.RateLimitError():
            return ModelLimited(
                "The model's service takes no more requests for now.",
                retry_after=_retry_after(error),
            )
        case openai.APIStatusError(status_code=413):
            return ContextTooLong()
        case openai.BadRequestError() if _speaks_of(error, LONG_CONTEXT):
            return ContextTooLong()
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return ModelRefused("The model's service refused the key.")
        case openai.NotFoundError():
            return ModelRefused(f"The model's service does not know {model!r}.")
        case openai.APITimeoutError():
            return ModelUnavailable("The model did not answer in time.")
        case openai.APIConnectionError():
            return ModelUnavailable("The model's service cannot be reached.")
        case openai.APIStatusError(status_code=status) if status in (408, 409) or status >= 500:
            return ModelUnavailable(
                f"The model's service answered with status {status}.", status=status
            )
        case openai.APIStatusError(status_code=status):
            log.warning("a model's service refused a request", model=model, status=status)
            return ModelRefused(
                f"The model's service refused the request (status {status}).", status=status
            )
    if _speaks_of(error, LONG_CONTEXT):
        return ContextTooLong()
    return ModelUnavailable("The model's answer broke off.")


def _speaks_of(error: openai.OpenAIError, words: Sequence[str]) -> bool:
    said = f"{getattr(error, 'code', '')} {getattr(error, 'type', '')} {error}".lower()
    return any(word in said for word in words)


def _retry_after(error: openai.APIStatusError) -> float | None:
    """Seconds, from either header; a date is not worth reading."""
    headers = error.response.headers
    for name, scale in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = float(headers[name]) / scale
        except (KeyError, ValueError):
            continue
        if 0 <= seconds < 86_400:
            return seconds
    return None
