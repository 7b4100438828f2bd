"""`/api/people`: find somebody to talk to. Whoever knows a name finds its person; nobody gets a list."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from parlour.core.users import ANONYMOUS
from parlour.errors import Forbidden, NotFound
from parlour.transports.http.calling import CurrentCaller
from parlour.transports.http.identity import CurrentNode
from parlour.transports.http.rates import RateLimits

router = APIRouter(prefix="/api/people", tags=["people"])


class FoundPerson(BaseModel):
    id: str
    name: str


class FoundPeople(BaseModel):
    items: list[FoundPerson]


@router.get("")
async def find_people(
    caller: CurrentCaller,
    node: CurrentNode,
    request: Request,
    q: Annotated[str, Query(min_length=1, max_length=320)],
) -> FoundPeople:
    """The person with exactly this name, e-mail address or id; nothing for a part of a name, so that
    nobody can read who has an account. Counts against the rate of changes. Not for anonymous users."""
    if caller.user.role == ANONYMOUS:
        raise Forbidden("Sign in with an account to find people.")
    rates: RateLimits = request.app.state.rates
    rates.take(caller.user.id, node.clock.monotonic())
    try:
        record = await node.accounts.find(q.strip())
    except NotFound:
        return FoundPeople(items=[])
    if record.disabled or record.role == ANONYMOUS:
        return FoundPeople(items=[])
    return FoundPeople(items=[FoundPerson(id=record.id, name=record.name)])
