"""The app that three processes serve: a message is an order to its node, the reply says what came of it.

So a test reaches the routing calls of a node as an author's handler does, in the process that it
chose. `{"do": name, …}` calls the function of this name below, or the routing call of this name.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import parlour as cl
from parlour.chat.context import get_context
from parlour.errors import ParlourError
from parlour.server.conversation_events import get_event_call, get_event_emitter
from parlour.server.node import Node
from parlour.server.routing import Reached


@cl.on_message
async def obey(message: cl.Message) -> None:
    order = json.loads(message.content)
    result = await carry_out(get_context().node, order.pop("do"), order)
    await cl.Message(content=json.dumps(result)).send()


async def carry_out(node: Node, what: str, args: Mapping[str, Any]) -> Any:
    try:
        own = OWN.get(what)
        answer = await (own(node, **args) if own else getattr(node.routing, what)(**args))
    except ParlourError as error:
        return {"error": error.code, "message": error.message}
    if isinstance(answer, Reached):
        return {"connections": answer.connections, "failures": answer.failures}
    return sorted(answer) if isinstance(answer, set) else answer


async def known(node: Node, user_id: str, connections: int) -> int:
    """Wait until this node knows of so many connections of a user, over all nodes."""
    async with asyncio.timeout(30):
        while True:
            found = await node.pool.of_users([user_id])
            if len(found) == connections:
                return connections
            await asyncio.sleep(0.01)


async def event_emitter(node: Node, thread_id: str, message_id: str, events: list[Any]) -> None:
    emit = get_event_emitter(node, thread_id, message_id)
    for event in events:
        await emit(event)


async def event_call(node: Node, session_id: str, event: Any) -> Any:
    return await get_event_call(node, session_id, 20)(event)


async def say(node: Node, thread_id: str, message_id: str) -> None:
    """A message of the app in a conversation."""
    message = {"id": message_id, "role": "assistant", "author": None, "content": ""}
    await node.streams.append(f"thread:{thread_id}", ("message", message))


async def notify(node: Node, user_id: str, event: Any) -> None:
    await node.notify_user(user_id, (event["type"], event["data"]))


answers: dict[str, asyncio.Event] = {}


async def use_model(node: Node, model: str) -> None:
    """The session of the handler uses a model, as while an answer streams, until `finish`."""
    over = answers[model] = asyncio.Event()
    async with cl.use_model(model):
        await over.wait()


async def finish(node: Node, model: str) -> None:
    answers.pop(model).set()


async def in_use(node: Node) -> dict[str, int]:
    return await node.usage.in_use()


async def presence(node: Node, room: str) -> list[str]:
    return sorted(person.id for person in node.presence.people(room))


OWN = {
    one.__name__: one
    for one in (known, event_emitter, event_call, say, notify, use_model, finish, in_use, presence)
}
