"""This node's rooms: who hears what. Everything is synchronous; a delivery is one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from parlour.server.connections import Connection
from parlour.wire.packets import Encoded


class Hub:
    """Rooms by name and connections by sid. A room exists while it has members."""

    def __init__(self) -> None:
        self._rooms: dict[str, dict[Connection, None]] = {}
        self._connections: dict[str, Connection] = {}

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, connection: Connection) -> None:
        self._connections[connection.sid] = connection

    def remove(self, connection: Connection) -> None:
        """Forget a connection and take it out of every room."""
        for room in list(connection.rooms):
            self.leave(room, connection)
        self._connections.pop(connection.sid, None)

    def connection(self, sid: str) -> Connection | None:
        return self._connections.get(sid)

    def connections(self) -> Iterable[Connection]:
        return list(self._connections.values())

    def join(
        self, room: str, connection: Connection, on_leave: Callable[[], None] | None = None
    ) -> None:
        """Enter a room; `on_leave` is called once when the connection leaves it, for whatever reason."""
        connection.rooms[room] = on_leave
        self._rooms.setdefault(room, {})[connection] = None

    def leave(self, room: str, connection: Connection) -> None:
        """Leave a room; nothing where the connection is not in it."""
        if room not in connection.rooms:
            return
        on_leave = connection.rooms.pop(room)
        members = self._rooms[room]
        del members[connection]
        if not members:
            del self._rooms[room]
        if on_leave is not None:
            on_leave()

    def members(self, room: str) -> list[Connection]:
        return list(self._rooms.get(room, ()))

    def occupied(self, room: str) -> bool:
        return room in self._rooms

    def rooms(self) -> dict[str, int]:
        """Room names and how many connections of this node are in each."""
        return {room: len(members) for room, members in self._rooms.items()}

    def broadcast(self, room: str, encoded: Encoded, skip: Connection | None = None) -> int:
        """Write to every member but `skip`; gives back to how many. `encoded` is framed once for all."""
        members = self._rooms.get(room)
        if not members:
            return 0
        # A send may close its connection, which leaves the room: hence the copy.
        for connection in tuple(members):
            if connection is not skip:
                connection.link.send(encoded)
        return len(members) - (skip is not None and skip in members)
