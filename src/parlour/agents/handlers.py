"""Commands of the socket, and what a connection hears that names its conversation when it connects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import structlog
from pydantic import Field, StringConstraints

from parlour.agents.service import Agents
from parlour.agents.stream import stream_name
from parlour.core.streams import Position
from parlour.errors import InvalidPayload, ParlourError
from parlour.server.connections import Caller, Connection
from parlour.server.router import Routes
from parlour.wire.events import ClientId, CommandId, Payload
from parlour.wire.told import ERROR, OH_EVENT

if TYPE_CHECKING:
    from parlour.server.node import Node

log = structlog.get_logger(__name__)

routes = Routes()

MISSED = 1_000_000
"""Events that a connection may have missed; they are read page by page."""


class UserAction(Payload):
    """What somebody does in an agent session: `{action, args}`. Without `conversation_id` it is the one that the
    connection named in its query."""

    conversation_id: ClientId | None = None
    action: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    args: dict[str, Any] = Field(default_factory=dict)
    command_id: CommandId | None = None


@routes.command("oh_user_action", UserAction)
async def user_action(node: Node, caller: Caller, payload: UserAction) -> dict[str, Any]:
    """Answered with the event's number once it is stored."""
    session_id = payload.conversation_id or _named(caller)
    agents = node.part(Agents)
    web = agents.session(session_id)
    event = {"action": payload.action, "args": payload.args}
    return await web.dispatch(event, caller.user, payload.command_id)


def _named(caller: Caller) -> str:
    query = caller.connection.link.handshake.query if caller.connection is not None else {}
    session_id = query.get("conversation_id")
    if not session_id:
        raise InvalidPayload("conversation_id is needed: which session?")
    return str(session_id)


def arrive(node: Node, connection: Connection) -> None:
    """A connection whose query names a conversation hears it, from `latest_event_id` + 1 on."""
    query = connection.link.handshake.query
    if query.get("conversation_id"):
        connection.working = True
        work = _follow(
            node, connection, str(query["conversation_id"]), query.get("latest_event_id")
        )
        node.tasks.spawn(work, "replay of an agent session")


async def _follow(node: Node, connection: Connection, session_id: str, latest: str | None) -> None:
    stream = stream_name(session_id)
    caller = node.caller_of(connection)
    try:
        await node.permissions.require_read(caller.user, stream)
        head = await node.log.head(stream)
        seen = _number(latest)
        # A number beyond the end is of a history that was lost: the whole of this one is told.
        start = Position(head.epoch, seen if seen <= head.offset else 0)
        answer = await node.recovery.subscribe(caller, connection, stream, start, MISSED)
        for payload in answer["events"]:
            connection.send(OH_EVENT.encode(payload))
        node.presence.greet(connection, stream)
    except ParlourError as error:
        connection.send(ERROR.encode({"event": "connect", "error": error.to_wire()}))
    finally:
        connection.working = False
        node.router.resume(connection)


def _number(text: str | None) -> int:
    """The newest event that a client has; -1, 0 or nothing is none."""
    try:
        return max(0, int(text or 0))
    except ValueError:
        return 0
