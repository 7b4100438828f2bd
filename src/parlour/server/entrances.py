"""New connections on their way into the rooms of their channels.

Most people who connect are in no channel, and a crowd that comes back is in the same ones. So one
question for all who came in the meantime says who has channels at all; nobody's connect waits for it,
and only those for whom there is something to enter get a task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from parlour.errors import ParlourError
from parlour.server.connections import Connection
from parlour.wire.told import ERROR

if TYPE_CHECKING:
    from parlour.server.node import Node

log = structlog.get_logger(__name__)

ASKED_AT_ONCE: Final = 500
"""Users in one question to the store."""

PAUSE_SECONDS: Final = 0.05
"""The store is asked at most once in this time: who comes alone is asked for at once, a crowd in
a few questions."""


class Entrances:
    """One per node; `run` is its task."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._waiting: dict[str, list[Connection]] = {}
        self._wake = asyncio.Event()

    def expect(self, connection: Connection) -> None:
        """The connection is new: it enters the rooms of its user's channels soon."""
        self._waiting.setdefault(connection.user.id, []).append(connection)
        self._wake.set()

    async def run(self) -> None:
        """Admit whoever comes, for good."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            # Of a crowd somebody waits at any time: without the pause each question would be for one or two.
            while self._waiting:
                await self._admit(self._take())
                await asyncio.sleep(PAUSE_SECONDS)

    def _take(self) -> dict[str, list[Connection]]:
        waiting = self._waiting
        if len(waiting) <= ASKED_AT_ONCE:
            self._waiting = {}
            return waiting
        return {user_id: waiting.pop(user_id) for user_id in list(waiting)[:ASKED_AT_ONCE]}

    async def _admit(self, newcomers: dict[str, list[Connection]]) -> None:
        channels, tasks = self._node.channels, self._node.tasks
        try:
            members = await channels.members_of_any(list(newcomers))
        except ParlourError as error:
            log.warning("channels not entered", users=len(newcomers), error=str(error))
            failed = ERROR.encode({"event": "connect", "error": error.to_wire()})
            for connections in newcomers.values():
                for connection in connections:
                    connection.send(failed)
            return
        for user_id in members:
            for connection in newcomers[user_id]:
                tasks.spawn(channels.enter_later(connection), "enter channels")
