"""A REST request as the server's caller: the session behind it, and what handlers may see of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import structlog
from fastapi import Depends, Request

from parlour.core.access import CLIENT_ID
from parlour.errors import InvalidPayload
from parlour.server.connections import Caller
from parlour.transports.http.identity import client_address, identity_of, node_of
from parlour.transports.http.rates import RateLimits

if TYPE_CHECKING:
    from parlour.server.node import Node

SESSION_HEADER: Final = "x-session-id"
_PRIVATE: Final = frozenset({"authorization", "cookie", "proxy-authorization"})


async def caller_of(request: Request) -> Caller:
    """Verified, and within the user's rate. The header `X-Session-Id` names the session; without it
    a user has one per conversation."""
    identity = await identity_of(request)
    node = node_of(request)
    if request.method not in ("GET", "HEAD"):
        limits: RateLimits = request.app.state.rates
        limits.take(identity.user.id, node.clock.monotonic())
    session_id = request.headers.get(SESSION_HEADER)
    if session_id is not None and not CLIENT_ID.match(session_id):
        raise InvalidPayload("A session id has 8 to 64 of A-Z a-z 0-9 _ -.", field=SESSION_HEADER)
    structlog.contextvars.bind_contextvars(
        **_known(session=session_id, thread=request.path_params.get("thread_id"))
    )
    return node.caller(identity.user, session_id=session_id, environ=_environ(request))


def _known(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}


def _environ(request: Request) -> dict[str, Any]:
    """As for sockets: no credentials."""
    return {
        "path": request.url.path,
        "query": dict(request.query_params),
        "headers": {name: v for name, v in request.headers.items() if name not in _PRIVATE},
        "client": client_address(request),
        "secure": request.url.scheme == "https",
    }


async def execute(
    node: Node, caller: Caller, event: str, payload: dict[str, Any]
) -> dict[str, Any]:
    """The command of the same name as on the socket. A command without an id gets one, which makes it
    like any other but not repeatable."""
    payload.setdefault("command_id", node.new_id())
    answer: dict[str, Any] = await node.router.execute(caller, event, payload)
    return answer


CurrentCaller = Annotated[Caller, Depends(caller_of)]
