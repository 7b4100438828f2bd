"""The first bytes of a connection: who serves it, and how long it may take to say what it wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from parlour.transports.socketio import SocketSettings
from parlour.transports.socketio.front import MAX_HEAD
from tests.interop.protocol_server import EchoServer
from tests.interop.serving import fast, serving
from tests.interop.test_fast_websocket import HEAD

Talk = tuple[asyncio.StreamReader, asyncio.StreamWriter]
GET = b"GET /elsewhere HTTP/1.1\r\nhost: x\r\n"


@asynccontextmanager
async def talking(head_seconds: float = 30.0) -> AsyncIterator[Callable]:
    """A server with an echo at /echo and an application that says which path it was asked for; a
    function that opens a connection to it."""
    echo = EchoServer(SocketSettings(path="/echo"))
    open_ones: list[asyncio.StreamWriter] = []

    async def app(scope, receive, send) -> None:
        body = b"app " + scope["path"].encode()
        length = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": body})

    async with echo, serving(app, **fast(echo, head_seconds=head_seconds)) as port:

        async def connect() -> Talk:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            open_ones.append(writer)
            return reader, writer

        yield connect
        for writer in open_ones:
            writer.close()


async def answer(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(30):
        return await reader.readuntil(b"\r\n\r\n")


async def ends(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(30):
        return await reader.read() == b""


@pytest.mark.parametrize("sent", [b"", b"GET /ec", HEAD])
async def test_a_head_that_does_not_become_whole_is_answered_408(sent):
    async with talking(head_seconds=0.1) as connect:
        reader, writer = await connect()
        writer.write(sent)

        assert (await answer(reader)).startswith(b"HTTP/1.1 408 ")
        assert await ends(reader)


async def test_a_head_that_trickles_in_gets_no_more_time():
    async with talking(head_seconds=0.2) as connect:
        reader, writer = await connect()
        told = asyncio.ensure_future(answer(reader))
        writer.write(GET)
        while not told.done():
            writer.write(b"x: y\r\n")
            await asyncio.wait([told], timeout=0.02)

        assert (await told).startswith(b"HTTP/1.1 408 ")


async def test_a_later_request_of_a_connection_has_the_same_limit():
    async with talking(head_seconds=0.2) as connect:
        reader, writer = await connect()
        writer.write(GET + b"\r\n")
        assert (await answer(reader)).startswith(b"HTTP/1.1 200 ")
        assert await reader.readexactly(14) == b"app /elsewhere"
        writer.write(GET)

        assert (await answer(reader)).startswith(b"HTTP/1.1 408 ")
        assert await ends(reader)


async def test_an_open_socket_outlives_the_limit():
    async with talking(head_seconds=0.1) as connect:
        reader, writer = await connect()
        writer.write(HEAD + b"\r\n")
        assert (await answer(reader)).startswith(b"HTTP/1.1 101 ")
        slow, slow_writer = await connect()
        slow_writer.write(GET)
        assert (await answer(slow)).startswith(b"HTTP/1.1 408 ")
        writer.write(b"\x89\x80\0\0\0\0")

        assert (await reader.readexactly(2))[0] & 0x0F == 1
        assert not reader.at_eof()


async def test_a_head_in_two_parts_is_put_together():
    async with talking() as connect:
        reader, writer = await connect()
        writer.write(HEAD[:40])
        await writer.drain()
        other, other_writer = await connect()
        other_writer.write(GET + b"\r\n")
        await answer(other)
        writer.write(HEAD[40:] + b"\r\n")

        assert (await answer(reader)).startswith(b"HTTP/1.1 101 ")


async def test_a_head_without_end_is_refused():
    async with talking() as connect:
        reader, writer = await connect()
        writer.write(GET + b"x: " + b"a" * MAX_HEAD)

        assert (await answer(reader)).startswith(b"HTTP/1.1 431 ")
        assert await ends(reader)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01 what a TLS client sends", b"400"),
        (b"GET /echo HTTP/1.1\r\nbad header\r\n\r\n", b"400"),
        (HEAD.replace(b"Upgrade: websocket", b"Upgrade: h2c") + b"\r\n", b"200"),
        (
            HEAD.replace(b"/echo/", b"/other/").replace(b"Upgrade: websocket", b"x: y") + b"\r\n",
            b"200",
        ),
        (HEAD + b"Content-Length: 0\r\n\r\n", b"101"),
        (HEAD.replace(b"/echo/", b"/ech%6F/") + b"\r\n", b"101"),
    ],
    ids=["no HTTP", "no header", "another upgrade", "no upgrade", "with a length", "escaped path"],
)
async def test_what_is_unusual_is_uvicorns(sent, status):
    async with talking() as connect:
        reader, writer = await connect()
        writer.write(sent)

        assert (await answer(reader)).startswith(b"HTTP/1.1 " + status)
