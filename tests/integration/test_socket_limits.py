"""The socket transport at its limits: many clients, slow clients, silent clients, the end."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from parlour.errors import Unavailable
from parlour.server.endpoint import Ack, Link
from parlour.server.outbox import OutboxLimits
from parlour.transports.socketio import SocketSettings, SocketTransport
from parlour.wire.engineio_session import Heartbeat
from parlour.wire.limits import Limits
from parlour.wire.packets import Encoded
from parlour.wire.socketio import encode_event
from tests.interop.protocol_server import SystemClock
from tests.interop.serving import fast, serving
from tests.unit.server.test_outbox import SomeDelta

PATH = "/ws/socket.io"
QUERY = f"{PATH}/?EIO=4&transport=websocket"

pytestmark = pytest.mark.parametrize("kind", ["fast", "asgi"])


class Node:
    """An endpoint that lets everybody in and keeps what happened."""

    def __init__(self) -> None:
        self.links: dict[str, Link] = {}
        self.left: dict[str, list[str]] = {}
        self.cancelled = asyncio.Event()

    async def connect(self, link: Link, namespace: str, auth: Any) -> Mapping[str, Any]:
        if (auth or {}).get("wait"):
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        if (auth or {}).get("break"):
            raise RuntimeError("a bug of the endpoint")
        self.links[link.sid] = link
        return {}

    def receive(self, link: Link, event: str, args: Sequence[Any], ack: Ack | None) -> None:
        if ack is not None:
            ack({"ok": True})
            ack({"ok": "twice"})

    def disconnected(self, link: Link, reason: str) -> None:
        self.left.setdefault(link.sid, []).append(reason)
        del self.links[link.sid]


class Server:
    def __init__(self, port: int, node: Node, transport: SocketTransport) -> None:
        self.port = port
        self.node = node
        self.transport = transport

    async def open(self, query: str = QUERY, **options: Any) -> ClientConnection:
        options = {"compression": None, "max_size": None} | options
        return await connect(f"ws://127.0.0.1:{self.port}{query}", **options)

    async def join(self, **options: Any) -> tuple[ClientConnection, str]:
        """A connected client and its Socket.IO id."""
        client = await self.open(**options)
        await client.recv()
        await client.send("40")
        return client, json.loads((await client.recv())[2:])["sid"]


@asynccontextmanager
async def run(kind: str, **settings: Any) -> AsyncIterator[Server]:
    node = Node()
    transport = SocketTransport(node, SocketSettings(**settings), SystemClock())
    served = fast(transport) if kind == "fast" else {"ws": "websockets-sansio"}
    # Pings of the server below are switched off: an idle client here is idle.
    options = {"ws_ping_interval": None, "backlog": 4096} | served
    async with transport, serving(transport, **options) as port:
        yield Server(port, node, transport)


async def until_closed(client: ClientConnection) -> tuple[list[str | bytes], ConnectionClosed]:
    """What still came, and the end."""
    heard: list[str | bytes] = []
    async with asyncio.timeout(20):
        while True:
            try:
                heard.append(await client.recv())
            except ConnectionClosed as end:
                return heard, end


# many


async def test_a_thousand_clients_at_once_hear_one_event_each_in_order(kind):
    # No pings: on a busy machine one may be due before everybody is in.
    async with run(kind, heartbeat=Heartbeat(interval=3600)) as server:
        waiting = asyncio.Semaphore(100)

        async def join() -> ClientConnection:
            async with waiting:
                return (await server.join(open_timeout=60))[0]

        clients = await asyncio.gather(*(join() for _ in range(1000)))
        assert server.transport.stats()["connections"] == 1000

        for number in range(3):
            packet = encode_event("news", [number])
            for link in list(server.node.links.values()):
                link.send(packet)

        for client in clients:
            assert [await client.recv() for _ in range(3)] == [
                '42["news",0]',
                '42["news",1]',
                '42["news",2]',
            ]
        for client in clients:
            client.transport.abort()


async def test_beyond_the_limit_a_connection_is_refused_and_the_others_stay(kind):
    async with run(kind, max_connections=1) as server:
        client, _ = await server.join()

        with pytest.raises(InvalidStatus):
            await server.open()

        await client.send('421["a"]')
        assert await client.recv() == '431[{"ok":true}]'
        await client.close()


# slow


def slow_socket(port: int) -> socket.socket:
    """A receive buffer that is small and stays so."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", port))
    sock.setblocking(False)
    return sock


