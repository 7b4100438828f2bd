"""Speaking first: telling a conversation, a person or a session something from outside any
handler."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal

from parlour.chat.context import ContextMissing, find_context
from parlour.chat.registry import MODULE_REGISTRY
from parlour.chat.text import clean
from parlour.wire.records import MessageFields
from parlour.wire.told import MESSAGE, NOTIFICATION, Notice

if TYPE_CHECKING:
    from parlour.server.node import Node

Level = Literal["info", "success", "warning", "error"]


async def push(
    content: str,
    *,
    thread_id: str | None = None,
    user_id: str | None = None,
    session_id: str | None = None,
    author: str | None = None,
    level: Level = "info",
) -> None:
    """Say something where nobody asked: from a web route, a background task, a hook.

    With `thread_id` it is a message of that conversation, stored like any other. With `user_id` or
    `session_id` it is a short notice to whoever is connected. Works in the module of the app while
    its node runs, and inside handlers. Raises ValueError without an addressee, `ContextMissing`
    where no node runs, `Unavailable` when nothing could be stored.
    """
    if thread_id is None and user_id is None and session_id is None:
        raise ValueError("push needs a thread_id, a user_id or a session_id")
    node = _node(sys._getframe(1).f_globals)
    text = clean(content)
    if thread_id is not None:
        await node.push([MESSAGE(_message(node, text, author))], thread_id=thread_id)
    if user_id is not None or session_id is not None:
        notice: Notice = {"level": level, "text": text}
        await node.push([NOTIFICATION(notice)], user_id=user_id, session_id=session_id)


def _message(node: Node, text: str, author: str | None) -> MessageFields:
    return {
        "id": node.new_id(),
        "role": "assistant",
        "author": {"id": "app", "name": author or node.app.name},
        "content": text,
        "created_at": node.clock.now_ms(),
        "streaming": False,
    }


def _node(module_globals: dict[str, Any]) -> Node:
    found = find_context()
    if found is not None:
        return found.node
    registry = module_globals.get(MODULE_REGISTRY)
    node: Node | None = registry.node if registry is not None else None
    if node is None:
        raise ContextMissing(
            "no node runs the app of this module: push from a handler, or from the app's own module "
            "while it is served"
        )
    return node
