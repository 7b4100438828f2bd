"""The agents' part of a node, put together from what the settings say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from parlour.agents.handlers import arrive, routes
from parlour.agents.kinds import AGENTS, MODELS
from parlour.agents.ports import Model, Registry, Runtime
from parlour.agents.runtime import LocalRuntime
from parlour.agents.service import Agents
from parlour.agents.transcript import Transcript
from parlour.errors import NotFound

if TYPE_CHECKING:
    from parlour.server.node import Node


class Models:
    """What the app registered, and the services of the settings."""

    def __init__(self, registered: Mapping[str, Model], configured: Registry | None) -> None:
        self._registered = registered
        self._configured = configured

    def service(self, name: str) -> Model:
        if name in self._registered:
            return self._registered[name]
        if self._configured is None:
            raise NotFound(f"There is no model service {name!r}.")
        return self._configured.service(name)

    def names(self) -> list[str]:
        """Every name that `service` knows."""
        configured = getattr(self._configured, "names", list)
        return sorted({*self._registered, *configured()})


def make_agents(node: Node) -> Agents:
    """For `run_node(parts=…)`."""
    folder = node.settings.data_folder / "workspaces"

    def runtime(session_id: str) -> Runtime:
        return LocalRuntime(session_id, folder)

    models = {name: make(node.settings) for name, make in MODELS.items()}
    agents = Agents(
        node,
        llm_registry=Models(models, None),
        runtimes=runtime,
        memory=Transcript(),
        tables=[routes],
    )
    agents.agents.update(AGENTS)
    node.gateway.arrivals.append(lambda connection: arrive(node, connection))
    return agents
