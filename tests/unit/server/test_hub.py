"""Rooms of one node."""

from __future__ import annotations

from typing import Any, cast

from parlour.core.users import User
from parlour.ports import SessionRecord
from parlour.server.connections import Connection
from parlour.server.endpoint import Link
from parlour.server.hub import Hub


class Named:
    """As much of a link as a hub looks at."""

    def __init__(self, sid: str) -> None:
        self.sid = sid


def connected(hub: Hub, sid: str) -> Connection:
    """A connection of the user `ann` in its own rooms."""
    user, session = User("ann", "Ann"), SessionRecord(f"session-{sid}", "ann")
    connection = Connection(cast(Link, Named(sid)), user, session, None, None)
    hub.add(connection)
    for home in connection.homes:
        hub.join(home, connection)
    return connection


def test_the_last_member_takes_the_room_along() -> None:
    hub = Hub()
    first, second = connected(hub, "1"), connected(hub, "2")
    for connection in (first, second):
        hub.join("channel:x", connection)

    hub.leave("channel:x", first)
    with_one = hub.occupied("channel:x")
    hub.leave("channel:x", second)

    assert with_one
    assert not hub.occupied("channel:x")


def test_a_connection_stays_reachable_by_its_user_and_session() -> None:
    hub = Hub()
    connection = connected(hub, "1")
    ended: list[str] = []
    hub.join("user:ann", connection, lambda: ended.append("following"))

    hub.leave("user:ann", connection)

    assert ended == ["following"]
    assert hub.members("user:ann") == [connection]


def test_a_removed_connection_is_in_no_room() -> None:
    hub = Hub()
    connection = connected(hub, "1")
    hub.join("channel:x", connection)

    hub.remove(connection)

    assert hub.rooms() == {}
    assert connection.rooms == {}


def test_watchers_hear_each_entry_and_exit_once() -> None:
    hub, heard = Hub(), list[tuple[Any, ...]]()
    hub.watch(lambda room, connection, entered: heard.append((room, connection.sid, entered)))
    connection = connected(hub, "1")
    heard.clear()

    hub.join("channel:x", connection)
    hub.join("channel:x", connection)
    hub.leave("channel:x", connection)
    hub.leave("channel:x", connection)

    assert heard == [("channel:x", "1", True), ("channel:x", "1", False)]
