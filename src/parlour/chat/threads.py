"""Between the event loop and threads, with the context on both sides."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar

from parlour.chat.context import ParlourContext, find_context, get_context

P = ParamSpec("P")
T = TypeVar("T")


class HandlerThreads:
    """Threads for blocking code, at most `limit` at a time; more wait for one that ends.

    They are daemons, which an executor's are not: the interpreter joins those when it ends, so one
    handler that hangs would keep the process alive for ever.
    """

    def __init__(self, limit: int) -> None:
        self._free = asyncio.Semaphore(limit)

    async def run(self, function: Callable[[], T]) -> T:
        """Call in a thread. Cancelling leaves the thread running (Python cannot end it), and its place
        taken until it ends."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            settle = _call(function, future)
            try:
                loop.call_soon_threadsafe(self._end, settle)
            except RuntimeError:
                # The loop is closed: the process goes down and nobody waits any more.
                return

        threading.Thread(target=work, name="parlour-handler", daemon=True).start()
        return await future

    def _end(self, settle: Callable[[], None]) -> None:
        self._free.release()
        settle()


def _call(function: Callable[[], T], future: asyncio.Future[T]) -> Callable[[], None]:
    """Call, in the thread; what is given back hands the outcome over, on the loop."""
    try:
        result = function()
    except asyncio.CancelledError:
        return lambda: _discard(future.cancel())
    except StopIteration as error:
        return functools.partial(_fail, future, RuntimeError(f"the function raised {error!r}"))
    except BaseException as error:  # noqa: BLE001 - raised again where the function is awaited
        return functools.partial(_fail, future, error)
    return lambda: None if future.done() else future.set_result(result)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


def _discard(result: object) -> None:
    return None


def make_async(function: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """Make a blocking function awaitable: it runs in a thread, in the caller's context.

    Cancelling the await does not end the thread (Python cannot); what it sends after a Stop is
    dropped.
    """

    @functools.wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        found = find_context()
        if found is None or found.threads is None:
            return await asyncio.to_thread(function, *args, **kwargs)
        here = copy_context()
        return await found.threads.run(functools.partial(here.run, function, *args, **kwargs))

    return call


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Wait for a coroutine from a thread that `make_async` (or a plain `def` handler) runs in.

    Raises RuntimeError on the event loop's own thread, where waiting would block every
    conversation.
    """
    try:
        found = get_context()
        _refuse_on_loop(found.loop)
        if found.stopping:
            raise asyncio.CancelledError("the run was stopped")
        outcome = _Outcome(found, coroutine)
        found.loop.call_soon_threadsafe(outcome.begin)
    except BaseException:
        coroutine.close()
        raise
    result: T = outcome.future.result()
    return result


class _Outcome:
    """A coroutine that a thread waits for. Its task belongs to the activation, which ends it."""

    def __init__(self, found: ParlourContext, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.future: Future[Any] = Future()
        self._found = found
        self._coroutine = coroutine

    def begin(self) -> None:
        task = self._found.loop.create_task(self._coroutine)
        self._found.calls.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._found.calls.discard(task)
        if task.cancelled():
            self.future.set_exception(asyncio.CancelledError("the run was stopped"))
        elif (error := task.exception()) is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(task.result())


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
