"""The suites' server on both transports, and plain clients for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from parlour.wire.engineio_session import Heartbeat
from tests.interop.background import in_background
from tests.interop.protocol_server import running

CALM = Heartbeat(interval=60, timeout=60)
"""For tests that are not about pings."""

BEATING = Heartbeat(interval=0.3, timeout=2)
"""The public suites leave 200 ms for a pong, which a busy machine may miss."""


@pytest.fixture(scope="session", params=["asgi", "fast"])
def transport(request) -> str:
    return request.param


@pytest.fixture(scope="session")
def port(transport: str) -> Iterator[int]:
    """The server's port. It has a thread and a loop of its own, as it would have a process."""
    with in_background(running(transport=transport, heartbeat=CALM)) as port:
        yield port


@pytest.fixture(scope="session")
def beating_port(transport: str) -> Iterator[int]:
    """The same with pings that come soon."""
    with in_background(running(transport=transport, heartbeat=BEATING)) as port:
        yield port


@dataclass
class Poll:
    """A request that is under way."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answer(self) -> str:
        """The body."""
        text = (await self.reader.read()).decode()
        self.writer.close()
        return text.partition("\r\n\r\n")[2]

    async def hang_up(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


class Raw:
    """Plain HTTP and WebSocket requests to one path, and everything closed at the end."""

    def __init__(self, port: int, path: str) -> None:
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=5)
        self._path = path
        self._port = port
        self._sockets: list[ClientConnection] = []

    async def request(self, method: str, query: str, **options) -> httpx.Response:
        return await self.http.request(method, f"{self._path}/?{query}", **options)

    async def get(self, query: str = "EIO=4&transport=polling", **options) -> httpx.Response:
        return await self.request("GET", query, **options)

    async def poll(self, sid: str) -> httpx.Response:
        return await self.get(f"EIO=4&transport=polling&sid={sid}")

    async def start_poll(self, sid: str) -> Poll:
        """A poll that the server reads before anything that is sent afterwards: its connection has been
        accepted and has served a request before."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(self._get("EIO=4"))
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        await reader.readexactly(int(head.partition("content-length: ")[2].split()[0]))
        writer.write(self._get(f"EIO=4&transport=polling&sid={sid}", "connection: close\r\n"))
        await writer.drain()
        return Poll(reader, writer)

    def _get(self, query: str, header: str = "") -> bytes:
        return f"GET {self._path}/?{query} HTTP/1.1\r\nhost: x\r\n{header}\r\n".encode()

    async def post(self, sid: str, body: str | bytes) -> httpx.Response:
        return await self.request("POST", f"EIO=4&transport=polling&sid={sid}", content=body)

    async def open_polling(self) -> str:
        return json.loads((await self.get()).text[1:])["sid"]

    async def websocket(
        self, query: str = "EIO=4&transport=websocket", **options
    ) -> ClientConnection:
        url = f"ws://127.0.0.1:{self._port}{self._path}/?{query}"
        options.setdefault("compression", None)
        socket = await connect(url, max_size=None, **options)
        self._sockets.append(socket)
        return socket

    async def upgrade(self, sid: str) -> ClientConnection:
        """A WebSocket for a connection that began with polling, up to the answered probe."""
        socket = await self.websocket(f"EIO=4&transport=websocket&sid={sid}")
        await socket.send("2probe")
        assert await socket.recv() == "3probe"
        return socket

    async def close(self) -> None:
        for socket in self._sockets:
            await socket.close()
        await self.http.aclose()


async def _raw(port: int, path: str) -> AsyncIterator[Raw]:
    raw = Raw(port, path)
    yield raw
    await raw.close()


@pytest.fixture
async def engine(port: int) -> AsyncIterator[Raw]:
    async for raw in _raw(port, "/engine.io"):
        yield raw


@pytest.fixture
async def beating_engine(beating_port: int) -> AsyncIterator[Raw]:
    async for raw in _raw(beating_port, "/engine.io"):
        yield raw


@pytest.fixture
async def sockets(port: int) -> AsyncIterator[Raw]:
    async for raw in _raw(port, "/socket.io"):
        yield raw


@pytest.fixture
async def beating_sockets(beating_port: int) -> AsyncIterator[Raw]:
    async for raw in _raw(beating_port, "/socket.io"):
        yield raw
