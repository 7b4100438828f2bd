"""Mutated frames by the thousand: only typed errors leave, and nothing stays behind.

`PARLOUR_FUZZ_FRAMES=1000000` makes it the long run; the seed is fixed, so a failure repeats.
"""

from __future__ import annotations

import gc
import os
import random
import sys

from parlour.errors import ProtocolError
from parlour.wire.engineio import decode_packet
from parlour.wire.socketio import Decoder
from parlour.wire.websocket import Receiver
from tests.unit.wire.test_websocket import client_frame

FRAMES = int(os.environ.get("PARLOUR_FUZZ_FRAMES", "20000"))
SEEDS = [
    client_frame(1, b'42["message:send",{"thread_id":"t","content":"hello"}]'),
    client_frame(1, b'4212["a",{"_placeholder":true,"num":0}]'),
    client_frame(1, b'452-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'),
    client_frame(2, b"\x00\x01\x02"),
    client_frame(1, b"40/other,{}"),
    client_frame(1, "4é€😀".encode()),
    client_frame(1, b"4par", final=False) + client_frame(0, b"tial"),
    client_frame(9, b"ping"),
    client_frame(8, b"\x03\xe8bye"),
    client_frame(2, b"x" * 300),
]


def mutate(source: random.Random, data: bytes) -> bytes:
    mutated = bytearray(data)
    for _ in range(source.randint(1, 4)):
        at = source.randrange(len(mutated))
        kind = source.randrange(4)
        if kind == 0:
            mutated[at] = source.randrange(256)
        elif kind == 1:
            mutated[at] ^= 1 << source.randrange(8)
        elif kind == 2:
            mutated.insert(at, source.randrange(256))
        elif len(mutated) > 1:
            del mutated[at]
    return bytes(mutated)


def feed(data: list[bytes]) -> int:
    """One connection's bytes through every layer; gives the number of messages that came out."""
    receiver, decoder, found = Receiver(100_000), Decoder(), 0
    try:
        for chunk in data:
            text = receiver.whole(chunk)
            for message in receiver.receive(chunk) if text is None else [text]:
                if isinstance(message, str) and message[:1] == "4":
                    decoder.feed(message, 1)
                elif isinstance(message, bytes):
                    decoder.feed(message)
                elif isinstance(message, str):
                    decode_packet(message)
                found += 1
    except ProtocolError:
        pass
    return found


def run(source: random.Random, frames: int) -> int:
    found = 0
    for _ in range(frames // 4):
        chosen = [source.choice(SEEDS) for _ in range(4)]
        found += feed([mutate(source, data) if source.random() < 0.7 else data for data in chosen])
    return found


def test_mutated_frames_end_in_typed_errors_and_leave_nothing_behind():
    source = random.Random(20_231_114)
    run(source, 2000)
    gc.collect()
    before = sys.getallocatedblocks()

    found = run(source, FRAMES)

    gc.collect()
    assert found > 0
    # orjson remembers up to 2,048 keys; nothing else may grow with the number of frames.
    assert sys.getallocatedblocks() - before < 3000
