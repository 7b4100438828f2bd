"""What goes to a socket past its transport, and what does not."""

from __future__ import annotations

import os
import socket

from tests.unit.native.wires import Recorder, Wired, framed, outlet_of, packet, receive_now


def test_while_the_transport_holds_something_all_goes_behind_it(form):
    with Wired(form) as wired:
        holding = Recorder(buffered=1)
        wired.outlet.attach(holding, wired.wire.socket.fileno())
        wired.outlet.write(packet(1))
        wired.outlet.write(packet(2))
        messages = wired.end_turn()

        wired.outlet.put(b"put")
        wired.outlet.put_packets([packet(3)])

        assert messages == wired.wire.heard() == []
        assert b"".join(holding.written) == framed(packet(1), packet(2)) + b"put" + framed(
            packet(3)
        )


def test_a_transport_that_is_new_is_looked_at_anew(form):
    with Wired(form) as wired:
        wired.outlet.put(b"before")
        wired.wire.heard()
        holding = Recorder(buffered=1)

        wired.outlet.attach(holding, wired.wire.socket.fileno())
        wired.outlet.put(b"put")

        assert holding.written == [b"put"]
        assert wired.wire.heard() == []


def test_what_a_socket_does_not_take_goes_to_the_transport_from_where_it_stopped(form):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    packets = [packet(number, size=number * 1000) for number in range(100)]
    with Wired(form) as wired, ours, theirs:
        rest = Recorder()
        wired.outlet.attach(rest, ours.fileno())

        for one in packets[:50]:
            wired.outlet.write(one)
        wired.loop.turn()
        rest.buffered = 1
        wired.outlet.put_packets(packets[50:])

        taken = receive_now(theirs, 1 << 24) or b""
        assert taken + b"".join(rest.written) == framed(*packets)


def test_the_compiled_form_leaves_the_transport_out_where_the_socket_takes_all(compiled):
    with Wired(compiled) as wired:
        wired.outlet.write(packet(1))
        wired.outlet.write(packet(2))
        wired.loop.turn()
        wired.outlet.put(b"put")
        wired.outlet.put_packets([packet(3)])

        messages = wired.wire.heard()

        assert messages == [framed(packet(1), packet(2)), b"put", framed(packet(3))]
        assert wired.wire.written == []


def test_the_compiled_form_writes_directly_again_when_the_transport_holds_no_more(compiled):
    with Wired(compiled) as wired:
        wired.wire.buffered = 1
        wired.outlet.put(b"held")
        wired.wire.buffered = 0

        wired.outlet.put(b"put")

        assert wired.wire.heard() == [b"held", b"put"]
        assert wired.wire.written == [b"held"]


def test_after_a_detach_nothing_is_written_to_the_descriptor_whoever_has_it_now(form):
    former, peer = socket.socketpair()
    stranger, hears = socket.socketpair()
    hears.setblocking(False)
    number = former.fileno()
    with Wired(form) as wired, peer, stranger, hears:
        recorder = Recorder()
        wired.outlet.attach(recorder, number)
        wired.outlet.put(b"before")
        recorder.written.clear()
        wired.outlet.write(packet(1))
        wired.outlet.detach()
        former.close()
        os.dup2(stranger.fileno(), number)
        try:
            wired.loop.turn()
            wired.outlet.write(packet(2))
            wired.outlet.flush()
            wired.outlet.put(b"put")
            wired.outlet.put_packets([packet(3), packet(4)])
        finally:
            os.close(number)

        assert receive_now(hears) is None
        assert recorder.written == [
            framed(packet(1)),
            framed(packet(2)),
            b"put",
            framed(packet(3), packet(4)),
        ]


def test_a_transport_that_broke_keeps_nothing_from_the_others_of_the_turn(form):
    class Broken(Recorder):
        def write(self, data) -> None:
            raise RuntimeError("the handler is closed")

    with Wired(form) as wired:
        broken = outlet_of(form)()
        broken.turn = wired.turn
        broken.attach(Broken(), -1)
        broken.write(packet(1))
        wired.outlet.write(packet(1))

        messages = wired.end_turn()

        assert messages == [framed(packet(1))]
