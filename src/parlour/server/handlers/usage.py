"""`usage`: a session says which model it uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from parlour.server.connections import Caller
from parlour.server.router import Routes
from parlour.wire.events import UsageOfModel

if TYPE_CHECKING:
    from parlour.server.node import Node

RELEASE: Final = "release"

routes = Routes()


@routes.signal("usage", UsageOfModel)
def usage(node: Node, caller: Caller, payload: UsageOfModel) -> dict[str, Any]:
    """A signal, so that it counts at once, whatever else this connection waits for."""
    session_id = caller.session_id
    if session_id is not None and payload.action == RELEASE:
        node.usage.release(payload.model, session_id)
    elif session_id is not None:
        node.usage.renew(payload.model, session_id)
    return {}
