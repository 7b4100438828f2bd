"""Run a server beside a test, in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

import uvloop

T = TypeVar("T")


@contextmanager
def in_background(server: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Enter `server` on a uvloop loop in a thread; gives what it gives, and leaves it at the end."""
    started: Future[T] = Future()
    stop: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        ended = asyncio.Event()
        stop.set_result((asyncio.get_running_loop(), ended))
        async with server as value:
            started.set_result(value)
            await ended.wait()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(serve())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = threading.Thread(target=run, name="server")
    thread.start()
    try:
        yield started.result(timeout=30)
    finally:
        loop, ended = stop.result(timeout=30)
        loop.call_soon_threadsafe(ended.set)
        thread.join(timeout=30)
