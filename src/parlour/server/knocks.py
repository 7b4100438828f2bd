"""Who was refused a room and would come in if access were given (back).

Nobody else could tell them: they are in no room, and follow no stream that would say so. A refused
connection waits here, on its own node; when access to a room grows, every node asks again for those
who wait at it and tells the ones who may come in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson
import structlog

from parlour.errors import ParlourError
from parlour.server.connections import Connection
from parlour.wire.told import ACCESS_UPDATED

if TYPE_CHECKING:
    from parlour.server.node import Node

log = structlog.get_logger(__name__)

KNOCKS_KEPT: Final = 64
"""Rooms that one connection can wait at; of more, the ones it was refused longest ago are forgotten."""

WAITED_AT: Final = ("thread:", "channel:")
"""Rooms whose access can grow without the person being told in the person's own stream."""

GRANTED: Final = "granted"
"""The type of the message between nodes, and the reason in `access:updated`."""


class Knocks:
    """One per node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._rooms: dict[str, dict[Connection, None]] = {}

    def wait(self, connection: Connection, room: str) -> bool:
        """The connection was refused; whether it can wait at such a room."""
        if not room.startswith(WAITED_AT) or connection.left:
            return False
        if connection.knocks is None:
            connection.knocks = {}
        connection.knocks.pop(room, None)
        while len(connection.knocks) >= KNOCKS_KEPT:
            self.leave(connection, next(iter(connection.knocks)))
        connection.knocks[room] = None
        self._rooms.setdefault(room, {})[connection] = None
        return True

    def leave(self, connection: Connection, room: str) -> None:
        """It is in, or does not want to come in any more. Idempotent."""
        if not connection.knocks or room not in connection.knocks:
            return
        del connection.knocks[room]
        waiting = self._rooms[room]
        del waiting[connection]
        if not waiting:
            del self._rooms[room]

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""
        for room in list(connection.knocks or ()):
            self.leave(connection, room)

    # -- when access grows -----------------------------------------------------------------------

    async def answer(self, room: str) -> None:
        """Access to a room may have grown: tell those who wait at it, on every node. Never raises: who is
        not told can still ask."""
        try:
            message = {"type": GRANTED, "from": self._node.id, "room": room}
            await self._node.bus.publish("control", orjson.dumps(message))
        except ParlourError as error:
            log.warning("other nodes were not told of a grant", room=room, error=str(error))
        await self.answer_here(room)

    async def answer_here(self, room: str) -> None:
        """The same for this node."""
        users = {one.user.id: one.user for one in self._rooms.get(room, ())}
        try:
            for user in users.values():
                grant = await self._node.permissions.grant(user, room)
                if grant.read and not grant.create:
                    self._let_in(room, user.id)
        except ParlourError as error:
            log.warning("who waits at a room was not told", room=room, error=str(error))

    def _let_in(self, room: str, user_id: str) -> None:
        notice = ACCESS_UPDATED.encode({"room": room, "reason": GRANTED})
        for connection in list(self._rooms.get(room, ())):
            if connection.user.id == user_id:
                self.leave(connection, room)
                connection.send(notice)
