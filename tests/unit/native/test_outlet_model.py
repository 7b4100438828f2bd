"""Whatever is done with an outlet: both forms send the same bytes, which are those that a few lines say."""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parlour.native import outlet as pure
from parlour.wire.packets import Encoded, join_encoded
from tests.unit.native.wires import (
    LOOPS,
    UNBOUNDED,
    connect,
    end_turn,
    framed,
    packet,
    receive_all,
    receive_now,
)

Step = tuple[str, Any]

SMALL = 4096
"""A socket's buffer, so that parts of what is written do not fit."""

sizes = st.integers(0, 300) | st.integers(0, 30_000)
steps = st.one_of(
    st.tuples(st.just("write"), sizes),
    st.tuples(st.just("write"), sizes),
    st.tuples(st.just("batch"), st.lists(sizes, min_size=2, max_size=4)),
    st.tuples(st.just("many"), st.integers(200, 600)),
    st.tuples(st.just("put"), sizes),
    st.tuples(st.just("put_packets"), st.lists(sizes, min_size=1, max_size=6)),
    st.tuples(st.just("read"), st.integers(1, 100_000)),
    st.tuples(st.sampled_from(["flush", "pause", "resume", "turn"]), st.none()),
)


class Packets:
    """Made alike for each that plays the same steps."""

    def __init__(self) -> None:
        self._made = 0

    def one(self, size: int) -> Encoded:
        self._made += 1
        return packet(self._made, size)

    def of(self, kind: str, value: Any) -> list[Encoded]:
        """What a step writes or puts."""
        if kind == "write":
            return [self.one(value)]
        if kind == "batch":
            return [join_encoded([self.one(size) for size in value])]
        if kind == "many":
            return [self.one(0) for _ in range(value)]
        return [self.one(size) for size in value]


def expect(played: list[Step]) -> tuple[list[bool], bytes]:
    """What `write` answers, and what leaves."""
    packets, answers, sent = Packets(), [], bytearray()
    noted: list[Encoded] = []
    paused = False
    for kind, value in played:
        if kind in ("write", "batch", "many"):
            written = packets.of(kind, value)
            answers += [not paused] * len(written)
            noted += [] if paused else written
        elif kind in ("pause", "resume"):
            paused = kind == "pause"
        elif kind != "read":
            sent += framed(*noted)
            noted = []
            if kind == "put":
                sent += framed(packets.one(value))
            elif kind == "put_packets":
                sent += framed(*packets.of(kind, value))
    return answers, bytes(sent + framed(*noted))


async def play(form: ModuleType, played: list[Step]) -> tuple[list[bool], bytes]:
    """The same, of a real connection. Its transport is never full by itself, so that the answers
    depend on the steps alone."""
    packets, answers, heard = Packets(), [], bytearray()
    protocol, peer = await connect(form, "unix", SMALL)
    protocol.transport.set_write_buffer_limits(UNBOUNDED)
    with peer:
        for kind, value in played:
            if kind in ("write", "batch", "many"):
                answers += [protocol.write(one) for one in packets.of(kind, value)]
            elif kind in ("pause", "resume"):
                protocol.paused = kind == "pause"
            elif kind == "put":
                protocol.put(framed(packets.one(value)))
            elif kind == "put_packets":
                protocol.put_packets(packets.of(kind, value))
            elif kind == "read":
                heard += receive_now(peer, value) or b""
            elif kind == "flush":
                protocol.flush()
            else:
                await end_turn()
        protocol.flush()
        protocol.transport.close()
        heard += await receive_all(peer)
        assert await protocol.gone is None
    return answers, bytes(heard)


@pytest.mark.parametrize("loop", LOOPS)
@given(st.lists(steps, max_size=40))
@settings(max_examples=50)
def test_both_forms_send_the_same_whatever_is_done(compiled, loop, played):
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        by_pure = runner.run(play(pure, played))
        by_compiled = runner.run(play(compiled, played))

    assert by_pure == expect(played)
    assert by_compiled == expect(played)
