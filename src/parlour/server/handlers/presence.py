"""`typing`: signals about a person in a room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parlour.errors import Forbidden
from parlour.server.connections import Caller
from parlour.server.router import Routes
from parlour.wire.events import Typing
from parlour.wire.told import TYPING, SomebodyTypes

if TYPE_CHECKING:
    from parlour.server.node import Node

routes = Routes()


@routes.signal("typing", Typing)
def typing(node: Node, caller: Caller, payload: Typing) -> dict[str, Any]:
    """Tell the others in the room, at most every two seconds. Who follows a room may say so there."""
    connection = caller.connection
    if connection is None or payload.room not in connection.rooms:
        raise Forbidden("This connection is not in the room.")
    if node.sharing.only_reads(connection, payload.room):
        raise Forbidden("You may only read here.")
    author = caller.user.author()

    def told(typing: bool) -> SomebodyTypes:
        return {"room": payload.room, "user": author, "typing": typing}

    node.typing.say(caller, payload.room, TYPING.name, told, typing=payload.typing)
    return {}
