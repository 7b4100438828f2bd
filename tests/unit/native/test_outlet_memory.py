"""What outlets and ports keep, and for how long."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from parlour.wire.websocket import frame_encoded
from tests.unit.native.wires import (
    CountedTurn,
    Recorder,
    Wired,
    outlet_of,
    packet,
    port_of,
)
from tests.unit.transports.test_turn import Loop

OFTEN = 1000


class Holder(Recorder):
    """A transport that knows its protocol, as they do."""

    protocol: Any = None


def by_itself(outlet: Any) -> None:
    outlet.itself = outlet


def by_its_transport(outlet: Any) -> None:
    holder = Holder()
    holder.protocol = outlet
    outlet.attach(holder, -1)


def by_its_turn(outlet: Any) -> None:
    outlet.turn = CountedTurn(Loop())
    outlet.write(packet(1))


def by_what_it_noted(outlet: Any) -> None:
    outlet.turn = CountedTurn(Loop())
    one = packet(1)
    one.delta = outlet
    outlet.write(one)
    outlet.turn.waiting.clear()


@pytest.mark.parametrize("tie", [by_itself, by_its_transport, by_its_turn, by_what_it_noted])
def test_an_outlet_that_refers_to_itself_is_collected(form, tie):
    outlet = outlet_of(form)()
    tie(outlet)
    seen = weakref.ref(outlet)
    del outlet
    before = seen()

    del before
    gc.collect()

    assert seen() is None


def test_a_port_that_refers_to_itself_is_collected(form):
    port = port_of(form)()
    port.connection = [port]
    seen = weakref.ref(port)

    del port
    gc.collect()

    assert seen() is None


def test_one_that_refers_to_nothing_of_its_own_needs_no_collector(form):
    recorder, turn = Recorder(), CountedTurn(Loop())
    outlet, port = outlet_of(form)(), port_of(form)()
    outlet.turn, port.connection = turn, outlet
    outlet.attach(recorder, -1)
    seen = [weakref.ref(outlet), weakref.ref(port)]
    gc.disable()
    try:
        del outlet, port

        assert [one() for one in seen] == [None, None]
    finally:
        gc.enable()


def test_what_was_noted_goes_with_its_outlet(form):
    turn, one = CountedTurn(Loop()), packet(1)
    outlets = [outlet_of(form)() for _ in range(3)]
    before = sys.getrefcount(one)
    for number, outlet in enumerate(outlets):
        outlet.turn = turn
        for _ in range(number):
            outlet.write(one)
    noted = sys.getrefcount(one)

    turn.waiting.clear()
    outlet = None
    outlets.clear()

    assert noted == before + 3
    assert sys.getrefcount(one) == before


def written(wired: Wired, one: Any) -> None:
    wired.outlet.write(one)
    wired.outlet.flush()


def written_together(wired: Wired, one: Any) -> None:
    wired.outlet.write(one)
    wired.outlet.write(one)
    wired.outlet.write(one)
    wired.loop.turn()


def put(wired: Wired, one: Any) -> None:
    wired.outlet.write(one)
    wired.outlet.put(b"put")
    wired.outlet.put_packets([one, one])


def refused(wired: Wired, one: Any) -> None:
    wired.outlet.paused = True
    wired.outlet.write(one)
    wired.outlet.paused = False


def attached(wired: Wired, one: Any) -> None:
    wired.outlet.attach(wired.wire, wired.outlet.fd)
    wired.outlet.turn = wired.turn


def failed(wired: Wired, one: Any) -> None:
    frames, one.framed = one.framed, "no bytes"
    for noted in (1, 2):
        for _ in range(noted):
            wired.outlet.write(one)
        with pytest.raises(TypeError):
            wired.outlet.flush()
    one.framed = frames


def sent_through_a_port(wired: Wired, one: Any) -> None:
    port = port_of(wired.form)()
    port.connection = port
    port.send(one)
    port.connection = None


WAYS = [written, written_together, put, refused, attached, failed, sent_through_a_port]


def counts(*kept: Any) -> list[int]:
    return [sys.getrefcount(one) for one in kept]


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_referred_to_once_more_than_before(wired, way: Callable[[Wired, Any], None]):
    one = packet(1)
    frame_encoded(one)
    kinds = outlet_of(wired.form), port_of(wired.form)
    kept = [one, one.framed, wired.wire, wired.turn, wired.outlet, *kinds]

    def often(times: int) -> list[int]:
        for _ in range(times):
            way(wired, one)
            wired.end_turn()
            wired.wire.written.clear()
        gc.collect()
        return counts(*kept)

    before = often(1)

    after = often(OFTEN)

    assert after == before


@pytest.mark.parametrize("way", WAYS)
def test_what_was_written_leaves_no_memory_behind(wired, way: Callable[[Wired, Any], None]):
    def often() -> int:
        for number in range(OFTEN):
            way(wired, packet(number))
            wired.wire.written.clear()
            wired.end_turn()
        gc.collect()
        return sys.getallocatedblocks()

    often()
    before = often()
    after = often()

    # A single block for each would be 1000.
    assert after - before < 100


def test_those_that_came_and_went_leave_no_memory_behind(form):
    loop, kinds = Loop(), (outlet_of(form), port_of(form))
    turn = CountedTurn(loop)

    def often() -> tuple[int, list[int]]:
        for number in range(OFTEN):
            outlet, port = (kind() for kind in kinds)
            outlet.turn, port.connection = turn, outlet
            outlet.attach(Recorder(), -1)
            outlet.write(packet(number))
            if number % 2:
                # Half of them go with what they noted.
                turn.waiting.clear()
            loop.turn()
        del outlet, port
        gc.collect()
        return sys.getallocatedblocks(), counts(*kinds)

    often()
    blocks, references = often()

    after, now = often()

    assert now == references
    assert after - blocks < 100


def test_a_room_that_is_told_keeps_nothing(form):
    class Connection:
        def __init__(self, link: Any) -> None:
            self.link = link

    class Broken:
        def send(self, encoded: Any) -> None:
            raise ValueError("broken")

    one = packet(1)
    room = (Connection(port_of(form)()), Connection(Broken()), Connection(Broken()), object())

    def tell() -> None:
        with pytest.raises(ValueError, match="broken"):
            form.tell(room, one)
        room[0].link.held.clear()

    def often(times: int) -> list[int]:
        for _ in range(times):
            tell()
        gc.collect()
        return counts(one, room, *room, *links)

    links = [connection.link for connection in room[:3]]
    before = often(1)

    after = often(OFTEN)

    assert after == before
