"""Mutated frames against a whole server: only typed closes, and nothing is left behind.

    python -m tests.interop.fuzz [--frames 1000000] [--seed 1] [--json FILE]

The server is the product, with a database and a person's token, served like `parlour run` serves it. Each
connection is a TCP connection of its own: it joins, sends valid frames of all kinds with bits flipped,
bytes taken out, put in or repeated, and then the end of its stream. What comes back is read as strictly as
a browser would: whole, unmasked frames, close codes that RFC 6455 knows, and nothing behind a close.

Memory (`tracemalloc`) and open files of the process are compared before and after, with the same number of
connections in between."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import random
import socket
import struct
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import uvloop
from rich.progress import Progress

from parlour.telemetry import configure_logging
from parlour.wire.deflate import compress
from tests.serving import Served, serve
from tests.unit.wire.test_websocket import client_frame

FRAMES_PER_CONNECTION: Final = 4
"""At most: a connection is closed at the first frame that is wrong, and what is behind it is not read."""

AT_ONCE: Final = 16
"""Connections that are open at the same time."""

WARM_UP: Final = 2_000
"""Frames that fill caches before anything is compared."""

CONNECTION_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 60.0
"""How long a server may take to forget the last connections: a session is expected back for 15."""

LEGAL: Final = frozenset({*range(1000, 1004), *range(1007, 1015)})
REQUEST: Final = (
    b"GET /ws/socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
WITH_DEFLATE: Final = REQUEST.replace(
    b"Upgrade: websocket", b"Sec-WebSocket-Extensions: permessage-deflate\r\nUpgrade: websocket"
)
SEEDS: Final = [
    client_frame(1, b"40"),
    client_frame(1, b'42["a",{"b":[1,2,"\xc3\xa4"]}]'),
    client_frame(1, b'4212["heartbeat",{}]'),
    client_frame(1, b'427["subscribe",{"stream":"thread:fuzzed-00","limit":9}]'),
    client_frame(1, b'428["unsubscribe",{"stream":"thread:fuzzed-00"}]'),
    client_frame(1, b'42["typing",{"room":"thread:fuzzed-00"}]'),
    client_frame(1, b'429["run:stop",{"thread_id":"fuzzed-00","command_id":"c"}]'),
    client_frame(1, b'451-["a",{"_placeholder":true,"num":0}]') + client_frame(2, b"\x01\x02"),
    client_frame(1, b"4half", final=False) + client_frame(9, b"?") + client_frame(0, b"\xc3\xa4"),
    client_frame(1, compress(b'42["a","aaaaaaaaaaaaaaaa"]'), rsv=4),
    client_frame(1, b"41"),
    client_frame(1, b"43[0]"),
    client_frame(8, b"\x03\xe8bye"),
    client_frame(9, b"ping"),
    client_frame(10, b""),
    client_frame(1, b"3"),
]


def mutate(source: random.Random, frame: bytes) -> bytes:
    data = bytearray(frame)
    for _ in range(source.randrange(4)):
        place = source.randrange(len(data)) if data else 0
        match source.randrange(4):
            case 0 if data:
                data[place] ^= 1 << source.randrange(8)
            case 1:
                del data[place : place + source.randrange(1, 4)]
            case 2:
                data[place:place] = source.randbytes(source.randrange(1, 4))
            case _:
                data += data[place:]
    return bytes(data)


def is_legal(code: int) -> bool:
    """Ours, or one that a client gave and that is repeated to it."""
    return code in LEGAL or 3000 <= code <= 4999


@dataclass
class Findings:
    """What came of it. `wrong` is what must not be: errors of the server, illegal frames."""

    connections: int = 0
    frames: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def check(self) -> None:
        illegal = [code for code in self.codes if not is_legal(code)]
        if self.wrong or illegal:
            raise SystemExit(f"illegal close codes {illegal}; wrong: {self.wrong[:20]}")


class Attacker(asyncio.Protocol):
    """One connection: joins, sends its frames in pieces, ends; `over` when the server has closed."""

    def __init__(self, source: random.Random, token: str, findings: Findings) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._source = source
        self._findings = findings
        self._transport: Any = None
        self._data = b""
        self._upgraded = self._closed = self._attacked = False
        self._request = source.choice([REQUEST, WITH_DEFLATE])
        self._auth = client_frame(1, b"40" + json.dumps({"token": token}).encode())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        # Ended by a reset: a hundred thousand ports that wait for stragglers would be all there are.
        mine = transport.get_extra_info("socket")
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._upgraded:
            head, found, rest = self._data.partition(b"\r\n\r\n")
            if not found:
                return
            self._upgraded, self._data = head.startswith(b"HTTP/1.1 101 "), rest
            if not self._upgraded:
                self._findings.wrong.append(f"no upgrade: {head[:80]!r}")
                self._transport.close()
                return
            self._transport.write(self._auth)
        for first, payload in self._frames():
            self._look(first, payload)

    def eof_received(self) -> None:
        """Close, too."""

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._attacked:
            self._findings.wrong.append(f"closed before it joined: {exc}")
        if not self.over.done():
            self.over.set_result(None)

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        while len(self._data) >= 2:
            length, start = self._data[1], 2
            if length > 125:
                size = 2 if length == 126 else 8
                start += size
                length = int.from_bytes(self._data[2:start], "big")
            if len(self._data) < start + length:
                return
            first, payload = self._data[0], self._data[start : start + length]
            self._data = self._data[start + length :]
            yield first, payload

    def _look(self, first: int, payload: bytes) -> None:
        compressed = first & 0x40 and self._request is WITH_DEFLATE and first & 15 in (1, 2)
        if self._closed or first & 15 not in (1, 2, 8, 10) or first & 0x30 or first & 0x80 == 0:
            self._findings.wrong.append(f"a frame that may not be: {first:#x} {payload[:40]!r}")
        elif first & 0x40 and not compressed:
            self._findings.wrong.append(f"a reserved bit: {first:#x}")
        elif first & 15 == 8:
            self._closed = True
            self._findings.codes[int.from_bytes(payload[:2], "big")] += 1
        elif not self._attacked and payload.startswith(b"40"):
            self._attack()
        elif not self._attacked and compressed:
            # The answer of CONNECT is long enough to be compressed; nothing else comes before it.
            self._attack()

    def _attack(self) -> None:
        self._attacked = True
        source = self._source
        count = source.randint(1, FRAMES_PER_CONNECTION)
        data = b"".join(mutate(source, source.choice(SEEDS)) for _ in range(count))
        self._findings.frames += count
        cut = source.randrange(len(data) + 1) if source.randrange(4) == 0 else len(data)
        self._transport.write(data[:cut])
        asyncio.get_running_loop().call_soon(self._finish, data[cut:])

    def _finish(self, rest: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(rest)
            self._transport.write_eof()


async def attack(
    port: int,
    token: str,
    frames: int,
    seed: int,
    progress: Callable[[int], None] = lambda frames: None,
) -> Findings:
    """Connections until `frames` were sent. Which bytes each one sends depends on the seed alone."""
    findings, numbers = Findings(), iter(range(1 << 60))
    loop = asyncio.get_running_loop()

    async def one_after_the_other() -> None:
        while findings.frames < frames:
            source = random.Random(f"{seed}:{next(numbers)}")
            before = findings.frames
            attacker = Attacker(source, token, findings)
            async with asyncio.timeout(CONNECTION_SECONDS):
                await loop.create_connection(partial(_same, attacker), "127.0.0.1", port)
                await attacker.over
            findings.connections += 1
            progress(findings.frames - before)

    with _watching(findings):
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(one_after_the_other())
    return findings


def _same(attacker: Attacker) -> Attacker:
    return attacker


@contextmanager
def _watching(findings: Findings) -> Iterator[None]:
    """What the event loop or a logger reports as an error is wrong, too."""
    loop = asyncio.get_running_loop()
    handler = _Errors(findings.wrong)
    loop.set_exception_handler(lambda _, context: findings.wrong.append(str(context)))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        loop.set_exception_handler(None)


class _Errors(logging.Handler):
    def __init__(self, wrong: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._wrong = wrong

    def emit(self, record: logging.LogRecord) -> None:
        self._wrong.append(self.format(record))


@asynccontextmanager
async def server(folder: Path) -> AsyncIterator[tuple[Served, int, str]]:
    """The product with its WebSocket compression on; gives its port and somebody's token. Sessions end
    soon: what is kept of them for the time of an absence is no leak."""
    options = {
        "durability": "memory",
        "websocket_compression": True,
        "connections_per_user": 1000,
        "session_timeout_seconds": 1,
    }
    async with serve(None, folder, **options) as served:
        token = await served.user("ann")
        yield served, int(served.url.rpartition(":")[2]), token


async def settled(served: Served) -> None:
    """Until nobody is connected and the pool has forgotten who was."""
    async with asyncio.timeout(SETTLE_SECONDS):
        while len(served.node.hub):  # noqa: ASYNC110 - a disconnect is noticed by nobody else
            await asyncio.sleep(0.05)


def open_files(folder: str) -> list[str]:
    """What this process has open, without the database's own few files, which it opens when it first
    needs them and keeps."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        # The listing itself is gone by now.
        with suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return [name for name in found if not name.startswith(folder)]


