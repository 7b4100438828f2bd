"""Events of a conversation for code that has no run at hand: an emitter and a caller, as functions.

    emit = get_event_emitter(node, thread_id, message_id)
    await emit({"type": "status", "data": {"description": "Searching", "done": False}})
    call = get_event_call(node, session_id)
    answer = await call({"type": "confirmation", "data": {"title": "Really?"}})

What is emitted is recorded in the conversation's stream like everything else there, and reaches
whoever follows it on any node. The types `status`, `message`, `replace`, `files` and `source` change
the message (the names `chat:message:delta`, `chat:message`, `citation` and `chat:message:files` of
older tools mean the same); every other type is recorded as it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from parlour.errors import InvalidPayload
from parlour.server.streams import NewData
from parlour.wire.told import FILES, MESSAGE_DELTA, MESSAGE_REPLACE, SOURCE, STATUS

if TYPE_CHECKING:
    from parlour.server.node import Node

CALL_SECONDS: Final = 60.0

EmittedEvent = Mapping[str, Any]
"""`{type, data}`."""

Emit = Callable[[EmittedEvent], Awaitable[None]]
Call = Callable[[EmittedEvent], Awaitable[Any]]

ALIASES: Final[Mapping[str, str]] = {
    "chat:message:delta": "message",
    "chat:message": "replace",
    "chat:message:files": "files",
    "citation": "source",
}


def get_event_emitter(node: Node, thread_id: str, message_id: str) -> Emit:
    """A function that records `{type, data}` events about one message of a conversation.

    It raises `InvalidPayload` for an event without the fields of its type, and what
    `EventLog.append` raises."""

    async def emit(event: EmittedEvent) -> None:
        recorded = conversation_event(event, message_id)
        await node.streams.append(f"thread:{thread_id}", recorded)

    return emit


def get_event_call(node: Node, session_id: str, timeout: float = CALL_SECONDS) -> Call:
    """A function that asks a session's client and gives back its answer: `type` is the name of the
    call, `data` its arguments. It raises what `Routing.call` raises."""

    async def call(event: EmittedEvent) -> Any:
        name = _type_of(event)
        return await node.routing.call(session_id, name, event.get("data"), timeout)

    return call


def conversation_event(event: EmittedEvent, message_id: str) -> NewData:
    """What an emitted event is in the conversation's stream. Raises `InvalidPayload`."""
    name = _type_of(event)
    data = event.get("data")
    body: dict[str, Any] = dict(data) if isinstance(data, Mapping) else {"value": data}
    match ALIASES.get(name, name):
        case "status":
            text = body.get("text", body.get("description", ""))
            return STATUS.type, {**body, "message_id": message_id, "text": text}
        case "message":
            return MESSAGE_DELTA({"id": message_id, "text": _text(body)})
        case "replace":
            return MESSAGE_REPLACE({"id": message_id, "content": _text(body)})
        case "files":
            if not isinstance(body.get("files"), list):
                raise InvalidPayload("files: a list is needed")
            return FILES({"message_id": message_id, "files": body["files"]})
        case "source":
            return SOURCE({"message_id": message_id, "source": body.get("source", body)})
    return name, {**body, "message_id": message_id}


def _type_of(event: EmittedEvent) -> str:
    name = event.get("type")
    if not isinstance(name, str) or not name:
        raise InvalidPayload("type: an event needs the name of its type")
    return name


def _text(body: Mapping[str, Any]) -> str:
    text = body.get("content", body.get("text"))
    if not isinstance(text, str):
        raise InvalidPayload("content: a text is needed")
    return text
