"""`/api/users`: for administrators. Nothing here shows a password hash or a private field."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from parlour.errors import Forbidden
from parlour.ports import UserRecord
from parlour.transports.http.identity import Administrator, CurrentNode

router = APIRouter(prefix="/api/users", tags=["users"])


class UserRow(BaseModel):
    """A user as administrators see one. Times are milliseconds since 1970 UTC."""

    id: str
    name: str
    role: str
    email: str | None
    disabled: bool
    created_at: int
    last_active_at: int


class UserPage(BaseModel):
    items: list[UserRow]
    next_cursor: str | None


class NewUser(BaseModel):
    name: Annotated[str, Field(min_length=1, max_length=200)]
    password: Annotated[str, Field(max_length=1024)]
    email: Annotated[str, Field(max_length=320)] | None = None
    role: str = "user"


class UserChange(BaseModel):
    """What is None stays as it is."""

    disabled: bool | None = None
    role: str | None = None
    password: Annotated[str, Field(max_length=1024)] | None = None


@router.get("")
async def list_users(
    _admin: Administrator,
    node: CurrentNode,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> UserPage:
    """All users, page by page."""
    records, following = await node.accounts.users(cursor, limit)
    return UserPage(items=[_row(record) for record in records], next_cursor=following)


@router.post("", status_code=201)
async def add_user(body: NewUser, _admin: Administrator, node: CurrentNode) -> UserRow:
    """An account made for somebody."""
    user = await node.accounts.add_user(body.name, body.password, body.email, body.role)
    return _row(await node.accounts.find(user.id))


@router.patch("/{user_id}")
async def change_user(
    user_id: str, body: UserChange, admin: Administrator, node: CurrentNode
) -> UserRow:
    """Disable or enable, change the role, set a password. Each ends the user's tokens at once."""
    if user_id == admin.user.id and (body.disabled or body.role is not None):
        # Otherwise the last administrator could lock everybody out with one click.
        raise Forbidden("Another administrator has to do this.")
    if body.role is not None:
        await node.accounts.set_role(user_id, body.role)
    if body.password is not None:
        await node.accounts.set_password(user_id, body.password)
    if body.disabled is not None:
        await node.accounts.set_disabled(user_id, body.disabled)
    return _row(await node.accounts.find(user_id))


def _row(record: UserRecord) -> UserRow:
    return UserRow(
        id=record.id,
        name=record.name,
        role=record.role,
        email=record.email,
        disabled=record.disabled,
        created_at=record.created_at,
        last_active_at=record.last_active_at,
    )
