"""Who waits at a room after a refusal."""

from __future__ import annotations

from typing import cast

from parlour.core.users import User
from parlour.ports import SessionRecord
from parlour.server.connections import Connection
from parlour.server.endpoint import Link
from parlour.server.knocks import KNOCKS_KEPT, Knocks
from parlour.server.node import Node
from tests.unit.server.test_hub import Named


def connection() -> Connection:
    link = cast(Link, Named("sid-1"))
    return Connection(link, User("ann", "Ann"), SessionRecord("session-1", "ann"), None, None)


def test_only_conversations_and_channels_are_waited_at() -> None:
    knocks, ann = Knocks(cast(Node, object())), connection()

    waits = {room: knocks.wait(ann, f"{room}:x") for room in ("thread", "channel", "user", "note")}

    assert waits == {"thread": True, "channel": True, "user": False, "note": False}


def test_of_many_rooms_the_newest_are_kept() -> None:
    knocks, ann = Knocks(cast(Node, object())), connection()

    for number in range(KNOCKS_KEPT + 5):
        knocks.wait(ann, f"thread:{number}")
    knocks.wait(ann, "thread:5")

    kept = list(ann.knocks or ())
    assert len(kept) == KNOCKS_KEPT
    assert (kept[0], kept[-1]) == ("thread:6", "thread:5")


def test_a_closed_connection_waits_nowhere() -> None:
    knocks, ann, other = Knocks(cast(Node, object())), connection(), connection()
    for one in (ann, other):
        knocks.wait(one, "thread:x")

    knocks.forget(ann)
    ann.left = True

    assert not ann.knocks
    assert not knocks.wait(ann, "thread:x")
    assert other.knocks == {"thread:x": None}
