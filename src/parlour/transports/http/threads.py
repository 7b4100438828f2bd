"""`/api/threads`: a user's conversations."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from parlour.core.access import Permission
from parlour.errors import NotFound
from parlour.ports import ThreadRecord
from parlour.server.connections import Caller
from parlour.transports.http.calling import CurrentCaller, execute
from parlour.transports.http.identity import CurrentNode

router = APIRouter(prefix="/api/threads", tags=["threads"])

ThreadId = Annotated[str, Path(min_length=1, max_length=64)]


class Owner(BaseModel):
    id: str
    name: str


class ThreadRow(BaseModel):
    """A conversation in the list. Times are milliseconds since 1970 UTC. `permission` is the caller's, `shared`
    says whether anybody but the owner may use it."""

    id: str
    title: str | None
    preview: str
    tags: list[str]
    created_at: int
    updated_at: int
    owner: Owner
    permission: Permission
    shared: bool


class ThreadPage(BaseModel):
    """`next_cursor` is None at the end."""

    items: list[ThreadRow]
    next_cursor: str | None


class ThreadChange(BaseModel):
    """What is None stays as it is. The same `command_id` again does nothing."""

    title: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    tags: Annotated[list[str], Field(max_length=20)] | None = None
    command_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None


@router.get("")
async def list_threads(
    caller: CurrentCaller,
    node: CurrentNode,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 30,
    search: Annotated[str | None, Query(max_length=200)] = None,
    shared: bool = False,
) -> ThreadPage:
    """One's own, or with `shared` those that others share with the caller. Newest activity first; a page never
    repeats what an earlier one held."""
    if shared:
        found, following = await node.threads.shared_threads(
            caller.user, cursor=cursor or None, limit=limit, search=search or None
        )
        return ThreadPage(items=[ThreadRow(**one.listed()) for one in found], next_cursor=following)
    records, following = await node.threads.threads(
        caller.user.id, cursor=cursor or None, limit=limit, search=search or None
    )
    return ThreadPage(items=[_own_row(record, caller) for record in records], next_cursor=following)


@router.get("/{thread_id}")
async def read_thread(thread_id: ThreadId, caller: CurrentCaller, node: CurrentNode) -> ThreadRow:
    """One conversation that the caller may read."""
    return await _row(node, caller, await readable_thread(node, caller, thread_id))


@router.patch("/{thread_id}")
async def change_thread(
    thread_id: ThreadId, body: ThreadChange, caller: CurrentCaller, node: CurrentNode
) -> ThreadRow:
    """Rename or tag; every open list of the owner follows."""
    payload = {"thread_id": thread_id, **body.model_dump(exclude_none=True)}
    await execute(node, caller, "thread:update", payload)
    changed = _own_row(await readable_thread(node, caller, thread_id), caller)
    return changed.model_copy(update=body.model_dump(exclude_none=True, exclude={"command_id"}))


@router.delete("/{thread_id}", status_code=204)
async def delete_thread(thread_id: ThreadId, caller: CurrentCaller, node: CurrentNode) -> None:
    """Delete with everything in it. Runs are stopped first; the id cannot be used again."""
    await execute(node, caller, "thread:delete", {"thread_id": thread_id})


@router.post("/{thread_id}/stop")
async def stop_runs(
    thread_id: ThreadId, caller: CurrentCaller, node: CurrentNode
) -> dict[str, Any]:
    """End every run of the conversation; answered when they have ended."""
    return await execute(node, caller, "run:stop", {"thread_id": thread_id})


async def readable_thread(node: CurrentNode, caller: Caller, thread_id: str) -> ThreadRecord:
    """Raises `NotFound`, also where the caller may not read it: strangers learn nothing."""
    await node.permissions.require_existing(caller.user, f"thread:{thread_id}")
    record: ThreadRecord | None = await node.threads.thread(thread_id)
    if record is None:
        raise NotFound("There is no conversation with this id.")
    return record


def _own_row(record: ThreadRecord, caller: Caller) -> ThreadRow:
    owner = Owner(id=caller.user.id, name=caller.user.name)
    return ThreadRow(**record.listed(), owner=owner, permission="owner")


async def _row(node: CurrentNode, caller: Caller, record: ThreadRecord) -> ThreadRow:
    if record.user_id == caller.user.id:
        return _own_row(record, caller)
    grant = await node.permissions.require_existing(caller.user, f"thread:{record.id}")
    found = await node.user(record.user_id)
    owner = Owner(id=record.user_id, name="" if found is None else found.name)
    return ThreadRow(**record.listed(), owner=owner, permission=grant.permission or "read")
