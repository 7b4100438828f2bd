"""What a delivery may cost, counted: tasks, writes and memory blocks. Times are the benchmarks' business."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest

from parlour.core.streams import Event
from parlour.server.delivery import encode_stream_event
from parlour.server.endpoint import Ack, Link
from parlour.server.outbox import OutboxLimits
from parlour.transports.socketio import SocketSettings, SocketTransport
from parlour.transports.socketio.arrivals import BEGUN_PER_TURN
from parlour.transports.socketio.fast import fast_protocol
from parlour.wire.packets import Encoded, join_encoded
from parlour.wire.socketio import encode_event
from tests.interop.protocol_server import SystemClock
from tests.unit.wire.test_websocket import client_frame

CLIENTS = 100
REQUEST = (
    b"GET /ws/socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n"
    b"connection: Upgrade\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Pipe(asyncio.Transport):
    """The network's end: counts what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.bytes = 0
        self.kept: list[bytes] | None = None
        self.aborted = False

    def write(self, data) -> None:
        self.writes += 1
        self.bytes += len(data)
        if self.kept is not None:
            self.kept.append(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high=None, low=None) -> None:
        pass

    def get_extra_info(self, name, default=None):
        return ("127.0.0.1", 1) if name == "peername" else default

    def close(self) -> None:
        pass

    def abort(self) -> None:
        self.aborted = True


def read_events(data: bytes) -> list[dict[str, Any]]:
    """The payloads of the events in a server's frames."""
    events = []
    while data:
        length, head = data[1], 2
        if length == 126:
            length, head = int.from_bytes(data[2:4], "big"), 4
        elif length == 127:
            length, head = int.from_bytes(data[2:10], "big"), 10
        events.append(json.loads(data[head : head + length][2:])[1])
        data = data[head + length :]
    return events


class UvicornSide:
    """What uvicorn gives its protocols."""

    proxy_headers = False
    forwarded_allow_ips = None

    def __init__(self) -> None:
        self.connections: set[Any] = set()


class Room:
    """An endpoint whose links are all in one room."""

    def __init__(self) -> None:
        self.links: list[Link] = []

    async def connect(self, link: Link, namespace: str, auth: Any) -> Mapping[str, Any]:
        self.links.append(link)
        return {}

    def receive(self, link: Link, event: str, args: Sequence[Any], ack: Ack | None) -> None:
        if ack is not None:
            ack({"ok": True})

    def disconnected(self, link: Link, reason: str) -> None:
        pass

    def broadcast(self, packet) -> None:
        for link in self.links:
            link.send(packet)


class Bench:
    """A transport with clients, and what has been counted since `start`."""

    def __init__(self, transport: SocketTransport, room: Room) -> None:
        self.room = room
        self.pipes: list[Pipe] = []
        self.tasks = 0
        self.protocols: list[Any] = []
        self._build = fast_protocol(transport)
        self._side = UvicornSide()

    def connect(self) -> None:
        pipe = Pipe()
        protocol = self._build(self._side, self._side, None)
        protocol.connection_made(pipe)
        protocol.data_received(REQUEST)
        protocol.data_received(client_frame(1, b"40"))
        self.pipes.append(pipe)
        self.protocols.append(protocol)

    async def turn(self) -> None:
        """Until what was noted in this turn is written."""
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def count_tasks(self, loop: asyncio.AbstractEventLoop) -> None:
        def make(loop, coroutine, **options):
            self.tasks += 1
            return asyncio.Task(coroutine, loop=loop, **options)

        loop.set_task_factory(make)

    def start(self) -> None:
        """Count from here: the test's own task was one, too."""
        self.tasks = 0
        for pipe in self.pipes:
            pipe.writes = 0

    @property
    def writes(self) -> list[int]:
        return [pipe.writes for pipe in self.pipes]


@pytest.fixture
async def bench():
    room = Room()
    async with SocketTransport(room, SocketSettings(), SystemClock()) as transport:
        bench = Bench(transport, room)
        for _ in range(CLIENTS):
            bench.connect()
        while len(room.links) < CLIENTS:  # noqa: ASYNC110 - nobody tells when the last one is in
            await asyncio.sleep(0)
        await bench.turn()
        bench.count_tasks(asyncio.get_running_loop())
        yield bench
        asyncio.get_running_loop().set_task_factory(None)


async def test_an_event_costs_one_write_per_client_and_no_task(bench):
    bench.start()

    bench.room.broadcast(encode_event("e", [{"text": "token"}]))
    await bench.turn()

    assert bench.writes == [1] * CLIENTS
    assert bench.tasks == 0


async def test_everything_of_one_turn_leaves_in_one_write_per_client(bench):
    bench.start()

    for number in range(16):
        bench.room.broadcast(encode_event("e", [number]))
    bench.room.broadcast(join_encoded([encode_event("f", [number]) for number in range(16)]))
    await bench.turn()

    assert bench.writes == [1] * CLIENTS


async def test_a_request_costs_one_write_and_no_task(bench):
    bench.start()

    for number in range(3):
        bench.protocols[0].data_received(client_frame(1, b'42%d["a",{}]' % number))
    await bench.turn()

    assert bench.writes == [1] + [0] * (CLIENTS - 1)
    assert bench.tasks == 0


