"""The agents' part of a node, put together from what the settings say."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from parlour.agents.files import file_store_of
from parlour.agents.handlers import arrive, routes
from parlour.agents.kinds import AGENTS, MODELS, FunctionAgent
from parlour.agents.llm import LLMRegistry
from parlour.agents.memory import ConversationMemory
from parlour.agents.runtime.local import local_runtimes
from parlour.agents.service import Agents

if TYPE_CHECKING:
    from parlour.server.node import Node


def make_agents(node: Node) -> Agents:
    """For `run_node(parts=…)`. Raises `SettingsError` for a model service that cannot be made."""
    registry = LLMRegistry.from_settings(node.settings)
    for name, make in MODELS.items():
        registry.add(name, partial(make, node.settings))
    agents = Agents(
        node,
        llm_registry=registry,
        runtimes=local_runtimes(node.settings),
        memory=ConversationMemory(),
        file_store=file_store_of(node.settings),
        tables=[routes],
    )
    agents.agents.update(AGENTS)
    own = getattr(node.app, "agents", {})
    agents.agents.update({name: FunctionAgent(function) for name, function in own.items()})
    agents.closing.append(registry.close)
    node.gateway.arrivals.append(partial(arrive, node))
    return agents
