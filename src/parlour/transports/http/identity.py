"""Who makes a request: a bearer token, or the page's cookie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import structlog
from fastapi import Depends, Request
from starlette.responses import Response

from parlour.errors import Forbidden, Unauthenticated
from parlour.server.accounts import Identity, Issued
from parlour.telemetry import get_logger

if TYPE_CHECKING:
    from parlour.server.node import Node

COOKIE: Final = "access_token"

log = get_logger(__name__)


def node_of(request: Request) -> Node:
    """The node that serves this application."""
    node: Node = request.app.state.node
    return node


def client_address(request: Request) -> str:
    """The peer, after the proxies that the server trusts."""
    return request.client.host if request.client else ""


def token_of(request: Request) -> str | None:
    """The token of the `Authorization` header, else of the cookie."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return request.cookies.get(COOKIE) or None


async def identity_of(request: Request) -> Identity:
    """Raises `Unauthenticated` or `TokenExpired`."""
    token = token_of(request)
    if token is None:
        raise Unauthenticated("Sign in first.")
    identity = await node_of(request).accounts.verify(token)
    structlog.contextvars.bind_contextvars(user=identity.user.id)
    return identity


async def administrator_of(request: Request) -> Identity:
    """As `identity_of`; raises `Forbidden` for anybody else."""
    identity = await identity_of(request)
    if not identity.user.is_admin:
        raise Forbidden("Only an administrator may do this.")
    return identity


def keep_signed_in(request: Request, response: Response, issued: Issued) -> None:
    """Give the page its cookie: out of reach of scripts, not sent along by other sites' forms."""
    left_ms = issued.expires_at - node_of(request).clock.now_ms()
    response.set_cookie(
        COOKIE,
        issued.token,
        max_age=max(0, left_ms // 1000),
        path=_cookie_path(request),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )


def forget_sign_in(request: Request, response: Response) -> None:
    response.delete_cookie(
        COOKIE,
        path=_cookie_path(request),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )


def _cookie_path(request: Request) -> str:
    """Where the application is mounted, so that two on one host do not share a cookie."""
    return str(request.scope.get("root_path", "")) or "/"


CurrentNode = Annotated["Node", Depends(node_of)]
Caller = Annotated[Identity, Depends(identity_of)]
Administrator = Annotated[Identity, Depends(administrator_of)]