async def stalled(server: Server) -> tuple[ClientConnection, Link]:
    """A client that joined and does not read any more."""
    client, sid = await server.join(sock=slow_socket(server.port), max_queue=1)
    client.transport.pause_reading()
    return client, server.node.links[sid]


def delta(since: int, text: str) -> Encoded:
    delta = SomeDelta("s", "m", "e", since, since + 1, text)
    packet = delta.encode(since, since + 1, {"m": text})
    packet.delta = delta
    return packet


async def test_a_slow_reader_gets_its_text_whole_in_fewer_packets(kind):
    limits = OutboxLimits(high_water=32_000, hard=8_000_000)
    async with run(kind, outbox=limits) as server:
        client, link = await stalled(server)
        words = [f"word{number} " + "x" * 200 for number in range(20_000)]
        for number, word in enumerate(words):
            link.send(delta(number, word))
            if number % 500 == 0:
                await asyncio.sleep(0)  # one turn: the transport writes until it is full

        client.transport.resume_reading()
        text, at, packets = "", 0, 0
        while at < len(words):
            message = await client.recv()
            if message == "2":
                continue
            data = json.loads(message[2:])[1]
            assert data["since"] == at
            at, text, packets = data["last"], text + data["texts"]["m"], packets + 1

        assert text == "".join(words)
        assert packets < len(words)
        await client.close()


async def test_a_reader_that_never_reads_is_told_why_and_cut_off(kind):
    limits = OutboxLimits(high_water=16_000, hard=64_000)
    async with run(kind, outbox=limits, close_timeout=0.2) as server:
        client, link = await stalled(server)
        other, sid = await server.join()
        packet = encode_event("data", ["x" * 10_000])

        for _ in range(3000):
            link.send(packet)
            if link.sid in server.node.left:
                break
            await asyncio.sleep(0)

        assert server.node.left[link.sid] == ["slow_consumer"]
        assert server.transport.stats()["slow_consumers"] == 1
        server.node.links[sid].send(encode_event("still", []))
        assert await other.recv() == '42["still"]'
        await other.close()
        client.transport.abort()


# silent


async def test_a_connection_that_never_joins_is_closed(kind):
    async with run(kind, connect_timeout=0.1) as server:
        client = await server.open()

        heard, _ = await until_closed(client)

        assert len(heard) == 1  # the handshake
        assert server.transport.stats()["connections"] == 0


async def test_a_decision_that_takes_too_long_ends_with_the_connection(kind):
    async with run(kind) as server:
        client = await server.open()
        await client.send('40{"wait":true}')
        await client.recv()
        await client.close()

        await asyncio.wait_for(server.node.cancelled.wait(), 5)

        assert server.node.left == {}


async def test_a_bug_of_the_endpoint_refuses_one_client_and_no_other(kind):
    async with run(kind) as server:
        client = await server.open()
        await client.recv()
        await client.send('40{"break":true}')

        refusal = json.loads((await client.recv())[2:])

        assert refusal["data"]["code"] == "internal"
        assert "bug" not in refusal["message"]
        await client.close()
        await (await server.join())[0].close()


async def test_an_event_is_acknowledged_once(kind):
    async with run(kind) as server:
        client, _ = await server.join()

        await client.send('427["a"]')
        await client.send('428["b"]')

        heard = [await client.recv(), await client.recv()]
        assert heard == ['437[{"ok":true}]', '438[{"ok":true}]']
        await client.close()


async def test_a_call_that_is_never_answered_ends_with_the_connection(kind):
    async with run(kind, limits=Limits(max_pending_acks=2)) as server:
        client, sid = await server.join()
        link = server.node.links[sid]
        answers: list[Any] = []
        forget = link.call("forgotten", [], answers.append)
        forget()
        link.call("one", [], answers.append)
        link.call("two", [], answers.append)

        with pytest.raises(Unavailable):
            link.call("three", [], answers.append)
        await client.close()
        assert await server.transport.wait_empty(5)

        assert answers == [None, None]


# origins


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://[broken"])
async def test_a_page_of_another_origin_is_refused(kind, origin):
    async with run(kind) as server:
        with pytest.raises(InvalidStatus) as refused:
            await server.open(additional_headers={"origin": origin})

        assert refused.value.response.status_code == 403


