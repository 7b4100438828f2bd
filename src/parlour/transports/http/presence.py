"""`/api/presence`: who is online, away or offline."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from parlour.transports.http.identity import Caller, CurrentNode

router = APIRouter(prefix="/api/presence", tags=["presence"])


class UserStatus(BaseModel):
    """`last_seen` in milliseconds since 1970 UTC, None where nobody is connected."""

    status: str
    last_seen: int | None


@router.get("")
async def statuses(
    _caller: Caller,
    node: CurrentNode,
    user_id: Annotated[list[str], Query(min_length=1, max_length=200)],
) -> dict[str, UserStatus]:
    """The status of each of these users, over all their tabs and all nodes."""
    found = await node.presence.statuses(user_id)
    return {one: UserStatus.model_validate(status) for one, status in found.items()}
