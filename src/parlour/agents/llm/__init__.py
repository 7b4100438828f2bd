"""Language models: a registry of named services, and the kinds of models behind them."""

from typing import TYPE_CHECKING, Any

from parlour.agents.llm.registry import LLMRegistry
from parlour.agents.llm.scripted import ScriptedModel, Step, load_script
from parlour.agents.llm.usage import ModelInUse, Prices

if TYPE_CHECKING:
    from parlour.agents.llm.endpoint import EndpointModel

__all__ = [
    "EndpointModel",
    "LLMRegistry",
    "ModelInUse",
    "Prices",
    "ScriptedModel",
    "Step",
    "load_script",
]


def __getattr__(name: str) -> Any:
    """`EndpointModel` brings the SDK with it, which takes a second to import: for those who use it."""
    if name != "EndpointModel":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from parlour.agents.llm.endpoint import EndpointModel

    return EndpointModel