async def test_the_servers_own_page_may_connect(kind):
    async with run(kind) as server:
        own = f"http://127.0.0.1:{server.port}"

        client = await server.open(additional_headers={"origin": own})

        await client.close()


# the end


async def test_draining_tells_everybody_when_to_come_back_and_refuses_new_ones(kind):
    async with run(kind) as server:
        clients = [(await server.join())[0] for _ in range(3)]
        readers = [asyncio.create_task(until_closed(client)) for client in clients]

        await server.transport.drain("drain", after_ms=500)

        for heard, _ in await asyncio.gather(*readers):
            assert heard[-1] == '42["reconnect",{"reason":"drain","after_ms":500}]'
        assert all(reasons == ["drain"] for reasons in server.node.left.values())
        assert len(server.node.left) == 3
        with pytest.raises(InvalidStatus):
            await server.open()


async def test_draining_waits_for_slow_clients_no_longer_than_its_limit(kind):
    async with run(kind, close_timeout=0.1) as server:
        client, link = await stalled(server)
        for _ in range(100):
            link.send(encode_event("data", ["x" * 10_000]))

        async with asyncio.timeout(5):
            await server.transport.drain()

        assert server.transport.stats()["connections"] == 0
        client.transport.abort()


async def test_a_polling_client_that_never_comes_back_is_forgotten_after_a_close(kind):
    async with run(kind, close_timeout=0.1) as server, httpx.AsyncClient() as http:
        url = f"http://127.0.0.1:{server.port}{PATH}/?EIO=4&transport=polling"
        sid = json.loads((await http.get(url)).text[1:])["sid"]
        await http.post(f"{url}&sid={sid}", content="40")
        await http.get(f"{url}&sid={sid}")
        [link] = server.node.links.values()

        link.close()

        assert await server.transport.wait_empty(5)
        assert server.node.left == {link.sid: ["server"]}


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_a_client_that_is_upgrading_hears_of_the_end_in_its_poll(kind, how):
    # Its polling is paused for good once the probe was answered: a mere noop left it waiting for a ping.
    async with run(kind) as server, httpx.AsyncClient() as http:
        url = f"http://127.0.0.1:{server.port}{PATH}/?EIO=4&transport=polling"
        sid = json.loads((await http.get(url)).text[1:])["sid"]
        await http.post(f"{url}&sid={sid}", content="40")
        await http.get(f"{url}&sid={sid}")
        candidate = await server.open(f"{QUERY}&sid={sid}")
        [link] = server.node.links.values()
        poll = asyncio.create_task(http.get(f"{url}&sid={sid}"))
        connection = server.transport.connections[sid]
        while not getattr(connection.carrier, "waiting", True):  # noqa: ASYNC110 - no one tells
            await asyncio.sleep(0)

        if how == "close":
            link.close()
        else:
            connection.abort("test")

        assert (await poll).text.endswith("1")
        await until_closed(candidate)


async def test_many_that_go_in_one_moment_are_ended_once_and_disturb_nobody(kind):
    async with run(kind) as server:
        stays, sid = await server.join()
        others = [await server.join() for _ in range(150)]
        room = server.node.links
        for number, (client, _) in enumerate(others):
            # Some say goodbye below the protocol, some are just gone.
            if number % 2:
                client.transport.abort()
            else:
                client.transport.write_eof()

        packets = 0
        async with asyncio.timeout(20):
            while len(room) > 1:
                # Whoever is about to be ended gets nothing any more, and breaks nothing.
                for link in list(room.values()):
                    link.send(encode_event("news", [packets]))
                packets += 1
                await asyncio.sleep(0)

        assert [await stays.recv() for _ in range(packets)] == [
            f'42["news",{number}]' for number in range(packets)
        ]
        assert list(room) == [sid]
        assert {len(server.node.left[gone]) for _, gone in others} == {1}
        assert server.transport.stats()["buffered_bytes"] == 0


async def test_connections_that_are_gone_leave_nothing_behind(kind):
    async with run(kind) as server:
        await (await server.join())[0].close()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(50):
            client, _ = await server.join()
            client.transport.abort()
            await client.wait_closed()
        assert await server.transport.wait_empty(5)
        gc.collect()
        async with asyncio.timeout(5):
            # A socket is closed some turns of the loop after its connection has ended.
            while len(os.listdir("/proc/self/fd")) > before:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)

        stats = server.transport.stats()
        assert stats["opened"] == stats["closed"] == 51
        assert server.node.links == {}
