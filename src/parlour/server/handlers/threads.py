"""Conversations as things: rename, tag, share, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parlour.server.connections import Caller
from parlour.server.handlers.messages import append_once
from parlour.server.router import Routes
from parlour.server.streams import NewData
from parlour.wire.events import ThreadDelete, ThreadShare, ThreadUpdate
from parlour.wire.told import CHAT_TAGS, CHAT_TITLE

if TYPE_CHECKING:
    from parlour.server.node import Node

routes = Routes()


@routes.command("thread:update", ThreadUpdate)
async def update(node: Node, caller: Caller, payload: ThreadUpdate) -> dict[str, Any]:
    """Set title or tags; the list of every device of the owner follows."""
    stream = f"thread:{payload.thread_id}"
    await node.permissions.require_own(caller.user, stream)
    events: list[NewData] = []
    if payload.title is not None:
        events.append(CHAT_TITLE({"title": payload.title}))
    if payload.tags is not None:
        events.append(CHAT_TAGS({"tags": payload.tags}))
    if events:
        await append_once(node, caller, stream, payload.command_id, {}, *events)
        await node.projector.settle(stream)
    return {"thread_id": payload.thread_id, "title": payload.title, "tags": payload.tags}


@routes.command("thread:delete", ThreadDelete)
async def delete(node: Node, caller: Caller, payload: ThreadDelete) -> dict[str, Any]:
    """Delete a conversation with everything in it."""
    stream = f"thread:{payload.thread_id}"
    await node.permissions.require_own(caller.user, stream)
    await node.stop_runs(payload.thread_id)
    await node.delete_thread(caller.user, payload.thread_id)
    return {"thread_id": payload.thread_id}


@routes.command("thread:share", ThreadShare)
async def share(node: Node, caller: Caller, payload: ThreadShare) -> dict[str, Any]:
    """Say who else may read a conversation or write in it; a guest may only leave."""
    return await node.sharing.change(
        caller,
        payload.thread_id,
        payload.grants,
        replace=payload.replace,
        command_id=payload.command_id,
    )
