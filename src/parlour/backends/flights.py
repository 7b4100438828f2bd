"""Work that many callers ask for at once and that is done once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

from parlour.errors import ShuttingDown

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Each name's work runs once at a time; whoever asks meanwhile gets the same result or error.

    A caller that is cancelled does not end the work of the others. `close` ends what still runs;
    whoever waits for it hears `ShuttingDown`.
    """

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[T]] = {}

    async def run(self, name: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        task = self._tasks.get(name)
        if task is None:
            task = asyncio.create_task(work(), name=f"{work!r} {name}")
            self._tasks[name] = task
            task.add_done_callback(partial(self._landed, name))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if task.cancelled() and caller is not None and not caller.cancelling():
                raise ShuttingDown("the store is closed") from None
            raise

    async def close(self) -> None:
        """Cancel what runs and wait for its end; idempotent."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _landed(self, name: Hashable, task: asyncio.Task[T]) -> None:
        del self._tasks[name]
        if not task.cancelled():
            task.exception()  # seen, also where every caller has gone
