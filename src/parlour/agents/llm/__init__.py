"""Language models: a registry of named services, and the kinds of models behind them."""

from parlour.agents.llm.endpoint import EndpointModel
from parlour.agents.llm.registry import LLMRegistry
from parlour.agents.llm.scripted import ScriptedModel, Step, load_script
from parlour.agents.llm.usage import MeteredModel, Prices, UsageCounter

__all__ = [
    "EndpointModel",
    "LLMRegistry",
    "MeteredModel",
    "Prices",
    "ScriptedModel",
    "Step",
    "UsageCounter",
    "load_script",
]
