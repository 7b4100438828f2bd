"""Wrong arguments are a TypeError and never a crash.

The pure form says of some what Python says of them, or takes them; those are asked of the compiled one."""

from __future__ import annotations

import pytest

from parlour.wire.packets import Encoded
from tests.unit.native.wires import CountedTurn, Recorder, Wired, outlet_of, packet, port_of
from tests.unit.transports.test_turn import Loop


@pytest.mark.parametrize("args", [(), (1,), (1, 2, 3), ((), 2, 3)])
def test_tell_takes_two_arguments(form, args):
    with pytest.raises(TypeError):
        form.tell(*args)


@pytest.mark.parametrize("audience", [None, 1, object()])
def test_tell_takes_no_audience_that_is_not_a_sequence(form, audience):
    with pytest.raises(TypeError):
        form.tell(audience, packet(1))


@pytest.mark.parametrize("audience", [[], {}, set(), "", iter(())])
def test_the_compiled_tell_takes_a_tuple(compiled, audience):
    with pytest.raises(TypeError, match="tuple"):
        compiled.tell(audience, packet(1))


@pytest.mark.parametrize("args", [(), ([],), ([], 0), ([], 0, 1, 2), (None, 0, 0), (1, 0, 0)])
def test_flush_each_takes_a_list_and_two_bounds(form, args):
    with pytest.raises(TypeError):
        form.flush_each(*args)


@pytest.mark.parametrize("bounds", [("0", 1), (0, "1"), (0.0, 1), (0, 1.0), (object(), object())])
def test_the_bounds_of_flush_each_are_numbers(form, bounds):
    with pytest.raises(TypeError):
        form.flush_each([], *bounds)


@pytest.mark.parametrize("carriers", [(), {}, set(), ""])
def test_the_compiled_flush_each_takes_a_list(compiled, carriers):
    with pytest.raises(TypeError, match="list"):
        compiled.flush_each(carriers, 0, 0)


def test_flush_each_says_what_cannot_be_flushed(form):
    with pytest.raises(AttributeError, match="flush"):
        form.flush_each([object()], 0, 1)


@pytest.mark.parametrize("args", [(), (Recorder(),), (Recorder(), 1, 2)])
def test_attach_takes_a_transport_and_a_descriptor(form, args):
    outlet = outlet_of(form)()

    with pytest.raises(TypeError):
        outlet.attach(*args)

    assert (outlet.transport, outlet.fd) == (None, -1)


@pytest.mark.parametrize("descriptor", ["1", 1.5, None, object()])
def test_the_compiled_attach_takes_a_number(compiled, descriptor):
    outlet = outlet_of(compiled)()

    with pytest.raises(TypeError):
        outlet.attach(Recorder(), descriptor)

    assert (outlet.transport, outlet.fd) == (None, -1)


@pytest.mark.parametrize("beyond", [1 << 31, (1 << 32) + 1, 1 << 70, -(1 << 31) - 1])
def test_the_compiled_attach_cuts_no_number_down_to_somebody_elses_descriptor(compiled, beyond):
    outlet = outlet_of(compiled)()

    with pytest.raises(OverflowError):
        outlet.attach(Recorder(), beyond)

    assert (outlet.transport, outlet.fd) == (None, -1)


@pytest.mark.parametrize("method", ["write", "put", "put_packets"])
@pytest.mark.parametrize("args", [(), (packet(1), packet(2))])
def test_what_is_written_is_one_thing(form, method, args):
    with Wired(form) as wired, pytest.raises(TypeError):
        getattr(wired.outlet, method)(*args)


@pytest.mark.parametrize("method", ["flush", "detach"])
def test_nothing_is_given_to_a_flush_or_a_detach(form, method):
    with Wired(form) as wired, pytest.raises(TypeError):
        getattr(wired.outlet, method)(1)


@pytest.mark.parametrize("args", [(), (packet(1), packet(2))])
def test_what_is_sent_is_one_thing(form, args):
    with pytest.raises(TypeError):
        port_of(form)().send(*args)


