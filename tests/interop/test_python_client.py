"""The PyPI package python-socketio, unmodified."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import socketio
from socketio.exceptions import ConnectionError as Refused
from socketio.exceptions import TimeoutError as Unanswered

from tests.interop.background import in_background
from tests.interop.client_server import ClientEndpoint, running_for_clients

WAYS = {
    "websocket": ["websocket"],
    "polling": ["polling"],
    "upgrade": ["polling", "websocket"],
}


@pytest.fixture(scope="module", params=["asgi", "fast"])
def server(request) -> Iterator[tuple[int, ClientEndpoint]]:
    with in_background(running_for_clients(request.param)) as server:
        yield server


@pytest.fixture(params=WAYS)
def way(request) -> list[str]:
    return WAYS[request.param]


class Client:
    """One client and what it heard."""

    def __init__(self, port: int, transports: list[str]) -> None:
        self.io = socketio.AsyncClient(reconnection_delay=0.01, reconnection_delay_max=0.02)
        self._url = f"http://127.0.0.1:{port}"
        self._transports = transports
        self.heard: asyncio.Queue[tuple[str, tuple[Any, ...]]] = asyncio.Queue()
        self.io.on("*", self._hear)

    async def _hear(self, event: str, *args: Any) -> None:
        self.heard.put_nowait((event, args))

    async def connect(self, **options: Any) -> None:
        options = {"transports": self._transports, "socketio_path": "/ws/socket.io"} | options
        await self.io.connect(self._url, **options)

    async def hear(self) -> tuple[str, tuple[Any, ...]]:
        return await asyncio.wait_for(self.heard.get(), 5)


@pytest.fixture
async def client(server, way) -> AsyncIterator[Client]:
    client = Client(server[0], way)
    yield client
    await client.io.disconnect()


async def test_connects_with_auth(client):
    await client.connect(auth={"token": "t1"})

    assert await client.hear() == ("welcome", ({"token": "t1"},))


async def test_events_and_binary_values_both_ways(client):
    await client.connect()
    await client.hear()

    await client.io.emit("echo", (1, b"\x00\xff", {"deep": [b"x"]}))

    assert await client.hear() == ("echo", (1, b"\x00\xff", {"deep": [b"x"]}))


async def test_the_server_acknowledges(client):
    await client.connect()

    assert await client.io.call("echo", ("a", b"b"), timeout=5) == ["a", b"b"]


async def test_the_client_acknowledges(client):
    client.io.on("question", lambda one, two: one + two)
    await client.connect()

    assert await client.io.call("ask me", (1, 2), timeout=5) == [3]


async def test_an_event_without_an_answer_times_out_and_the_connection_goes_on(client):
    await client.connect()

    with pytest.raises(Unanswered):
        await client.io.call("silence", timeout=0.05)

    assert await client.io.call("echo", "on", timeout=5) == ["on"]


async def test_namespaces(client):
    await client.connect(namespaces=["/", "/other"], auth={"token": "o"})

    answers = [
        await client.io.call("echo", name, namespace=name, timeout=5) for name in ("/", "/other")
    ]

    assert answers == [["/"], ["/other"]]


async def test_a_refusal_carries_its_data(client):
    heard: asyncio.Queue[Any] = asyncio.Queue()
    client.io.on("connect_error", heard.put_nowait)

    with pytest.raises(Refused):
        await client.connect(auth={"token": "bad"})

    error = await asyncio.wait_for(heard.get(), 5)
    assert error["data"]["code"] == "forbidden"
    assert error["data"]["hint"] == "sign in"


async def test_comes_back_after_the_connection_was_cut(client):
    back = asyncio.Event()
    await client.connect()
    await client.hear()
    client.io.on("connect", back.set)

    await client.io.emit("cut")
    await asyncio.wait_for(back.wait(), 5)

    assert await client.io.call("echo", "again", timeout=5) == ["again"]


async def test_a_client_that_leaves_is_reported_once(server, client):
    endpoint = server[1]
    await client.connect()
    await client.hear()
    sid = client.io.get_sid()
    before = len(endpoint.left)
    assert sid in endpoint.links

    await client.io.disconnect()

    other = Client(server[0], ["websocket"])
    await other.connect()
    await other.hear()
    assert sid not in endpoint.links
    assert len(endpoint.left) == before + 1
    await other.io.disconnect()
