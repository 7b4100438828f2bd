"""The connection's own affairs: heartbeat, a fresh token, the end of the session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parlour.errors import Forbidden
from parlour.server.connections import Caller
from parlour.server.router import Routes
from parlour.wire.events import Heartbeat, SessionEnd, UserJoin
from parlour.wire.times import rfc3339

if TYPE_CHECKING:
    from parlour.server.node import Node

routes = Routes()


@routes.signal("heartbeat", Heartbeat)
def heartbeat(node: Node, caller: Caller, payload: Heartbeat) -> dict[str, Any]:
    """The person is there. Writes are throttled and happen elsewhere."""
    now = node.clock.now_ms()
    node.activity.touch(caller, now)
    if caller.connection is not None:
        node.presence.active(caller.connection, payload.active)
    return {"at": rfc3339(now)}


@routes.command("user-join", UserJoin, http=False)
async def user_join(node: Node, caller: Caller, payload: UserJoin) -> dict[str, Any]:
    """Re-authenticate with a fresh token of the same user."""
    identity = await node.accounts.verify(payload.auth.token)
    if identity.user.id != caller.user.id:
        raise Forbidden("This connection belongs to another user.")
    if caller.connection is not None:
        node.gateway.reauthenticate(caller.connection, identity)
    return {"id": identity.user.id, "name": identity.user.name}


@routes.command("session:end", SessionEnd, http=False)
async def end(node: Node, caller: Caller, payload: SessionEnd) -> dict[str, Any]:
    """End the session for good, as its time limit would."""
    connection = caller.connection
    ended = await node.chats.end(connection.session) if connection is not None else False
    return {"ended": ended}
