"""Services of the model registry: which model an agent asks, where it is and what it costs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)

_URL: Final = re.compile(r"https?://[^\s?#@]+\Z")


class ModelService(BaseModel):
    """One service. `kind` `openai` is any endpoint that speaks OpenAI's API; `litellm` any provider that LiteLLM knows,
    by its name there (`pip install parlour[litellm]`); `scripted` says what a JSON file (`script`) tells it to.
    `options` go into every request as they are; one that is false takes away what would be sent otherwise
    (`stream_options`). Prices are in US dollars per million tokens; without them those that LiteLLM knows hold for its
    models."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    kind: Literal["openai", "litellm", "scripted"] = "openai"
    model: str = ""
    base_url: str | None = None
    api_key: SecretStr | None = None
    script: Path | None = None
    tokens_per_second: float = Field(default=0.0, ge=0)
    context_tokens: int = Field(default=0, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    timeout_seconds: float = Field(default=120.0, gt=0, le=3600)
    retries: int = Field(default=2, ge=0, le=10)
    options: dict[str, Any] = Field(default_factory=dict)
    price_prompt: float = Field(default=0.0, ge=0)
    price_completion: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _whole(self) -> ModelService:
        if self.kind != "scripted" and not self.model:
            raise ValueError(
                f"the service {self.name!r} needs model, the name that its endpoint knows"
            )
        if self.kind == "scripted" and self.script is None:
            raise ValueError(f"the service {self.name!r} needs script, a JSON file of steps")
        if self.base_url is not None and not _URL.match(self.base_url):
            raise ValueError(f"the base_url of {self.name!r} is not of the form https://host/path")
        return self


def _decode(value: Any) -> Any:
    """Environment variables hold the list as JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value or "[]")
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON ({error.msg} at character {error.pos})") from None


def _different(services: tuple[ModelService, ...]) -> tuple[ModelService, ...]:
    names = [service.name for service in services]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two services have the name {name!r}")
    return services


ModelServices = Annotated[
    tuple[ModelService, ...], BeforeValidator(_decode), AfterValidator(_different)
]
