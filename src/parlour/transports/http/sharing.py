"""`/api/threads/{id}/grants`: who may read a conversation or write in it beside its owner."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from parlour.core.access import Right
from parlour.server.connections import Caller
from parlour.transports.http.calling import CurrentCaller, execute
from parlour.transports.http.identity import CurrentNode
from parlour.transports.http.threads import Owner, ThreadId

router = APIRouter(prefix="/api/threads/{thread_id}/grants", tags=["threads"])

Principal = Annotated[str, Path(max_length=210)]
CommandId = Annotated[str, Field(min_length=1, max_length=128)]
GrantChanges = Annotated[dict[str, Right | None], Field(max_length=200)]


class SharingOut(BaseModel):
    """`grants` are by principal; `people` has the names of those among them who are users. `position` is where
    the change stands in the conversation's stream."""

    thread_id: str
    owner: Owner
    grants: dict[str, Right]
    people: dict[str, str]
    position: dict[str, Any] | None = None


class NewGrants(BaseModel):
    """All that there are afterwards."""

    grants: Annotated[dict[str, Right], Field(max_length=100)]
    command_id: CommandId | None = None


class ChangedGrants(BaseModel):
    """What is not named stays; null takes away."""

    grants: GrantChanges
    command_id: CommandId | None = None


@router.get("")
async def read_grants(thread_id: ThreadId, caller: CurrentCaller, node: CurrentNode) -> SharingOut:
    """For the owner and administrators."""
    return SharingOut(**await node.sharing.read(caller, thread_id))


@router.put("")
async def replace_grants(
    thread_id: ThreadId, body: NewGrants, caller: CurrentCaller, node: CurrentNode
) -> SharingOut:
    """Put these in place of all."""
    payload = {"replace": True, **body.model_dump(exclude_none=True)}
    return await _share(node, caller, thread_id, payload)


@router.patch("")
async def change_grants(
    thread_id: ThreadId, body: ChangedGrants, caller: CurrentCaller, node: CurrentNode
) -> SharingOut:
    """Give and take back some."""
    payload: dict[str, Any] = {"grants": body.grants}
    if body.command_id is not None:
        payload["command_id"] = body.command_id
    return await _share(node, caller, thread_id, payload)


@router.delete("/{principal}", status_code=204)
async def remove_grant(
    thread_id: ThreadId, principal: Principal, caller: CurrentCaller, node: CurrentNode
) -> None:
    """Take one back; with one's own `user:{id}` a guest leaves."""
    await _share(node, caller, thread_id, {"grants": {principal: None}})


async def _share(
    node: CurrentNode, caller: Caller, thread_id: str, payload: dict[str, Any]
) -> SharingOut:
    answer = await execute(node, caller, "thread:share", {"thread_id": thread_id, **payload})
    return SharingOut(**answer)
