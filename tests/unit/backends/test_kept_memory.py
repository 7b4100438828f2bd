"""What a hot log keeps of an event takes little more memory than the event is long."""

from __future__ import annotations

import tracemalloc

import orjson

from parlour.backends.memory.log import MemoryLog
from parlour.core.streams import Dedupe, NewEvent
from parlour.server.clock import SystemClock

EVENTS = 500


async def test_a_kept_event_is_as_large_as_its_record() -> None:
    """The JSON library's result sat in a buffer of four kibibytes, each."""
    log = MemoryLog(SystemClock())
    delta = NewEvent("message:delta", {"id": "m1", "text": "token"}, at=1)
    await log.append("thread:t", [delta])

    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(EVENTS):
        await log.append("thread:t", [delta])
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    assert kept / EVENTS < 500


async def test_a_kept_receipt_is_as_large_as_it_is_long() -> None:
    log = MemoryLog(SystemClock())
    event = NewEvent("message", {"id": "m1", "content": "hello"}, at=1)
    await log.append("thread:t", [event], dedupe=Dedupe("first", b"{}"))

    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(EVENTS):
        answer = orjson.dumps({"id": "m1", "command_id": str(number)})
        await log.append("thread:t", [event], dedupe=Dedupe(str(number), answer))
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    assert kept / EVENTS < 1500
