"""`subscribe` and `unsubscribe`: following a stream by position."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parlour.core.access import Kind, parse_room
from parlour.errors import InvalidPayload, TooLarge
from parlour.server.connections import Caller
from parlour.server.router import Routes
from parlour.wire.events import Subscribe, Unsubscribe

if TYPE_CHECKING:
    from parlour.server.node import Node

routes = Routes()


@routes.command("subscribe", Subscribe, http=False)
async def subscribe(node: Node, caller: Caller, payload: Subscribe) -> dict[str, Any]:
    """Follow a stream; in a conversation this also opens the session's chat there, so the app greets or resumes."""
    connection = caller.connection
    if connection is None:
        raise InvalidPayload("Only a connection can subscribe.")
    followed = sum(not room.startswith("channel:") for room in connection.rooms)
    if followed >= node.settings.streams_per_connection:
        raise TooLarge("This connection follows too many streams.")
    parsed = parse_room(payload.stream)
    if parsed is not None and parsed[0] is Kind.THREAD:
        await node.permissions.require_read(caller.user, payload.stream)
        await node.chats.open(caller, parsed[1])
    position = payload.position.to_core() if payload.position else None
    answer = await node.recovery.subscribe(
        caller, connection, payload.stream, position, payload.limit
    )
    node.presence.greet(connection, payload.stream)
    return answer


@routes.command("unsubscribe", Unsubscribe, http=False)
async def unsubscribe(node: Node, caller: Caller, payload: Unsubscribe) -> dict[str, Any]:
    """Stop following a stream; nothing where it was not followed. A member stays in a channel's room."""
    connection = caller.connection
    if connection is None or payload.stream not in connection.rooms:
        return {}
    belongs = await node.channels.belongs(caller.user, payload.stream)
    if payload.stream in connection.rooms:
        node.recovery.unsubscribe(connection, payload.stream)
        if belongs:
            node.rooms.enter(connection, payload.stream)
    return {}
