"""This node's rooms: who hears what. Everything is synchronous; a delivery is one call."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final

from parlour.native import tell
from parlour.server.connections import Connection
from parlour.wire.packets import Encoded

Watcher = Callable[[str, Connection, bool], None]
"""Hears `(room, connection, entered)` right after a connection entered or left a room."""


class Hub:
    """Rooms by name and connections by sid. A room exists while it has members.

    A connection stays in the rooms of its user and its session as long as it lives: they say whom
    it belongs to, whether or not it follows the stream of the same name."""

    def __init__(self) -> None:
        # Every session has a room, nearly always of one connection: that one stands there itself.
        self._rooms: dict[str, Connection | dict[Connection, None]] = {}
        self._connections: dict[str, Connection] = {}
        self.connection: Final[Callable[[str], Connection | None]] = self._connections.get
        """The connection of a sid, if it is here."""
        self._watchers: list[Watcher] = []

    def __len__(self) -> int:
        return len(self._connections)

    def watch(self, watcher: Watcher) -> None:
        """Hear of every entry and exit, in the same turn of the loop."""
        self._watchers.append(watcher)

    def add(self, connection: Connection) -> None:
        self._connections[connection.sid] = connection

    def remove(self, connection: Connection) -> None:
        """Forget a connection and take it out of every room."""
        self._connections.pop(connection.sid, None)
        for room in list(connection.rooms):
            self.leave(room, connection)

    def connections(self) -> Iterable[Connection]:
        return list(self._connections.values())

    def join(
        self, room: str, connection: Connection, on_leave: Callable[[], None] | None = None
    ) -> None:
        """Enter a room; `on_leave` is called once when the connection leaves it, for whatever reason."""
        connection.rooms[room] = on_leave
        if self._enter(room, connection):
            self._tell(room, connection, True)

    def leave(self, room: str, connection: Connection) -> None:
        """Leave a room; nothing where the connection is not in it. Of its user's and its session's room
        only the following ends."""
        if room not in connection.rooms:
            return
        on_leave = connection.rooms.pop(room)
        if connection.sid in self._connections and room in connection.homes:
            connection.rooms[room] = None
        else:
            members = self._rooms[room]
            if isinstance(members, dict) and len(members) > 1:
                del members[connection]
            else:
                del self._rooms[room]
            self._tell(room, connection, False)
        if on_leave is not None:
            on_leave()

    def _enter(self, room: str, connection: Connection) -> bool:
        """Whether the connection is new in the room."""
        members = self._rooms.get(room)
        if members is None:
            self._rooms[room] = connection
        elif members is connection:
            return False
        elif not isinstance(members, dict):
            self._rooms[room] = {members: None, connection: None}
        elif connection in members:
            return False
        else:
            members[connection] = None
        return True

    def _tell(self, room: str, connection: Connection, entered: bool) -> None:
        for watcher in self._watchers:
            watcher(room, connection, entered)

    def members(self, room: str) -> list[Connection]:
        return list(self._members(room))

    def audience(self, room: str) -> tuple[Connection, ...]:
        """The members at this moment: a send may close a connection, which leaves the room."""
        members = self._rooms.get(room)
        if isinstance(members, dict):
            return tuple(members)
        return () if members is None else (members,)

    def count(self, room: str) -> int:
        return len(self._members(room))

    def occupied(self, room: str) -> bool:
        return room in self._rooms

    def rooms(self) -> dict[str, int]:
        """Room names and how many connections of this node are in each."""
        return {room: len(self._members(room)) for room in self._rooms}

    def broadcast(self, room: str, encoded: Encoded, skip: Connection | None = None) -> int:
        """Write to every member but `skip`; gives back to how many. `encoded` is framed once for all."""
        members = self.audience(room)
        if skip is not None:
            members = tuple(one for one in members if one is not skip)
        tell(members, encoded)
        return len(members)

    def _members(self, room: str) -> Collection[Connection]:
        members = self._rooms.get(room, ())
        return (members,) if isinstance(members, Connection) else members
