"""Paths of a file store, the same for each of them."""

from __future__ import annotations

from parlour.agents.errors import WorkspaceEscape
from parlour.agents.runtime.workspace import parts_of


def normal_path(path: str) -> str:
    """The path without empty parts. Raises `WorkspaceEscape`, `InvalidPayload`."""
    return "/".join(parts_of(path))


def check_prefix(prefix: str) -> None:
    """Raises `WorkspaceEscape` for one that leads out of the store."""
    if prefix.startswith("/") or ".." in prefix.split("/"):
        raise WorkspaceEscape(f"{prefix!r:.200} leads out of the store.")
