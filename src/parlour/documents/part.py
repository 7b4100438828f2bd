"""Documents as a part of a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parlour.documents import handlers
from parlour.documents.manager import Documents

if TYPE_CHECKING:
    from parlour.server.node import Node


def documents(node: Node) -> Documents:
    """For `run_node(…, parts=[documents])`; found again by `node.part(Documents)`."""
    return Documents(node, (handlers.routes,))