async def test_a_connect_that_needs_no_waiting_costs_no_task(bench):
    bench.start()

    asyncio.get_running_loop().call_soon(bench.connect)
    await bench.turn()
    await bench.turn()

    assert len(bench.room.links) == CLIENTS + 1
    assert bench.tasks == 0


async def test_a_crowd_that_comes_in_one_turn_is_let_in_over_several(bench):
    loop, counts = asyncio.get_running_loop(), []

    def look() -> None:
        counts.append(len(bench.room.links))
        if counts[-1] < 3 * CLIENTS:
            loop.call_soon(look)

    loop.call_soon(lambda: [bench.connect() for _ in range(2 * CLIENTS)])
    loop.call_soon(look)
    while not counts or counts[-1] < 3 * CLIENTS:  # noqa: ASYNC110
        await asyncio.sleep(0)

    assert max(b - a for a, b in pairwise([CLIENTS, *counts])) <= BEGUN_PER_TURN


async def test_what_a_client_sends_before_it_is_answered_is_read_when_it_is(bench):
    came = len(bench.room.links)
    loop = asyncio.get_running_loop()

    def crowd() -> None:
        for _ in range(2 * BEGUN_PER_TURN):
            bench.connect()

    loop.call_soon(crowd)
    for _ in range(20):
        await asyncio.sleep(0)

    # The last of them had sent its CONNECT before anybody had read its request.
    assert len(bench.room.links) == came + 2 * BEGUN_PER_TURN


async def test_who_leaves_while_it_waits_to_be_let_in_is_not_let_in(bench):
    came = len(bench.room.links)

    def crowd() -> None:
        for _ in range(2 * BEGUN_PER_TURN):
            bench.connect()
        for protocol in bench.protocols[-BEGUN_PER_TURN:]:
            protocol.connection_lost(None)

    asyncio.get_running_loop().call_soon(crowd)
    for _ in range(20):
        await asyncio.sleep(0)

    assert came <= len(bench.room.links) <= came + BEGUN_PER_TURN


async def test_who_floods_before_it_is_answered_is_cut_off(bench):
    came = len(bench.room.links)

    def crowd() -> None:
        for _ in range(BEGUN_PER_TURN):
            bench.connect()
        flooder = bench.protocols[-1]
        for _ in range(3):
            flooder.data_received(bytes(32 * 1024))

    asyncio.get_running_loop().call_soon(crowd)
    for _ in range(20):
        await asyncio.sleep(0)

    assert [pipe.aborted for pipe in bench.pipes[-2:]] == [False, True]
    assert len(bench.room.links) == came + BEGUN_PER_TURN - 1


def delta(text: str, offset: int) -> Encoded:
    event = Event("thread:t", "e", offset, "message:delta", {"id": "m", "text": text}, 0)
    return encode_stream_event(event)


async def test_one_who_does_not_read_costs_the_others_nothing_and_gets_its_text_whole(bench):
    count, slow = 3000, bench.protocols[0]
    slow.pause_writing()
    bench.start()

    for offset in range(1, count + 1):
        bench.room.broadcast(delta(f"{offset:05} of some text, ", offset))
        await bench.turn()

    assert bench.writes == [0] + [count] * (CLIENTS - 1)
    (waiting,) = [link.buffered for link in bench.room.links if link.connection.carrier is slow]
    assert 0 < waiting < OutboxLimits().high_water + 2 * count * len("00000 of some text, ")
    kept = bench.pipes[0].kept = []
    slow.resume_writing()
    text = "".join(event["data"]["data"]["text"] for event in read_events(b"".join(kept)))
    assert text == "".join(f"{offset:05} of some text, " for offset in range(1, count + 1))


async def test_a_broadcast_is_framed_once(bench):
    packet = encode_event("e", [{"text": "token"}])
    bench.room.broadcast(packet)
    await bench.turn()
    framed = packet.framed

    bench.room.broadcast(packet)
    await bench.turn()

    assert packet.framed is framed
    assert {pipe.bytes for pipe in bench.pipes} == {bench.pipes[0].bytes}


async def test_deliveries_leave_no_memory_behind(bench):
    async def deliver() -> None:
        for _ in range(50):
            bench.room.broadcast(encode_event("e", [{"text": "token"}]))
            await bench.turn()
        gc.collect()

    await deliver()
    before = sys.getallocatedblocks()
    await deliver()
    grown = sys.getallocatedblocks() - before

    # 5,000 deliveries: a single block kept for each would show.
    assert grown < 500


async def test_a_closed_connection_leaves_nothing_for_the_collector(bench):
    bench.room.links.clear()
    bench.pipes.clear()
    gc.collect()
    gc.disable()
    try:
        while bench.protocols:
            bench.protocols.pop().connection_lost(None)
        await bench.turn()

        assert gc.collect() < CLIENTS
    finally:
        gc.enable()


async def test_an_idle_connection_is_a_handful_of_objects(bench):
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(CLIENTS):
        bench.connect()
    while len(bench.room.links) < 2 * CLIENTS:  # noqa: ASYNC110
        await asyncio.sleep(0)
    await bench.turn()
    gc.collect()

    tracked = (len(gc.get_objects()) - before) / CLIENTS
    assert tracked <= 20
