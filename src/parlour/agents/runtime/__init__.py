"""Runtimes: where an agent's commands run and its files are."""

from parlour.agents.runtime.limits import RuntimeLimits
from parlour.agents.runtime.local import LocalRuntime, local_runtimes

__all__ = ["LocalRuntime", "RuntimeLimits", "local_runtimes"]
