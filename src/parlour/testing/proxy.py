"""A TCP proxy that breaks connections exactly when a test wants it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Proxy:
    """Stands between a client and a server on the loopback interface; `port` is where clients
    connect.

    `swallow_answer_to(word)`: once a client sends bytes that contain `word`, they still reach the
    server, but no answer comes back, and after the server has answered the connection ends. So the
    server has done what was asked, and the client cannot know.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self.swallowed = asyncio.Event()
        self._target = target
        self._word: bytes | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    def swallow_answer_to(self, word: bytes) -> None:
        self._word = word
        self.swallowed.clear()

    def cut(self) -> None:
        """Break every connection now."""
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection."""
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, server_writer}
        deaf = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._upstream(reader, server_writer, deaf))
                group.create_task(self._downstream(server_reader, writer, deaf))
        except* OSError:
            pass  # the end of a connection is what this is for
        finally:
            for one in (writer, server_writer):
                self._writers.discard(one)
                one.transport.abort()

    async def _upstream(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, deaf: asyncio.Event
    ) -> None:
        while data := await reader.read(65536):
            if self._word is not None and self._word in data:
                self._word = None
                deaf.set()
            writer.write(data)
            await writer.drain()
        writer.transport.abort()

    async def _downstream(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, deaf: asyncio.Event
    ) -> None:
        while data := await reader.read(65536):
            if deaf.is_set():
                self.swallowed.set()
                break
            writer.write(data)
            await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def running_proxy(target: int) -> AsyncIterator[Proxy]:
    """A proxy before the server on port `target`."""
    proxy = Proxy(target)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await server.wait_closed()
