"""Code that runs in the middle of a step, and takes away what the step works with.

Each of these runs in a process of its own: what is wrong here ends a process, and the other tests should be
heard of."""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.unit.native.wires import (
    SECONDS,
    CountedTurn,
    Recorder,
    framed,
    outlet_of,
    packet,
    port_of,
)
from tests.unit.transports.test_turn import Loop

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])


def outlet_with(form: ModuleType, transport: Any) -> Any:
    outlet = outlet_of(form)()
    outlet.turn = CountedTurn(Loop())
    outlet.attach(transport, -1)
    return outlet


def a_connection_that_goes_while_its_outbox_is_looked_at(form: ModuleType) -> None:
    class Connection:
        carrier = None

        @property
        def outbox(self) -> None:
            del link.connection

        def send(self, encoded: Any) -> None:
            raise AssertionError("never asked")

    link = port_of(form)()
    link.connection = Connection()
    link.live = True
    try:
        link.send(packet(1))
    except AttributeError:
        # `carrier` is None; what counts is that it is found in spite of all.
        return
    raise AssertionError("written nowhere")


def a_connection_that_goes_while_it_is_asked(form: ModuleType) -> None:
    class Connection:
        outbox = object()

        def send(self, encoded: Any) -> None:
            del link.connection
            gc.collect()
            seen.append(encoded)

    seen: list[Any] = []
    link = port_of(form)()
    link.connection = Connection()
    link.live = True
    one = packet(1)
    link.send(one)
    assert seen == [one]


def a_carrier_that_goes_while_it_is_written_to(form: ModuleType) -> None:
    class Carrier:
        def write(self, encoded: Any) -> bool:
            connection.carrier = link.connection = None
            gc.collect()
            return True

    class Connection:
        outbox = None
        carrier: Any = Carrier()

    link, connection = port_of(form)(), Connection()
    link.connection = connection
    link.live = True
    link.send(packet(1))


def a_finalizer_that_flushes_while_a_packet_is_noted(form: ModuleType) -> None:
    class Knot:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            outlet.flush()

    recorder = Recorder()
    outlet = outlet_with(form, recorder)
    first, second = packet(1), packet(2)
    before = sys.getrefcount(first)
    gc.disable()
    # New lists come from the collected memory only when no freed one is left to be used again.
    kept: list[list[int]] = [[] for _ in range(1000)]
    outlet.write(first)
    Knot()
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    gc.enable()
    outlet.write(second)
    gc.set_threshold(*threshold)
    outlet.flush()
    del kept
    gc.collect()
    assert b"".join(recorder.written).endswith(framed(second))
    assert sys.getrefcount(first) == before


def a_transport_that_is_replaced_while_it_writes(form: ModuleType) -> None:
    class Leaving(Recorder):
        def write(self, data: Any) -> None:
            outlet.attach(other, -1)
            gc.collect()
            super().write(data)
            kept.extend(self.written)

    kept: list[bytes] = []
    other = Recorder()
    outlet = outlet_with(form, Leaving())
    outlet.put(b"one")
    outlet.put(b"two")
    assert (kept, other.written) == ([b"one"], [b"two"])


def a_transport_that_writes_more_while_it_writes(form: ModuleType) -> None:
    class Answering(Recorder):
        def write(self, data: Any) -> None:
            super().write(data)
            if len(self.written) < 3:
                outlet.write(packet(len(self.written)))
                outlet.flush()

    recorder = Answering()
    outlet = outlet_with(form, recorder)
    for number in range(10, 13):
        outlet.write(packet(number))
    outlet.flush()
    assert recorder.written == [
        framed(*map(packet, range(10, 13))),
        framed(packet(1)),
        framed(packet(2)),
    ]


def a_turn_that_goes_while_it_is_scheduled(form: ModuleType) -> None:
    class Going(CountedTurn):
        def schedule(self) -> None:
            outlet.turn = None
            gc.collect()

    outlet = outlet_with(form, Recorder())
    outlet.turn = Going(Loop())
    assert outlet.write(packet(1)) is True
    outlet.flush()
    assert outlet.transport.written == [framed(packet(1))]


def a_list_that_shrinks_while_it_is_put(form: ModuleType) -> None:
    class Shrinking:
        deflated = None

        @property
        def framed(self) -> bytes:
            packets.clear()
            gc.collect()
            return b"framed"

    outlet = outlet_with(form, Recorder())
    packets: list[Any] = [Shrinking(), *map(packet, range(300))]
    try:
        outlet.put_packets(packets)
    except IndexError:
        return
    assert outlet.transport.written == [b"framed"]


def carriers_that_go_while_they_are_flushed(form: ModuleType) -> None:
    class Clearing:
        def flush(self) -> None:
            carriers.clear()
            gc.collect()

    carriers: list[Any] = [Clearing(), *(outlet_with(form, Recorder()) for _ in range(10))]
    form.flush_each(carriers, 0, 11)
    assert carriers == []


def an_outlet_that_is_told_of_while_it_is_collected(form: ModuleType) -> None:
    class Knot:
        """Its finalizer runs when its outlet is garbage, too."""

        def __init__(self) -> None:
            self.outlet = outlet_with(form, Recorder())
            self.outlet.itself = self
            self.outlet.write(packet(1))

        def __del__(self) -> None:
            self.outlet.write(packet(2))
            self.outlet.flush()
            written.extend(self.outlet.transport.written)

    written: list[bytes] = []
    Knot()
    gc.collect()
    assert written == [framed(packet(1), packet(2))]


SCENES = [
    a_connection_that_goes_while_its_outbox_is_looked_at,
    a_connection_that_goes_while_it_is_asked,
    a_carrier_that_goes_while_it_is_written_to,
    a_finalizer_that_flushes_while_a_packet_is_noted,
    a_transport_that_is_replaced_while_it_writes,
    a_transport_that_writes_more_while_it_writes,
    a_turn_that_goes_while_it_is_scheduled,
    a_list_that_shrinks_while_it_is_put,
    carriers_that_go_while_they_are_flushed,
    an_outlet_that_is_told_of_while_it_is_collected,
]


def perform(scene: Callable[[ModuleType], None], form: str) -> None:
    scene(importlib.import_module(form))


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_a_process_survives(form, scene):
    process = PROCESSES.Process(target=perform, args=(scene, form.__name__))
    process.start()
    try:
        process.join(SECONDS)

        assert process.exitcode == 0
    finally:
        process.kill()
        process.join()
