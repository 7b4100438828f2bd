"""`subscribe` and `unsubscribe`: following a stream by position."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parlour.core.access import Kind, parse_room
from parlour.errors import Forbidden, InvalidPayload, NotFound, TooLarge
from parlour.server.connections import Caller, Connection
from parlour.server.router import Routes
from parlour.wire.events import Subscribe, Unsubscribe

if TYPE_CHECKING:
    from parlour.server.node import Node

routes = Routes()


@routes.command("subscribe", Subscribe, http=False)
async def subscribe(node: Node, caller: Caller, payload: Subscribe) -> dict[str, Any]:
    """Follow a stream; in one's own conversation this also opens the session's chat there, so the app greets or
    resumes. Who is refused is told when access is given (back)."""
    connection = caller.connection
    if connection is None:
        raise InvalidPayload("Only a connection can subscribe.")
    followed = sum(not room.startswith("channel:") for room in connection.rooms)
    if followed >= node.settings.streams_per_connection:
        raise TooLarge("This connection follows too many streams.")
    try:
        return await _join(node, caller, connection, payload)
    except (Forbidden, NotFound):
        if not node.knocks.wait(connection, payload.stream):
            raise
    # Whoever gave access at this very moment has not seen this connection wait.
    return await _join(node, caller, connection, payload)


async def _join(
    node: Node, caller: Caller, connection: Connection, payload: Subscribe
) -> dict[str, Any]:
    parsed = parse_room(payload.stream)
    conversation = parsed is not None and parsed[0] is Kind.THREAD
    if parsed is not None and conversation:
        await node.chats.attend(caller, parsed[1])
    position = payload.position.to_core() if payload.position else None
    answer = await node.recovery.subscribe(
        caller, connection, payload.stream, position, payload.limit
    )
    node.knocks.leave(connection, payload.stream)
    if conversation:
        node.sharing.entered(connection, payload.stream, answer["permission"])
    node.presence.greet(connection, payload.stream)
    return answer


@routes.command("unsubscribe", Unsubscribe, http=False)
async def unsubscribe(node: Node, caller: Caller, payload: Unsubscribe) -> dict[str, Any]:
    """Stop following a stream; nothing where it was not followed. A member stays in a channel's room."""
    connection = caller.connection
    if connection is not None:
        node.knocks.leave(connection, payload.stream)
    if connection is None or payload.stream not in connection.rooms:
        return {}
    belongs = await node.channels.belongs(caller.user, payload.stream)
    if payload.stream in connection.rooms:
        node.recovery.unsubscribe(connection, payload.stream)
        if belongs:
            node.rooms.enter(connection, payload.stream)
    return {}
