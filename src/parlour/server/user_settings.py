"""What a user chose, the same on all of the user's devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import structlog

from parlour.core.users import User
from parlour.errors import Unavailable
from parlour.ports import UserSettings

if TYPE_CHECKING:
    from parlour.server.node import Node

log = structlog.get_logger(__name__)


async def change_settings(
    node: Node, user: User, changes: Mapping[str, Any], *, replace: bool = False
) -> UserSettings:
    """Store, then tell every connection of the user with `settings:changed` in `user:{id}`. A value of
    None removes its name; `replace` forgets what is not named. Raises `TooLarge`, `Unavailable`."""
    settings, told = await node.users.change_settings(
        user.id, changes, replace=replace, at=node.clock.now_ms()
    )
    if told is not None:
        try:
            await node.announcer.settle([told])
        except Unavailable as error:
            # It is stored, and announced later.
            log.warning("settings are announced later", user=user.id, error=str(error))
    return settings
