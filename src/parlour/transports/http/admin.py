"""`/api/admin`: what runs now, on all nodes; for administrators."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field, model_validator

from parlour.telemetry import get_logger
from parlour.transports.http.identity import Administrator, CurrentNode

router = APIRouter(prefix="/api/admin", tags=["admin"])

log = get_logger(__name__)


class Person(BaseModel):
    id: str
    name: str


class ConnectionRow(BaseModel):
    """A live connection. `connected_at` in milliseconds since 1970 UTC; None until other nodes know it."""

    sid: str
    user: Person
    session_id: str
    client_type: str
    transport: str
    address: str
    status: str
    connected_at: int | None
    rooms: list[str]
    node: str


class RoomRow(BaseModel):
    room: str
    connections: int


class NodeRow(BaseModel):
    node: str
    version: str
    connections: int
    sessions: int
    users: int
    rooms: int


class Totals(BaseModel):
    connections: int
    sessions: int


class LiveOverview(BaseModel):
    """Lists are bounded, totals are not. `failures` names the nodes that did not answer, and why."""

    nodes: list[NodeRow]
    connections: list[ConnectionRow]
    rooms: list[RoomRow]
    models: dict[str, int]
    totals: Totals
    failures: dict[str, str]


class Disconnect(BaseModel):
    """Whom to disconnect: exactly one of the three."""

    session_id: Annotated[str, Field(max_length=200)] | None = None
    user_id: Annotated[str, Field(max_length=200)] | None = None
    sid: Annotated[str, Field(max_length=200)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Disconnect:
        if sum(one is not None for one in (self.session_id, self.user_id, self.sid)) != 1:
            raise ValueError("give one of session_id, user_id and sid")
        return self


class Disconnected(BaseModel):
    """How many connections were closed, and the nodes that could not be asked."""

    connections: int
    failures: dict[str, str]


@router.get("/overview")
async def overview(_admin: Administrator, node: CurrentNode) -> LiveOverview:
    """Live connections, sessions, rooms and models in use over all nodes."""
    found: dict[str, Any] = await node.overview.everywhere()
    return LiveOverview.model_validate(found)


@router.post("/disconnect")
async def disconnect(body: Disconnect, admin: Administrator, node: CurrentNode) -> Disconnected:
    """Close live connections, wherever they are. Their clients may connect again."""
    reason = "disconnected"
    if body.user_id is not None:
        reached = await node.routing.disconnect_user(body.user_id, reason)
    elif body.session_id is not None:
        reached = await node.routing.disconnect_session(body.session_id, reason)
    else:
        reached = await node.routing.disconnect_connection(body.sid or "", reason)
    log.info(
        "disconnected by an administrator",
        administrator=admin.user.id,
        connections=reached.connections,
    )
    return Disconnected(connections=reached.connections, failures=reached.failures)
