"""A TCP proxy that fails on command: between a client and a server, or a server and its store.

async with FaultProxy(("127.0.0.1", 8000)) as proxy:
    connect(f"http://127.0.0.1:{proxy.port}")
    proxy.cut()            # every connection ends at once
    proxy.freeze()         # half-open: nothing passes any more, and nobody is told
    proxy.thaw()
    proxy.delay = 0.2      # seconds that each chunk takes
    proxy.loss = 0.05      # this share of the chunks is late, as if a packet had been lost

For tests in other languages it is a process: `python -m parlour.testing.fault_proxy PORT` forwards to that
port, prints its own, and takes one command per line: `cut`, `freeze`, `thaw`, `refuse`, `accept`,
`delay SECONDS`, `loss SHARE`. Each is answered with `ok`; it ends with its standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from types import TracebackType
from typing import Self

CHUNK = 65_536

RETRANSMIT_SECONDS = (0.2, 0.6)
"""What one lost packet costs a TCP connection; everything behind it waits as well."""


class FaultProxy:
    """Listens on a free port of the loopback interface and forwards to `target` (host, port)."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.delay = 0.0
        self.loss = 0.0
        self.refusing = False
        self._server: asyncio.Server | None = None
        self._pairs: dict[_Pair, None] = {}
        self._frozen = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._random = random.Random(1)

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        return len(self._pairs)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def cut(self) -> None:
        """End every connection at once, in both directions."""
        for pair in list(self._pairs):
            pair.abort()

    def freeze(self) -> None:
        """From now on nothing passes on the present connections; new ones work."""
        for pair in self._pairs:
            pair.frozen.clear()

    def thaw(self) -> None:
        """What was frozen passes again."""
        for pair in self._pairs:
            pair.frozen.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        try:
            upstream = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        pair = _Pair(writer, upstream[1])
        self._pairs[pair] = None
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, upstream[1], pair))
                group.create_task(self._pump(upstream[0], writer, pair))
        finally:
            self._pairs.pop(pair, None)
            pair.abort()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, pair: _Pair
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(CHUNK):
                if pause := self._pause():
                    await asyncio.sleep(pause)
                await pair.frozen.wait()
                sink.write(chunk)
                await sink.drain()
        with contextlib.suppress(OSError, RuntimeError):
            sink.close()

    def _pause(self) -> float:
        lost = self.loss and self._random.random() < self.loss
        return self.delay + (self._random.uniform(*RETRANSMIT_SECONDS) if lost else 0.0)


class _Pair:
    """Both halves of one forwarded connection."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.frozen = asyncio.Event()
        self.frozen.set()
        self._client = client
        self._server = server

    def abort(self) -> None:
        self.frozen.set()
        self._client.transport.abort()
        self._server.transport.abort()


def _obey(proxy: FaultProxy, line: str) -> None:
    command, _, value = line.strip().partition(" ")
    match command:
        case "cut" | "freeze" | "thaw":
            getattr(proxy, command)()
        case "refuse" | "accept":
            proxy.refusing = command == "refuse"
        case "delay" | "loss":
            setattr(proxy, command, float(value))
        case _:
            raise ValueError(f"unknown command: {line!r}")


async def _main(target: int) -> None:
    async with FaultProxy(("127.0.0.1", target)) as proxy:
        print(proxy.port, flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            _obey(proxy, line)
            print("ok", flush=True)


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
