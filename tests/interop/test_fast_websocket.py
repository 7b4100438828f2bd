"""The fast WebSocket on a real connection: RFC 6455 as clients see it, and who else uses the port."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from parlour.transports.socketio import SocketSettings
from parlour.wire.packets import Encoded
from tests.interop.protocol_server import EchoServer
from tests.interop.serving import fast, serving
from tests.unit.wire.test_websocket import client_frame

HEAD = (
    b"GET /echo/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    b"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


class Raw:
    """Bytes to and from the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def frame(self) -> tuple[int, bytes]:
        """The next frame's opcode and payload."""
        first, second = await self.reader.readexactly(2)
        length = second & 0x7F
        if length == 126:
            length = int.from_bytes(await self.reader.readexactly(2), "big")
        return first & 0x0F, await self.reader.readexactly(length)

    async def ends(self) -> bool:
        """Whether the server closes, and sends nothing more."""
        return await asyncio.wait_for(self.reader.read(), 5) == b""


@asynccontextmanager
async def other_app_and_echo(
    uvicorn: dict[str, str] | None = None, **settings
) -> AsyncIterator[tuple[int, EchoServer]]:
    """An echo at /echo on the fast protocol, and another WebSocket route of the application."""
    echo = EchoServer(SocketSettings(path="/echo", **settings))

    async def app(scope, receive, send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": f"other {scope['path']}"})
        event = await receive()
        await send({"type": "websocket.send", "text": event["text"]})
        await send({"type": "websocket.close"})

    async with echo, serving(app, **fast(echo), **(uvicorn or {})) as port:
        yield port, echo


@asynccontextmanager
async def opened(extra: bytes = b"") -> AsyncIterator[Raw]:
    async with other_app_and_echo() as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + extra + b"\r\n")
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
        assert b"extensions" not in answer
        raw = Raw(reader, writer)
        assert (await raw.frame())[1].startswith(b"0{")
        yield raw
        writer.close()


async def test_fragments_with_a_ping_between_them():
    async with opened() as raw:
        raw.writer.write(
            client_frame(1, b"4hel", final=False)
            + client_frame(9, b"are you there")
            + client_frame(0, b"lo")
        )

        assert await raw.frame() == (10, b"are you there")
        assert await raw.frame() == (1, b"4hello")


async def test_bytes_that_trickle_in_one_by_one():
    async with opened() as raw:
        for byte in client_frame(1, b"4slow"):
            raw.writer.write(bytes([byte]))
            await raw.writer.drain()

        assert await raw.frame() == (1, b"4slow")


async def test_many_messages_in_one_read_are_answered_in_order():
    async with opened() as raw:
        raw.writer.write(b"".join(client_frame(1, b"4%d" % number) for number in range(500)))

        heard = [await raw.frame() for _ in range(500)]

        assert heard == [(1, b"4%d" % number) for number in range(500)]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (client_frame(1, b"\xff\xff"), 1007),
        (client_frame(0, b"x"), 1002),
        (client_frame(1, b"x", rsv=4), 1002),
        (client_frame(5, b"x"), 1002),
        (b"\x81\x01x", 1002),
        (client_frame(9, b"x" * 126), 1002),
        (client_frame(8, b"\x00"), 1002),
        (client_frame(8, (1005).to_bytes(2, "big")), 1002),
        (client_frame(2, b"x" * 1_000_001), 1009),
        (client_frame(1, b"4abc") + client_frame(1, b"\xff"), 1007),
    ],
    # Frames are masked at random, and a test has the same name in every process.
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
async def test_a_breach_is_answered_with_its_close_code_and_the_connection_ends(sent, code):
    async with opened() as raw:
        raw.writer.write(sent)

        opcode, payload = await raw.frame()
        while opcode != 8:
            opcode, payload = await raw.frame()

        assert int.from_bytes(payload[:2], "big") == code
        assert await raw.ends()


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
async def test_a_close_is_answered_with_the_same_code(code):
    async with opened() as raw:
        raw.writer.write(client_frame(8, code.to_bytes(2, "big") + b"bye"))

        assert await raw.frame() == (8, code.to_bytes(2, "big"))
        assert await raw.ends()


async def test_nothing_is_read_after_a_close():
    async with opened() as raw:
        raw.writer.write(client_frame(8, b"\x03\xe8") + client_frame(1, b"4late"))

        assert (await raw.frame())[0] == 8
        assert await raw.ends()


async def test_nothing_is_written_behind_a_close():
    # Until the transport says that the connection is lost it is a member of its rooms. What they get in
    # this turn goes past the transport, which would have dropped it.
    async with other_app_and_echo() as (port, echo):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        raw = Raw(reader, writer)
        await raw.frame()
        (connection,) = echo.connections.values()
        connection.send(Encoded(("4before",)))

        connection.carrier.data_received(client_frame(8, b"\x03\xe8"))
        connection.send(Encoded(("4behind",)))

        assert await raw.frame() == (1, b"4before")
        assert (await raw.frame())[0] == 8
        assert await raw.ends()


