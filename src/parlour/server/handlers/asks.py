"""`ask:answer`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parlour.server.connections import Caller
from parlour.server.router import Routes
from parlour.wire.events import AskAnswer

if TYPE_CHECKING:
    from parlour.server.node import Node

routes = Routes()


@routes.command("ask:answer", AskAnswer)
async def answer(node: Node, caller: Caller, payload: AskAnswer) -> dict[str, Any]:
    """Answer a question; the first answer is accepted."""
    return await node.asks.answer(caller, payload.ask_id, payload.answer, payload.command_id)
