"""Models by the names that settings give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from parlour.agents.llm.retries import Retries
from parlour.agents.llm.scripted import ScriptedModel, load_script
from parlour.agents.llm.usage import Prices
from parlour.agents.ports import Model
from parlour.errors import NotFound, SettingsError

if TYPE_CHECKING:
    from pydantic import SecretStr

    from parlour.agents.llm.endpoint import EndpointModel
    from parlour.config import Settings
    from parlour.config.services import ModelService

DEFAULT: Final = "default"


class LLMRegistry:
    """Services by name; each is made when it is first asked for, and kept."""

    def __init__(self, makers: Mapping[str, Callable[[], Model]] | None = None) -> None:
        self._makers = dict(makers or {})
        self._models: dict[str, Model] = {}

    @classmethod
    def from_settings(cls, settings: Settings) -> LLMRegistry:
        """The services of `model_services`; `default` is the endpoint of `openai_api_key` or
        `openai_base_url`, unless a service has that name. Scripts are read at once: raises `SettingsError`."""
        registry = cls()
        if settings.openai_api_key is not None or settings.openai_base_url:
            registry.add(DEFAULT, _default_maker(settings))
        for service in settings.model_services:
            registry.add(service.name, maker_of(service, settings.openai_api_key))
        return registry

    def add(self, name: str, make: Callable[[], Model]) -> None:
        """Add a service, or replace the one of this name."""
        self._makers[name] = make
        self._models.pop(name, None)

    @property
    def names(self) -> list[str]:
        return sorted(self._makers)

    def service(self, name: str) -> Model:
        """Raises `NotFound` with the names that there are."""
        make = self._makers.get(name)
        if make is None:
            known = ", ".join(self.names) or "none; name some with the setting model_services"
            raise NotFound(f"There is no model service {name!r}. Configured: {known}.")
        if name not in self._models:
            self._models[name] = make()
        return self._models[name]

    async def close(self) -> None:
        """End the connections. Idempotent; a service that is asked again opens new ones."""
        for model in self._models.values():
            close = getattr(model, "close", None)
            if close is not None:
                await close()


def maker_of(service: ModelService, key: SecretStr | None = None) -> Callable[[], Model]:
    """How a configured service is made. `key` is for one that names neither a key nor an endpoint."""
    prices = Prices(service.price_prompt, service.price_completion)
    if service.kind == "scripted":
        assert service.script is not None
        steps = load_script(service.script)
        return lambda: ScriptedModel(
            steps, prices, service.tokens_per_second, service.context_tokens
        )
    # The key of the settings is one for OpenAI's endpoint.
    elsewhere = service.base_url or service.kind == "litellm"
    own = service.api_key or (None if elsewhere else key)
    given = {"temperature": service.temperature, "max_tokens": service.max_tokens}
    kind: Callable[..., Model] = (
        _litellm_model(service.name) if service.kind == "litellm" else _endpoint_model()
    )
    return partial(
        kind,
        service.model,
        api_key=own.get_secret_value() if own else "",
        base_url=service.base_url,
        timeout_s=service.timeout_seconds,
        prices=prices,
        retries=Retries(service.retries),
        options={**{k: v for k, v in given.items() if v is not None}, **service.options},
    )


def _default_maker(settings: Settings) -> Callable[[], Model]:
    key = settings.openai_api_key
    return partial(
        _endpoint_model(),
        settings.openai_model,
        api_key=key.get_secret_value() if key else "",
        base_url=settings.openai_base_url or None,
    )


def _endpoint_model() -> Callable[..., EndpointModel]:
    """Imported by whoever configures an endpoint, and while the node starts: the SDK takes a second."""
    from parlour.agents.llm.endpoint import EndpointModel

    return EndpointModel


def _litellm_model(service: str) -> Callable[..., Model]:
    try:
        from parlour.agents.llm.litellm_model import LiteLLMModel
    except ModuleNotFoundError as error:
        if error.name != "litellm":
            raise
        raise SettingsError(
            [f"The model service {service!r} needs LiteLLM: pip install 'parlour[litellm]'."]
        ) from None
    return LiteLLMModel
