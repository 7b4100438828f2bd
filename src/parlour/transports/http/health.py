"""`/health/*`, `/metrics`, `/api/version`: for machines; no authentication."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Response
from pydantic import BaseModel

from parlour.errors import NotFound
from parlour.telemetry import METRICS_TYPE
from parlour.transports.http.identity import CurrentNode

PROTOCOL: Final = 1
"""Version of the protocol page."""

router = APIRouter(tags=["health"])


class Live(BaseModel):
    status: str


class Ready(BaseModel):
    """`parts` names what the node needs and whether it can be reached now."""

    status: str
    parts: dict[str, bool]


class Version(BaseModel):
    """A page that was loaded from another deployment reloads itself."""

    version: str
    deployment_id: str
    protocol: int


@router.get("/health/live")
async def live() -> Live:
    """The process answers."""
    return Live(status="ok")


@router.get("/health/ready")
async def ready(node: CurrentNode, response: Response) -> Ready:
    """The node can serve; 503 while a part of it is away, or while it is going away."""
    parts = await node.ready()
    if not all(parts.values()):
        response.status_code = 503
    return Ready(status="ok" if all(parts.values()) else "unavailable", parts=parts)


@router.get("/metrics", include_in_schema=False)
async def metrics(node: CurrentNode) -> Response:
    """Prometheus text."""
    if not node.settings.metrics:
        raise NotFound("Metrics are switched off here.")
    return Response(node.metrics.render(), headers={"content-type": METRICS_TYPE})


@router.get("/api/version")
async def version(node: CurrentNode) -> Version:
    """Which version runs here."""
    return Version(version=node.version, deployment_id=node.deployment_id, protocol=PROTOCOL)
