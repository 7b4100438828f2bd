"""A real model behind the demo: any endpoint that speaks OpenAI's API, through its official SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import openai

from parlour.demo.model import Turn

if TYPE_CHECKING:
    from parlour.config import Settings

TIMEOUT: Final = openai.Timeout(60.0, connect=10.0)
"""Seconds that an endpoint may be silent, and that connecting may take."""

MAX_TURNS: Final = 40
"""Newest turns that are sent along."""

NO_KEY: Final = "not-needed"
"""Endpoints of one's own often take any key; the SDK insists on one."""


class ModelFailed(Exception):
    """The endpoint did not answer; the message is for the person."""


@dataclass(frozen=True, slots=True)
class OpenAIModel:
    """A chat completion endpoint."""

    name: str
    api_key: str
    base_url: str | None = None
    system: str = "You are a helpful assistant. Answer in Markdown."

    @classmethod
    def from_settings(cls, settings: Settings, system: str) -> OpenAIModel | None:
        """The endpoint that the settings name; None where they name none."""
        key, url = settings.openai_api_key, settings.openai_base_url
        if key is None and not url:
            return None
        secret = key.get_secret_value() if key is not None else NO_KEY
        return cls(settings.openai_model, secret, url or None, system)

    @property
    def label(self) -> str:
        return self.name

    async def answer(self, turns: Sequence[Turn]) -> AsyncIterator[str]:
        """Stream the answer. Raises `ModelFailed`; what came before it stays valid."""
        try:
            async with openai.AsyncOpenAI(
                api_key=self.api_key, base_url=self.base_url, timeout=TIMEOUT, max_retries=2
            ) as client:
                stream = await client.chat.completions.create(
                    model=self.name, messages=self._messages(turns), stream=True
                )
                async with stream:
                    async for chunk in stream:
                        text = chunk.choices[0].delta.content if chunk.choices else None
                        if text:
                            yield text
        except openai.OpenAIError as error:
            raise ModelFailed(explain(error, self.name)) from error

    def _messages(self, turns: Sequence[Turn]) -> Any:
        system = {"role": "system", "content": self.system}
        return cast(Any, [system, *(dict(turn) for turn in turns[-MAX_TURNS:])])


def explain(error: Exception, model: str) -> str:
    """What a person can do about it; never the key, never the endpoint's own words."""
    match error:
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return "The model's endpoint refused the key. Check `OPENAI_API_KEY`."
        case openai.NotFoundError():
            return (
                f"The endpoint does not know the model `{model}`. Check the setting `openai_model`."
            )
        case openai.RateLimitError():
            return (
                "The model's endpoint refuses more requests for now. Wait a little and try again."
            )
        case openai.APITimeoutError():
            return "The model did not answer in time. Try again."
        case openai.APIConnectionError():
            return (
                "The model's endpoint cannot be reached. Check `OPENAI_BASE_URL` and the network."
            )
        case openai.APIStatusError():
            return f"The model's endpoint answered with status {error.status_code}."
    return "The model's answer broke off. Try again."
