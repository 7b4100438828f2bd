"""Code that blocks the loop is named in the log."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import structlog

from parlour.chat.stalls import StallWatch


def hold_up(seconds: float) -> None:
    threading.Event().wait(seconds)


async def test_blocking_code_is_named_and_its_end_is_told() -> None:
    watch = StallWatch(limit=0.05)
    with structlog.testing.capture_logs() as logs:
        watch.start()
        hold_up(0.6)
        await asyncio.sleep(0)
        watch.stop()
        await asyncio.to_thread(watch.join)

    blocked, over = logs[0], logs[1]
    assert "hold_up(0.6)" in blocked["stack"]
    assert "threading.py" in blocked["at"]
    assert over["after_seconds"] >= 0.3


async def test_a_loop_that_works_is_left_alone() -> None:
    watch = StallWatch(limit=2.0)
    with structlog.testing.capture_logs() as logs:
        watch.start()
        for _ in range(50):
            await asyncio.to_thread(time.monotonic)
        watch.stop()
        await asyncio.to_thread(watch.join)

    entries: list[Any] = list(logs)
    assert entries == []
