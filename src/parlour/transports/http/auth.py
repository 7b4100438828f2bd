"""`/api/auth`: signing in, up and out."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from parlour.core.users import ANONYMOUS
from parlour.errors import Forbidden, ParlourError, Unauthenticated
from parlour.server.accounts import Issued
from parlour.transports.http.identity import (
    Caller,
    CurrentNode,
    client_address,
    forget_sign_in,
    keep_signed_in,
    token_of,
)

router = APIRouter(prefix="/api/auth", tags=["auth"])

Text = Annotated[str, Field(max_length=1024)]


class UserOut(BaseModel):
    """The part of a user that may travel."""

    id: str
    name: str
    role: str


class SignedIn(BaseModel):
    """`expires_at` is milliseconds since 1970 UTC. The page uses the cookie that comes with this."""

    token: str
    expires_at: int
    user: UserOut


class SignIn(BaseModel):
    """`login` is a name or an e-mail address."""

    login: Annotated[str, Field(min_length=1, max_length=320)]
    password: Text


class SignUp(BaseModel):
    name: Annotated[str, Field(min_length=1, max_length=200)]
    password: Text
    email: Annotated[str, Field(max_length=320)] | None = None


class Profile(BaseModel):
    """How a person wants to be called; the name is a login too."""

    name: Annotated[str, Field(min_length=1, max_length=200)]


class PasswordChange(BaseModel):
    current: Text
    password: Text


class AuthConfig(BaseModel):
    """What the sign-in page offers."""

    sign_up: bool
    anonymous: bool
    password: bool
    header: bool
    app: dict[str, str]


@router.get("/config")
async def read_config(node: CurrentNode) -> AuthConfig:
    """Which ways of signing in exist; no authentication."""
    return AuthConfig(
        sign_up=node.settings.sign_up,
        anonymous=node.settings.anonymous,
        password=True,
        header=node.app.handles("header_auth_callback"),
        app={"name": node.app.name, "description": node.app.description},
    )


@router.post("/sign-in")
async def sign_in(
    body: SignIn, request: Request, response: Response, node: CurrentNode
) -> SignedIn:
    """By password. The same answer for an unknown login and a wrong password; too many attempts are 429."""
    try:
        issued = await node.accounts.sign_in(body.login, body.password, client_address(request))
    except ParlourError as error:
        node.metrics.sign_ins.labels(error.code).inc()
        raise
    node.metrics.sign_ins.labels("ok").inc()
    return _welcome(request, response, issued)


@router.post("/sign-up", status_code=201)
async def sign_up(
    body: SignUp, request: Request, response: Response, node: CurrentNode
) -> SignedIn:
    """A new account, where the settings allow it."""
    issued = await node.accounts.sign_up(
        body.name, body.password, body.email, client_address(request)
    )
    return _welcome(request, response, issued)


@router.post("/anonymous", status_code=201)
async def sign_in_anonymously(request: Request, response: Response, node: CurrentNode) -> SignedIn:
    """A user of one's own without an account, where the settings allow it."""
    issued = await node.accounts.sign_in_anonymously(client_address(request))
    return _welcome(request, response, issued)


@router.post("/header")
async def sign_in_by_headers(request: Request, response: Response, node: CurrentNode) -> SignedIn:
    """By what a proxy in front says of the caller, if the app reads it (`header_auth_callback`)."""
    issued = await node.accounts.sign_in_by_headers(dict(request.headers))
    if issued is None:
        raise Unauthenticated("The request does not say who you are.")
    return _welcome(request, response, issued)


@router.post("/refresh")
async def refresh(
    _caller: Caller, request: Request, response: Response, node: CurrentNode
) -> SignedIn:
    """A new token for one that is still valid; the old one lives until it expires."""
    return _welcome(request, response, await node.accounts.refresh(token_of(request) or ""))


@router.post("/sign-out", status_code=204)
async def sign_out(caller: Caller, request: Request, response: Response, node: CurrentNode) -> None:
    """End this token, everywhere and at once."""
    forget_sign_in(request, response)
    await node.accounts.sign_out(caller)


@router.post("/sign-out-everywhere", status_code=204)
async def sign_out_everywhere(
    caller: Caller, request: Request, response: Response, node: CurrentNode
) -> None:
    """End every token of this user."""
    forget_sign_in(request, response)
    await node.accounts.revoke_user(caller.user.id)


@router.get("/me")
async def me(caller: Caller) -> UserOut:
    """Who is asking."""
    return _shown(caller.user.public())


@router.patch("/me")
async def change_me(body: Profile, caller: Caller, node: CurrentNode) -> UserOut:
    """A new name for oneself. 409 where somebody else signs in with it; not for anonymous users."""
    if caller.user.role == ANONYMOUS:
        raise Forbidden("Sign in with an account to have a name of your own.")
    renamed = await node.accounts.rename(caller.user.id, body.name)
    return _shown(renamed.public())


@router.post("/password")
async def change_password(
    body: PasswordChange, caller: Caller, request: Request, response: Response, node: CurrentNode
) -> SignedIn:
    """A new password for oneself. Every token ends at once, and this caller gets a new one."""
    issued = await node.accounts.change_password(
        caller.user.id, body.current, body.password, client_address(request)
    )
    return _welcome(request, response, issued)


def _welcome(request: Request, response: Response, issued: Issued) -> SignedIn:
    keep_signed_in(request, response, issued)
    user = _shown(issued.user.public())
    return SignedIn(token=issued.token, expires_at=issued.expires_at, user=user)


def _shown(public: dict[str, Any]) -> UserOut:
    return UserOut(id=public["id"], name=public["name"], role=public["role"])
