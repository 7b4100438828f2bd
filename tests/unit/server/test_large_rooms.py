"""Large rooms, told in parts over several turns of the loop."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parlour.core.streams import Event
from parlour.core.thread import ACCESS
from parlour.core.users import User
from parlour.ports import SessionRecord
from parlour.server import large_rooms
from parlour.server.connections import Connection
from parlour.server.delivery import Delivery
from parlour.server.endpoint import Link
from parlour.server.hub import Hub
from parlour.server.large_rooms import LARGE, MAX_WAITING, MEMBERS_PER_TURN
from parlour.wire.packets import Encoded

ROOM = "thread:t"


class Listener:
    """As much of a link as a delivery looks at."""

    def __init__(self, name: str) -> None:
        self.sid = name
        self.packets: list[Encoded] = []
        self.broken = False

    def send(self, encoded: Encoded) -> None:
        if self.broken:
            raise OSError("broken")
        self.packets.append(encoded)

    def offsets(self) -> list[int]:
        """Where the reader stands after each event; checks that each begins where the last one ended."""
        heard: list[int] = []
        for packet in self.packets:
            for text in packet.parts:
                event = json.loads(str(text)[2:])[1]
                if "offset" in event:
                    since = event.get("since", event["offset"] - 1)
                    assert not heard or heard[-1] == since
                    heard.append(event["offset"])
        return heard


class Room:
    """A hub with one room, and the stream of the same name."""

    def __init__(self, members: int, room: str = ROOM) -> None:
        self.room = room
        self.hub = Hub()
        self.delivery = Delivery(self.hub)
        self.offset = 0
        self.listeners: list[Listener] = []
        self.connections: list[Connection] = []
        for _ in range(members):
            self.enter()

    def enter(self) -> None:
        listener = Listener(f"s{len(self.listeners)}")
        session = SessionRecord("session", "ann")
        connection = Connection(cast(Link, listener), User("ann", "Ann"), session, None, None)
        self.hub.add(connection)
        self.hub.join(self.room, connection)
        self.listeners.append(listener)
        self.connections.append(connection)

    def append(self, count: int = 1, type: str = "chat:title", data: dict | None = None) -> None:
        events = []
        for _ in range(count):
            self.offset += 1
            events.append(Event(self.room, "e", self.offset, type, data or {"title": "x"}, 1))
        self.delivery.events(self.room, events)

    def told(self) -> int:
        return sum(len(listener.packets) for listener in self.listeners)


async def turn() -> None:
    await asyncio.sleep(0)


async def test_no_turn_tells_more_than_its_part_and_everybody_is_told():
    room = Room(3 * LARGE)
    told = []

    room.append()
    while not told or told[-1] != room.told():
        told.append(room.told())
        await turn()

    assert told[0] == MEMBERS_PER_TURN
    assert {late - early for early, late in pairwise(told)} == {MEMBERS_PER_TURN}
    assert all(listener.offsets() == [1] for listener in room.listeners)


async def test_a_room_that_is_not_large_is_told_at_once():
    room = Room(LARGE)

    room.append()

    assert room.told() == LARGE


async def test_an_event_does_not_wait_until_the_one_before_has_gone_round():
    parts = 5
    room = Room(parts * MEMBERS_PER_TURN)
    room.append()
    await turn()

    room.append()
    await turn()

    def packets() -> list[int]:
        return [len(one.packets) for one in room.listeners[::MEMBERS_PER_TURN]]

    # The third part hears both events, in one packet; the first two hear of the second one at last.
    assert packets() == [1, 1, 1, 0, 0]
    assert room.listeners[2 * MEMBERS_PER_TURN].offsets() == [1, 2]
    for _ in range(parts):
        await turn()
    assert all(listener.offsets() == [1, 2] for listener in room.listeners)
    assert packets() == [2, 2, 1, 1, 1]


async def test_several_rooms_share_the_turns():
    first, second = Room(2 * LARGE), Room(2 * LARGE, "thread:u")
    second.hub, second.delivery = first.hub, first.delivery
    for connection in second.connections:
        first.hub.join("thread:u", connection)

    first.append()
    second.append()
    assert (first.told(), second.told()) == (MEMBERS_PER_TURN, 0)

    for _ in range(4):
        await turn()

    assert (first.told(), second.told()) == (3 * MEMBERS_PER_TURN, 2 * MEMBERS_PER_TURN)


async def test_who_leaves_before_its_part_hears_nothing_also_after_coming_back():
    room = Room(2 * LARGE)
    room.append()
    for connection, comes_back in zip(
        room.connections[-4:], (True, False, True, False), strict=True
    ):
        room.hub.leave(ROOM, connection)
        if comes_back:
            room.hub.join(ROOM, connection)

    room.append()
    for _ in range(20):
        await turn()

    assert [one.offsets() for one in room.listeners[-5:]] == [[1, 2], [2], [], [2], []]


async def test_what_ends_access_is_heard_after_everything_before_it_and_by_all():
    room = Room(2 * LARGE)
    out: list[Connection] = []

    def take_out(event: Event) -> None:
        for connection in room.connections[-3:]:
            room.hub.leave(ROOM, connection)
            out.append(connection)

    room.delivery.access_changed = take_out
    room.append()

    room.append(type=ACCESS, data={})
    assert all(listener.offsets() == [1, 2] for listener in room.listeners)
    room.append()
    for _ in range(20):
        await turn()

    assert len(out) == 3
    assert all(listener.offsets() == [1, 2, 3] for listener in room.listeners[:-3])
    assert all(listener.offsets() == [1, 2] for listener in room.listeners[-3:])


async def test_after_a_loss_nothing_of_before_is_told():
    room = Room(2 * LARGE)
    room.append()

    room.delivery.lost(ROOM)
    for _ in range(20):
        await turn()

    assert room.listeners[0].offsets() == [1]
    assert room.listeners[-1].offsets() == []
    assert len(room.listeners[-1].packets) == 1


async def test_a_room_that_became_small_meanwhile_is_told_in_order():
    room = Room(LARGE + 1)
    room.append()
    for connection in room.connections[:100]:
        room.hub.leave(ROOM, connection)

    room.append()
    for _ in range(20):
        await turn()

    assert all(listener.offsets() == [1, 2] for listener in room.listeners[100:])


async def test_who_appends_without_a_pause_does_not_pile_up_events():
    room = Room(LARGE + 1)

    for _ in range(MAX_WAITING + 1):
        room.append(type="message:delta", data={"id": "m", "text": "x"})

    assert all(listener.offsets()[-1] == MAX_WAITING + 1 for listener in room.listeners)


async def test_one_broken_link_keeps_nobody_else_from_hearing():
    room = Room(2 * LARGE)
    loop, problems = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: problems.append(context["exception"]))
    room.listeners[5].broken = room.listeners[LARGE].broken = True

    with pytest.raises(OSError, match="broken"):
        room.append()
    for _ in range(20):
        await turn()

    assert [str(problem) for problem in problems] == ["broken"]
    assert sum(listener.offsets() == [1] for listener in room.listeners) == 2 * LARGE - 2


async def test_nobody_is_left_out_where_links_break_before_access_ends():
    room, changed = Room(4 * MEMBERS_PER_TURN), []
    room.delivery.access_changed = lambda event: changed.append(event.offset)
    room.append()
    await turn()
    room.append()
    for number in (-1, 5):
        room.listeners[number].broken = True

    with pytest.raises(OSError, match="broken"):
        room.append(type=ACCESS, data={})

    whole = [one for one in room.listeners if not one.broken]
    assert all(listener.offsets() == [1, 2, 3] for listener in whole)
    assert changed == [3]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 3)),
        st.tuples(st.just("turn"), st.just(0)),
        st.tuples(st.just("enter"), st.integers(0, 30)),
        st.tuples(st.just("leave"), st.integers(0, 30)),
    ),
    max_size=40,
)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_rooms, "LARGE", 2)
    monkeypatch.setattr(large_rooms, "MEMBERS_PER_TURN", 3)


@pytest.mark.usefixtures("small_parts")
@settings(max_examples=300)
@given(st.integers(3, 12), STEPS)
def test_everybody_hears_all_from_joining_on_once_and_in_order(
    members: int, steps: list[tuple[str, int]]
) -> None:
    """`offsets` checks that nothing is missing or doubled in between, also where somebody left for a while:
    there the room's position at the return is what counts."""

    async def act() -> None:
        room = Room(members)
        starts: dict[int, list[tuple[int, int]]] = {at: [(0, 0)] for at in range(members)}
        """For each connection: how many packets it had, and the room's position, whenever it came."""
        for step, number in steps:
            if step == "append":
                room.append(number)
            elif step == "turn":
                await turn()
            elif step == "enter" and number >= len(room.connections):
                starts[len(room.connections)] = [(0, room.offset)]
                room.enter()
            elif number < len(room.connections):
                connection, listener = room.connections[number], room.listeners[number]
                inside = ROOM in connection.rooms
                if step == "enter" and not inside:
                    room.hub.join(ROOM, connection)
                    starts[number].append((len(listener.packets), room.offset))
                elif step == "leave" and inside:
                    room.hub.leave(ROOM, connection)
        for _ in range(100):
            await turn()
        for at, stays in starts.items():
            whole = room.listeners[at].packets
            ends = [packets for packets, _ in stays[1:]] + [len(whole)]
            for (first, position), last in zip(stays, ends, strict=True):
                stay = Listener("stay")
                stay.packets = whole[first:last]
                heard = stay.offsets()
                assert heard == list(range(position + 1, position + 1 + len(heard)))
            if ROOM in room.connections[at].rooms:
                assert position + len(heard) == room.offset

    asyncio.run(act())
