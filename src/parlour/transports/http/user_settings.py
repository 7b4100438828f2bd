"""`/api/users/me/settings`: what a person chose, the same on all devices."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, StringConstraints

from parlour.ports import UserSettings
from parlour.server.user_settings import change_settings
from parlour.transports.http.calling import CurrentCaller
from parlour.transports.http.identity import CurrentNode

router = APIRouter(prefix="/api/users/me/settings", tags=["users"])

SettingName = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class Settings(BaseModel):
    """`version` rises with every change; a device that hears of a lower one keeps what it has."""

    settings: dict[str, Any]
    version: int


class SettingsChange(BaseModel):
    settings: dict[SettingName, Any]


@router.get("")
async def read_settings(caller: CurrentCaller, node: CurrentNode) -> Settings:
    """Empty with version 0 where nothing was ever chosen."""
    return _wire(await node.users.settings(caller.user.id))


@router.put("")
async def replace_settings(
    body: SettingsChange, caller: CurrentCaller, node: CurrentNode
) -> Settings:
    """These and no others. Heard on all devices as `settings:changed`."""
    return _wire(await change_settings(node, caller.user, body.settings, replace=True))


@router.patch("")
async def merge_settings(
    body: SettingsChange, caller: CurrentCaller, node: CurrentNode
) -> Settings:
    """Change these, leave the others; null removes one."""
    return _wire(await change_settings(node, caller.user, body.settings))


def _wire(settings: UserSettings) -> Settings:
    return Settings(settings=dict(settings.settings), version=settings.version)
