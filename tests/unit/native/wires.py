"""Outlets on sockets, and the other ends of these sockets."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import socket
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import Any, Self

import pytest
import uvloop

from parlour.transports.socketio.fast import _descriptor
from parlour.transports.socketio.turn import Turn
from parlour.wire.packets import Encoded
from parlour.wire.websocket import frame_encoded
from tests.unit.transports.test_turn import Loop

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
SECONDS = 20
"""For what is bound to come."""

UNBOUNDED = 1 << 30


def packet(number: int, size: int = 0) -> Encoded:
    """A packet that no other number has."""
    return Encoded(b"%d:" % number + bytes([65 + number % 26]) * size)


def framed(*packets: Encoded) -> bytes:
    """What a client reads of them."""
    return b"".join(map(frame_encoded, packets))


class CountedTurn(Turn):
    """Notes how often it is asked to end."""

    __slots__ = ("scheduled",)

    def __init__(self, loop: Any) -> None:
        super().__init__(loop)
        self.scheduled = 0

    def schedule(self) -> None:
        self.scheduled += 1
        super().schedule()


class Recorder(asyncio.Transport):
    """A transport that only notes what it is given, and says that it holds `buffered` bytes."""

    def __init__(self, buffered: int = 0) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.buffered = buffered

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def is_closing(self) -> bool:
        return False


class Wire(Recorder):
    """Passes on what it is given. Its socket keeps apart what was written at once, so that each write is
    one message at the other end, whichever way it went."""

    def __init__(self) -> None:
        super().__init__()
        self.socket, self._peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self._peer.setblocking(False)

    def write(self, data: Any) -> None:
        super().write(data)
        self.socket.send(data)

    def heard(self) -> list[bytes]:
        """What has come since the last look."""
        messages = []
        while (message := receive_now(self._peer)) is not None:
            messages.append(message)
        return messages

    def close(self) -> None:
        self.socket.close()
        self._peer.close()


class Wired:
    """An outlet, its wire and its turn."""

    def __init__(self, form: ModuleType, *, direct: bool = True) -> None:
        self.form = form
        self.wire = Wire()
        self.loop = Loop()
        self.turn = CountedTurn(self.loop)
        self.outlet = outlet_of(form)()
        self.outlet.turn = self.turn
        self.outlet.attach(self.wire, self.wire.socket.fileno() if direct else -1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wire.close()

    def end_turn(self) -> list[bytes]:
        """What the other end hears of it."""
        self.loop.turn()
        return self.wire.heard()


@functools.cache
def outlet_of(form: ModuleType) -> Any:
    """A subclass as the product has them, that can be told from others."""

    class Carrier(form.Outlet, asyncio.Protocol):
        __slots__ = ("__weakref__", "itself")

    return Carrier


@functools.cache
def port_of(form: ModuleType) -> Any:
    """A subclass as the product has them; it notes what it holds."""

    class Link(form.Port):
        __slots__ = ("__weakref__", "held", "itself")

        def __init__(self) -> None:
            super().__init__()
            self.held: list[Encoded] = []

        def hold(self, encoded: Encoded) -> None:
            self.held.append(encoded)

    return Link


@functools.cache
def protocol_of(form: ModuleType) -> Any:
    """A protocol that does with its outlet what the fast WebSocket does."""

    class Protocol(form.Outlet, asyncio.Protocol):
        __slots__ = ("gone", "pauses", "resumed")

        def __init__(self) -> None:
            super().__init__()
            self.turn = CountedTurn(asyncio.get_running_loop())
            self.gone: asyncio.Future[Exception | None] = asyncio.Future()
            self.resumed = asyncio.Event()
            self.pauses = 0

        def connection_made(self, transport: Any) -> None:
            self.attach(transport, _descriptor(transport))

        def connection_lost(self, exc: Exception | None) -> None:
            self.detach()
            self.gone.set_result(exc)

        def pause_writing(self) -> None:
            self.paused = True
            self.pauses += 1
            self.resumed.clear()

        def resume_writing(self) -> None:
            self.paused = False
            self.resumed.set()

    return Protocol


def pair(kind: str, buffer: int | None = None) -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection. A small buffer is soon full."""
    if kind == "unix":
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            theirs = socket.create_connection(listener.getsockname())
            ours, _ = listener.accept()
    if buffer is not None:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


async def connect(
    form: ModuleType,
    kind: str = "tcp",
    buffer: int | None = None,
) -> tuple[Any, socket.socket]:
    """A protocol on a connection, and its peer."""
    ours, theirs = pair(kind, buffer)
    loop = asyncio.get_running_loop()
    _, protocol = await loop.connect_accepted_socket(protocol_of(form), ours)
    return protocol, theirs


def receive_now(peer: socket.socket, size: int = 1 << 20) -> bytes | None:
    """What is there; None where nothing is."""
    try:
        return peer.recv(size)
    except BlockingIOError:
        return None


async def receive_some(peer: socket.socket, size: int) -> bytes:
    """At least one byte and at most so many; nothing at the end."""
    async with asyncio.timeout(SECONDS):
        return await asyncio.get_running_loop().sock_recv(peer, size)


async def receive(peer: socket.socket, size: int) -> bytes:
    """So many bytes, or what comes until the end."""
    data = bytearray()
    while len(data) < size and (part := await receive_some(peer, size - len(data))):
        data += part
    return bytes(data)


async def receive_until(peer: socket.socket, end: bytes) -> bytes:
    """What comes up to these bytes, and with them."""
    data = bytearray()
    while not data.endswith(end):
        part = await receive_some(peer, 1)
        assert part, f"{end!r} did not come"
        data += part
    return bytes(data)


async def receive_all(peer: socket.socket) -> bytes:
    return await receive(peer, UNBOUNDED)


async def end_turn() -> None:
    """Until what was noted in this turn is written."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def closed(number: int) -> None:
    """Until the descriptor is closed, which transports do some turns after they say it."""
    for _ in range(100):
        try:
            os.fstat(number)
        except OSError:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"descriptor {number} stays open")


def on_each_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Any:
    """Run the test on asyncio's loop and on uvloop's, which write in different ways."""

    @functools.wraps(test)
    def run(*args: Any, loop: str, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(test(*args, **kwargs))

    signature = inspect.signature(test)
    loop = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), loop]
    )
    return pytest.mark.parametrize("loop", LOOPS)(run)