@pytest.mark.parametrize("framed", ["text", b"x".hex, object()])
@pytest.mark.parametrize("noted", [1, 2, 3])
def test_frames_that_are_no_bytes_are_an_error_and_nothing_is_written(wired, framed, noted):
    broken = packet(0)
    broken.framed = framed
    for number in range(1, noted):
        wired.outlet.write(packet(number))
    wired.outlet.write(broken)

    with pytest.raises(TypeError):
        wired.outlet.flush()

    assert wired.wire.heard() == []
    assert wired.outlet.pending is None
    wired.outlet.put(b"put")
    assert wired.wire.heard() == [b"put"]


@pytest.mark.parametrize("framed", [5, bytearray(b"x"), memoryview(b"x")])
@pytest.mark.parametrize("noted", [1, 2])
def test_the_compiled_form_takes_nothing_but_bytes_for_frames(compiled, framed, noted):
    broken = packet(0)
    broken.framed = framed
    with Wired(compiled) as wired:
        for _ in range(noted):
            wired.outlet.write(broken)

        with pytest.raises(TypeError, match="bytes"):
            wired.outlet.flush()

        assert wired.wire.heard() == []


@pytest.mark.parametrize("one", [1, object(), b"bytes"])
def test_what_is_no_packet_is_an_error_when_it_is_framed(wired, one):
    wired.outlet.write(one)

    with pytest.raises(AttributeError, match="framed"):
        wired.outlet.flush()

    assert wired.wire.heard() == []


def test_a_packet_that_cannot_be_framed_fails_with_its_own_error(wired):
    empty = Encoded(b"x")
    empty.utf8 = None

    wired.outlet.write(empty)

    with pytest.raises(AssertionError):
        wired.outlet.flush()


@pytest.mark.parametrize("data", ["text", 1.5, None, object()])
def test_what_is_put_is_bytes(wired, data):
    with pytest.raises(TypeError):
        wired.outlet.put(data)


@pytest.mark.parametrize("packets", [(packet(1),), None, 1, {}])
def test_the_compiled_form_puts_a_list_of_packets(compiled, packets):
    with Wired(compiled) as wired, pytest.raises(TypeError, match="list"):
        wired.outlet.put_packets(packets)


def test_the_compiled_form_says_that_there_is_no_turn(compiled):
    outlet = outlet_of(compiled)()
    outlet.attach(Recorder(), -1)

    with pytest.raises(RuntimeError, match="without a turn"):
        outlet.write(packet(1))

    assert outlet.pending is None


@pytest.mark.parametrize(("method", "value"), [("put", b"x"), ("put_packets", [packet(1)])])
def test_the_compiled_form_says_that_there_is_no_transport(compiled, method, value):
    outlet = outlet_of(compiled)()

    with pytest.raises(RuntimeError, match="without a transport"):
        getattr(outlet, method)(value)


def test_a_turn_that_cannot_be_scheduled_has_noted_nothing(form):
    class Closed(CountedTurn):
        def schedule(self) -> None:
            raise RuntimeError("the loop is closed")

    outlet = outlet_of(form)()
    outlet.turn = Closed(Loop())

    with pytest.raises(RuntimeError, match="the loop is closed"):
        outlet.write(packet(1))

    assert outlet.pending is None
    assert outlet.turn.waiting == []


@pytest.mark.parametrize("waiting", [None, 1, ()])
def test_a_turn_whose_waiting_is_no_list_is_an_error(form, waiting):
    turn = CountedTurn(Loop())
    turn.waiting = waiting
    outlet = outlet_of(form)()
    outlet.turn = turn

    with pytest.raises((TypeError, AttributeError)):
        outlet.write(packet(1))


@pytest.mark.parametrize("size", ["many", None])
def test_the_compiled_form_says_what_no_transport_answers(compiled, size):
    with Wired(compiled) as wired:
        wired.wire.buffered = size

        with pytest.raises(TypeError):
            wired.outlet.put(b"x")

        assert wired.wire.heard() == []


@pytest.mark.parametrize("name", ["paused", "deflates"])
def test_the_compiled_form_knows_yes_and_no(compiled, name):
    outlet = outlet_of(compiled)()

    with pytest.raises(TypeError):
        setattr(outlet, name, None)


@pytest.mark.parametrize("args", [(), (1,), (1, 2, 3)])
def test_the_compiled_form_is_told_two_ways_of_framing(compiled, args):
    with pytest.raises(TypeError):
        compiled.frame_with(*args)
