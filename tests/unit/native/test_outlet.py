"""What an outlet writes, when, and in which order."""

from __future__ import annotations

import pytest

from parlour.native import MAX_PENDING
from parlour.wire.packets import Encoded, join_encoded
from parlour.wire.websocket import as_framed, frame_deflated
from tests.unit.native.wires import (
    CountedTurn,
    Recorder,
    Wired,
    framed,
    outlet_of,
    packet,
)
from tests.unit.transports.test_turn import Loop


def test_a_packet_is_written_once_and_not_before_the_turn_is_over(wired):
    written = wired.outlet.write(packet(1))
    early = wired.wire.heard()

    messages = wired.end_turn()

    assert written is True
    assert early == []
    assert messages == [framed(packet(1))]
    assert wired.end_turn() == []


@pytest.mark.parametrize("count", [2, 3, MAX_PENDING - 1])
def test_what_is_written_in_one_turn_leaves_at_once_and_in_order(wired, count):
    packets = [packet(number, size=number % 5) for number in range(count)]
    for one in packets:
        wired.outlet.write(one)

    messages = wired.end_turn()

    assert messages == [framed(*packets)]


def test_more_than_may_wait_is_written_early_and_in_order(wired):
    packets = [packet(number) for number in range(1000)]
    for one in packets:
        wired.outlet.write(one)

    early = wired.wire.heard()
    messages = early + wired.end_turn()

    assert messages == [
        framed(*packets[start : start + MAX_PENDING]) for start in range(0, 1000, MAX_PENDING)
    ]
    assert len(early) == 1000 // MAX_PENDING


def test_turns_do_not_run_into_each_other(wired):
    wired.outlet.write(packet(1))
    first = wired.end_turn()
    wired.outlet.write(packet(2))
    wired.outlet.write(packet(3))

    second = wired.end_turn()

    assert [first, second] == [[framed(packet(1))], [framed(packet(2), packet(3))]]


def test_a_batch_leaves_as_its_packets_in_their_place(wired):
    packets = [packet(number) for number in range(5)]
    for one in (packets[0], join_encoded(packets[1:4]), packets[4]):
        wired.outlet.write(one)

    messages = wired.end_turn()

    assert messages == [framed(*packets)]


def test_attachments_follow_their_packet(wired):
    wired.outlet.write(Encoded(('451-["e",{"_placeholder":true,"num":0}]', b"attached")))

    [message] = wired.end_turn()

    assert message.endswith(b"\x82\x08attached")


def test_who_inflates_gets_the_compressed_frames(wired):
    large, small = packet(1, size=5000), packet(2)
    wired.outlet.deflates = True
    wired.outlet.write(large)
    wired.outlet.write(as_framed(b"as it is"))
    wired.outlet.write(small)

    [message] = wired.end_turn()

    assert message == frame_deflated(large) + b"as it is" + framed(small)
    assert len(message) < 500


def test_who_inflates_and_who_does_not_each_get_their_frames_of_one_packet(form):
    large, batch = packet(1, size=5000), join_encoded([packet(2, size=5000), packet(3)])
    with Wired(form) as plain, Wired(form) as inflating:
        inflating.outlet.deflates = True
        heard = []
        for _ in range(2):
            for wired in (plain, inflating):
                wired.outlet.write(large)
                wired.outlet.write(batch)
                heard += wired.end_turn()

        assert heard == 2 * [
            framed(large, batch),
            frame_deflated(large) + frame_deflated(batch),
        ]
        assert heard[0] != heard[1]


def test_a_packet_is_framed_once_for_all(form):
    shared = packet(1)
    with Wired(form) as first, Wired(form) as second:
        first.outlet.write(shared)
        first.end_turn()
        frames = shared.framed

        second.outlet.write(shared)

        assert second.end_turn() == [framed(packet(1))]
        assert frames is not None
        assert shared.framed is frames


@pytest.mark.parametrize("noted", [0, 1, 2])
def test_bytes_that_are_put_leave_at_once_behind_what_was_noted(wired, noted):
    packets = [packet(number) for number in range(noted)]
    for one in packets:
        wired.outlet.write(one)

    wired.outlet.put(b"put")

    assert wired.wire.heard() == [framed(*packets)] * bool(noted) + [b"put"]
    assert wired.end_turn() == []


@pytest.mark.parametrize("count", [1, 2, MAX_PENDING, MAX_PENDING + 1, 2 * MAX_PENDING + 3])
def test_packets_that_are_put_leave_at_once_behind_what_was_noted(wired, count):
    packets = [packet(number) for number in range(count + 2)]
    wired.outlet.write(packets[0])
    wired.outlet.write(packets[1])

    wired.outlet.put_packets(packets[2:])

    assert b"".join(wired.wire.heard()) == framed(*packets)
    assert wired.end_turn() == []


def test_what_is_written_behind_what_was_put_has_its_turn(wired):
    wired.outlet.write(packet(1))
    wired.outlet.put(b"put")
    wired.outlet.write(packet(2))
    put = wired.wire.heard()

    messages = wired.end_turn()

    assert put == [framed(packet(1)), b"put"]
    assert messages == [framed(packet(2))]


def test_while_the_transport_is_full_nothing_is_taken(wired):
    wired.outlet.write(packet(1))
    wired.outlet.paused = True

    taken = [wired.outlet.write(packet(2)), wired.outlet.write(packet(3))]
    wired.outlet.paused = False
    again = wired.outlet.write(packet(4))

    assert taken == [False, False]
    assert again is True
    assert wired.end_turn() == [framed(packet(1), packet(4))]


def test_one_that_is_full_from_the_start_of_a_turn_does_not_wait_for_its_end(wired):
    wired.outlet.paused = True

    wired.outlet.write(packet(1))

    assert wired.outlet.pending is None
    assert wired.turn.waiting == []
    assert wired.turn.scheduled == 0


def test_a_turn_is_scheduled_once_however_much_is_written_in_it(form):
    with Wired(form) as wired:
        others = [outlet_of(form)() for _ in range(10)]
        for other in others:
            other.turn = wired.turn
            other.attach(Recorder(), -1)
        for number in range(3 * MAX_PENDING):
            wired.outlet.write(packet(number))
            others[number % 10].write(packet(number))
        first = wired.turn.scheduled
        wired.end_turn()

        wired.outlet.write(packet(0))

        assert first == 1
        assert wired.turn.scheduled == 2
        assert len(wired.loop.ready) == 1


def test_a_new_outlet_is_open_plain_and_has_nothing(form):
    outlet = outlet_of(form)()

    found = [outlet.pending, outlet.transport, outlet.turn, outlet.fd]

    assert found == [None, None, None, -1]
    assert outlet.paused is False
    assert outlet.deflates is False


def test_what_the_product_looks_at_and_sets(form):
    outlet, recorder, turn = outlet_of(form)(), Recorder(), CountedTurn(Loop())
    first, second = packet(1), packet(2)

    outlet.turn = turn
    outlet.attach(recorder, 7)
    outlet.paused, outlet.deflates = False, True
    outlet.write(first)
    one = outlet.pending
    outlet.write(second)

    assert (outlet.turn, outlet.transport, outlet.fd) == (turn, recorder, 7)
    assert (outlet.paused, outlet.deflates) == (False, True)
    assert one is first
    assert outlet.pending == [first, second]
    outlet.detach()
    assert (outlet.transport, outlet.fd) == (recorder, -1)