@asynccontextmanager
async def compressing(**options) -> AsyncIterator[ClientConnection]:
    """A client of a server that compresses, after the handshake."""
    async with other_app_and_echo(compression=True) as (port, _):
        url = f"ws://127.0.0.1:{port}/echo/?EIO=4&transport=websocket"
        async with connect(url, **options) as client:
            await client.recv()
            yield client


async def test_where_compression_is_switched_on_it_works_in_both_directions():
    text = "4" + "a long message, " * 500
    async with compressing() as client:
        for sent in (text, "4short", [text[:300], text[300:]]):
            await client.send(sent)

        heard = [await client.recv() for _ in range(3)]
        used = client.protocol.extensions

    assert heard == [text, "4short", text]
    assert [extension.name for extension in used] == ["permessage-deflate"]


async def test_where_compression_is_switched_on_others_do_without_it():
    async with compressing(compression=None) as client:
        await client.send("4" + "x" * 1000)

        assert await client.recv() == "4" + "x" * 1000
        assert client.protocol.extensions == []


async def test_an_offered_compression_is_not_taken():
    async with opened(b"Sec-WebSocket-Extensions: permessage-deflate\r\n") as raw:
        raw.writer.write(client_frame(1, b"4plain"))

        assert await raw.frame() == (1, b"4plain")


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"Version: 13", b"Version: 8", 426),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"short", 400),
        (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"", 400),
        (b"GET", b"POST", 400),
        (b"EIO=4", b"EIO=3", 400),
        (b"Host: x\r\n", b"Host: x\r\nOrigin: https://evil.example\r\n", 403),
    ],
)
async def test_a_wrong_handshake_has_a_status_that_says_so(old, new, status):
    async with other_app_and_echo() as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD.replace(old, new) + b"\r\n")

        answer = await asyncio.wait_for(reader.read(), 5)

        assert answer.startswith(b"HTTP/1.1 %d " % status)
        writer.close()


async def test_other_websocket_routes_of_the_application_go_on_working():
    async with (
        other_app_and_echo() as (port, _),
        connect(f"ws://127.0.0.1:{port}/elsewhere?x=1") as client,
    ):
        assert await client.recv() == "other /elsewhere"
        await client.send("hello")
        assert await client.recv() == "hello"


async def test_a_trusted_proxy_names_the_client():
    async with other_app_and_echo() as (port, echo):
        headers = {"x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https"}
        url = f"ws://127.0.0.1:{port}/echo/?EIO=4&transport=websocket"
        async with connect(url, additional_headers=headers):
            [connection] = echo.connections.values()

            assert (connection.handshake.client, connection.handshake.secure) == (
                "203.0.113.7",
                True,
            )


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate for localhost, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    path = tmp_path / "both.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    files = [
        "-nodes",
        "-days",
        "2",
        "-keyout",
        str(tmp_path / "key"),
        "-out",
        str(tmp_path / "crt"),
    ]
    subprocess.run([*command, *subject, *files], check=True, capture_output=True)
    path.write_text((tmp_path / "key").read_text() + (tmp_path / "crt").read_text())
    return path


async def test_tls_is_uvicorns_and_the_handshake_knows_it(certificate):
    trusted = ssl.create_default_context(cafile=str(certificate))
    tls = {"ssl_certfile": str(certificate), "ssl_keyfile": str(certificate)}
    async with other_app_and_echo(tls) as (port, echo):
        url = f"wss://localhost:{port}/echo/?EIO=4&transport=websocket"
        async with connect(url, ssl=trusted, max_size=None) as client:
            await client.recv()
            [connection] = echo.connections.values()
            await client.send("4" + "x" * 500_000)

            assert await client.recv() == "4" + "x" * 500_000
            assert connection.handshake.secure


async def test_a_full_server_says_that_it_is_full():
    async with other_app_and_echo(max_connections=0) as (port, _):
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{port}/echo/?EIO=4&transport=websocket")

    assert refused.value.response.status_code == 503


async def test_random_bytes_leave_the_server_as_it_was():
    async with other_app_and_echo() as (port, echo):
        for _ in range(200):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEAD + b"\r\n")
            await reader.readuntil(b"\r\n\r\n")
            writer.write(os.urandom(200))
            writer.close()
        assert await echo.wait_empty(10)

        async with connect(f"ws://127.0.0.1:{port}/echo/?EIO=4&transport=websocket") as client:
            await client.recv()
            await client.send("4alive")
            assert await client.recv() == "4alive"
