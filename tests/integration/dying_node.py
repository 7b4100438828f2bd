"""A node that says something in a channel and dies right after the commit, before it is announced.

python -m tests.integration.dying_node '{"settings": {…}, "channel": id, "name": user's name}'
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from parlour.config import Settings
from parlour.server.accounts import as_user
from parlour.server.node import run_node
from tests.apps import ScriptedApp


async def die(told: Sequence[tuple[str, str]]) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


async def main(order: dict[str, Any]) -> None:
    async with run_node(Settings(**order["settings"]), ScriptedApp()) as node:
        record = await node.users.user_by_login(order["name"])
        assert record is not None
        node.announcer.settle = die  # type: ignore[method-assign, assignment]
        caller = node.caller(as_user(record))
        await node.channels.post(caller, order["channel"], "last words", command_id="dying")


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
