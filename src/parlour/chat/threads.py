"""Between the event loop and threads, with the context on both sides."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar

from parlour.chat.context import find_context, get_context

P = ParamSpec("P")
T = TypeVar("T")


def make_async(function: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """Make a blocking function awaitable: it runs in a thread, in the caller's context.

    Cancelling the await does not end the thread (Python cannot); what it sends after a Stop is
    dropped.
    """

    @functools.wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        found = find_context()
        executor = found.executor if found is not None else None
        here = copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            executor, functools.partial(here.run, function, *args, **kwargs)
        )

    return call


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Wait for a coroutine from a thread that `make_async` (or a plain `def` handler) runs in.

    Raises RuntimeError on the event loop's own thread, where waiting would block every
    conversation.
    """
    try:
        loop = get_context().loop
        _refuse_on_loop(loop)
        if get_context().stopping:
            raise asyncio.CancelledError("the run was stopped")
    except BaseException:
        coroutine.close()
        raise
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result()


def _refuse_on_loop(loop: asyncio.AbstractEventLoop) -> None:
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        return
    if running is loop:
        raise RuntimeError("run_sync would block the event loop here: await the coroutine instead")


async def sleep(seconds: float) -> None:
    """Pause this handler; everything else goes on."""
    await asyncio.sleep(seconds)