async def main(options: argparse.Namespace) -> None:
    configure_logging("json", "error")
    with tempfile.TemporaryDirectory() as folder, Progress() as progress:
        async with server(Path(folder)) as (served, port, token):
            (await attack(port, token, WARM_UP, options.seed + 1)).check()
            await _rest(served)
            tracemalloc.start()
            await attack(port, token, WARM_UP, options.seed + 2)
            await _rest(served)
            before, files = tracemalloc.get_traced_memory()[0], open_files(folder)
            bar = progress.add_task("fuzzing", total=options.frames)
            advance = lambda frames: progress.advance(bar, frames)  # noqa: E731
            findings = await attack(port, token, options.frames, options.seed, advance)
            await _rest(served)
            grown = tracemalloc.get_traced_memory()[0] - before
            after = open_files(folder)
            left = len(after) - len(files)
    result = {
        "frames": findings.frames,
        "connections": findings.connections,
        "closes": {str(code): count for code, count in sorted(findings.codes.items())},
        "wrong": findings.wrong[:20],
        "memory_grown_kib": round(grown / 1024),
        "files_left_open": left,
        "of_them_new": sorted(set(after) - set(files))[:20] if left > 0 else [],
    }
    print(json.dumps(result, indent=2))
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    findings.check()
    if left > 0 or grown > MOST_GROWTH:
        raise SystemExit("something was left behind")


MOST_GROWTH: Final = 2 * 1024 * 1024
"""Bytes: far less than a byte for each frame of a long run would be."""

REST_SECONDS: Final = 17.0
"""Sessions are expected back for 15 seconds; what is kept for that is no leak."""


async def _rest(served: Served) -> None:
    await settled(served)
    await asyncio.sleep(REST_SECONDS)
    gc.collect()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(parser.parse_args()))
