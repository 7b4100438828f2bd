"""`POST /api/commands/{event}`: every command of the socket, for callers without one."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path

from parlour.transports.http.calling import CurrentCaller, execute
from parlour.transports.http.identity import CurrentNode

router = APIRouter(tags=["commands"])


@router.post("/api/commands/{event}")
async def run_command(
    event: Annotated[str, Path(max_length=100)],
    caller: CurrentCaller,
    node: CurrentNode,
    body: Annotated[dict[str, Any] | None, Body()] = None,
) -> dict[str, Any]:
    """The payload and the answer are those of the protocol page (`message:send`, `run:stop`,
    `ask:answer`, …). The same `command_id` again gives the same answer."""
    return await execute(node, caller, event, dict(body or {}))
