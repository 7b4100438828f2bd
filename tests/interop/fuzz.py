"""Mutated frames against the fast protocol: only typed closes, and nothing is left behind.

    python -m tests.interop.fuzz [--frames 1000000] [--seed 1]

Each connection gets valid frames of all kinds with bits flipped, bytes taken out, put in or repeated,
until it is closed. Nothing may come out of the protocol but close frames whose code RFC 6455 knows."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import tracemalloc
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from rich.progress import Progress

from parlour.server.endpoint import Link
from parlour.transports.socketio import SocketSettings, SocketTransport
from parlour.transports.socketio.fast import fast_protocol
from parlour.wire.deflate import compress
from tests.integration.test_delivery_cost import REQUEST, Pipe, Room, UvicornSide
from tests.interop.protocol_server import SystemClock
from tests.unit.wire.test_websocket import client_frame

FRAMES_PER_CONNECTION: Final = 20
LEGAL: Final = frozenset({*range(1000, 1004), *range(1007, 1015)})
WITH_DEFLATE: Final = REQUEST.replace(
    b"upgrade: websocket", b"sec-websocket-extensions: permessage-deflate\r\nupgrade: websocket"
)
SEEDS: Final = [
    client_frame(1, b"40"),
    client_frame(1, b'42["a",{"b":[1,2,"\xc3\xa4"]}]'),
    client_frame(1, b'4212["a",{}]'),
    client_frame(1, b'451-["a",{"_placeholder":true,"num":0}]') + client_frame(2, b"\x01\x02"),
    client_frame(1, b"4half", final=False) + client_frame(9, b"?") + client_frame(0, b"\xc3\xa4"),
    client_frame(1, compress(b'42["a","aaaaaaaaaaaaaaaa"]'), rsv=4),
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


class Nobody(Room):
    """An endpoint that keeps nothing."""

    async def connect(self, link: Link, namespace: str, auth: Any) -> Mapping[str, Any]:
        return {}


class ClosedPipe(Pipe):
    """Notes the codes of close frames; `over` once the server closed."""

    def __init__(self) -> None:
        super().__init__()
        self.codes: list[int] = []
        self.over = False

    def write(self, data: bytes) -> None:
        if data[:1] == b"\x88":
            self.codes.append(int.from_bytes(data[2:4], "big"))

    def close(self) -> None:
        self.over = True

    def abort(self) -> None:
        self.over = True


async def fuzz(
    frames: int, seed: int, progress: Callable[[int], None] = lambda sent: None
) -> Counter[int]:
    """How often each close code came. Raises whatever the protocol raises."""
    source, codes, sent = random.Random(seed), Counter[int](), 0
    settings = SocketSettings(compression=True)
    async with SocketTransport(Nobody(), settings, SystemClock()) as transport:
        build, side = fast_protocol(transport), UvicornSide()
        while sent < frames:
            pipe, count = _one_connection(build(side, side, None), source)
            codes.update(pipe.codes)
            sent += count
            progress(count)
            await asyncio.sleep(0)
        assert not transport.connections
        assert not side.connections
    return codes


def _one_connection(protocol, source: random.Random) -> tuple[ClosedPipe, int]:
    pipe, sent = ClosedPipe(), 0
    protocol.connection_made(pipe)
    protocol.data_received(source.choice([REQUEST, WITH_DEFLATE]))
    protocol.data_received(SEEDS[0])
    while sent < FRAMES_PER_CONNECTION and not pipe.over:
        protocol.data_received(mutate(source, source.choice(SEEDS)))
        sent += 1
    protocol.connection_lost(None)
    return pipe, sent


def is_legal(code: int) -> bool:
    """Ours, or one that a client gave and that is repeated to it."""
    return code in LEGAL or 3000 <= code <= 4999


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    await fuzz(1000, 0)
    gc.collect()
    tracemalloc.start()
    with Progress() as progress:
        before, files = tracemalloc.get_traced_memory()[0], open_files()
        bar = progress.add_task("fuzzing", total=options.frames)
        codes = await fuzz(options.frames, options.seed, lambda sent: progress.advance(bar, sent))
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    print(f"closes by code: {dict(codes)}")
    print(f"memory grown by {grown / 1024:.0f} KiB, open files by {open_files() - files}")
    if not all(map(is_legal, codes)):
        raise SystemExit("a close code that was not expected")


if __name__ == "__main__":
    asyncio.run(main())
