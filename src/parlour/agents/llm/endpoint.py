"""Any endpoint that speaks OpenAI's chat API, through its official SDK: streaming, tools, usage, cost."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
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
from parlour.agents.llm.streaming import StreamedModel
from parlour.agents.llm.usage import Prices
from parlour.agents.ports import Json
from parlour.errors import ParlourError

log = structlog.get_logger(__name__)

NO_KEY: Final = "not-needed"
"""Endpoints of one's own often take any key; the SDK insists on one."""

CONNECT_S: Final = 10.0

LONG_CONTEXT: Final = (
    *("context_length_exceeded", "context length", "context window", "prompt is too long"),
    *("maximum context", "too many tokens", "exceeds the limit of tokens", "input is too long"),
)
NO_QUOTA: Final = ("insufficient_quota", "billing")


class EndpointModel(StreamedModel):
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
        """`timeout_s`: how long it may be silent. The others: `StreamedModel`."""
        super().__init__(model, prices=prices, retries=retries, options=options)
        self._key = api_key or NO_KEY
        self._url = base_url
        self._timeout = openai.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s))
        self._client: openai.AsyncOpenAI | None = None

    async def chunks(self, request: dict[str, Any]) -> AsyncGenerator[Any]:
        try:
            stream = await self._open().chat.completions.create(**cast(Any, request))
            async with stream:
                async for chunk in stream:
                    yield chunk
        except openai.OpenAIError as error:
            raise translated(error, self.name) from error
        except (httpx.HTTPError, ValueError) as error:
            # A connection that breaks in the middle of a stream, or a line that is no JSON.
            raise ModelUnavailable("The model's answer broke off.") from error

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _open(self) -> openai.AsyncOpenAI:
        if self._client is None:
            # It does not retry by itself: here it is known what was already passed on.
            self._client = openai.AsyncOpenAI(
                api_key=self._key, base_url=self._url, timeout=self._timeout, max_retries=0
            )
        return self._client


def translated(error: openai.OpenAIError, model: str) -> ParlourError:
    """The error of the tree, in words for people: never the key, never the endpoint's own words."""
    match error:
        case openai.RateLimitError() if _speaks_of(error, NO_QUOTA):
            return ModelRefused("The account at the model's service has nothing left to spend.")
        case openai.RateLimitError():
            return ModelLimited(
                "The model's service takes no more requests for now.",
                retry_after=retry_after(error.response.headers),
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


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from either header; a date is not worth reading."""
    for name, scale in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = float(headers[name]) / scale
        except (KeyError, ValueError):
            continue
        if 0 <= seconds < 86_400:
            return seconds
    return None
