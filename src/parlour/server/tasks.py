"""Tasks with an owner: every task of a node is awaited by the node."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from types import TracebackType
from typing import Any, Self

import structlog

from parlour.server.starting import start_now

log = structlog.get_logger(__name__)


class Tasks:
    """A set of tasks that live inside one `async with`. Unlike a task group, one task's failure ends
    only that task (it is logged with its traceback); leaving the block cancels and awaits the rest."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def closed(self) -> bool:
        """Nothing can be spawned any more."""
        return self._closed

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.cancel()

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Start a task owned by this set."""
        self._check_open(work)
        return self._own(work, name)

    def begin(self, work: Coroutine[Any, Any, Any], name: str, context: Context) -> None:
        """The same for work that mostly needs no waiting: it starts at once, and where it ends
        without having waited there was no task."""
        if self._closed:
            self._check_open(work)
        try:
            start_now(work, context, lambda rest, context: self._own(rest, name, context))
        except Exception:
            # As for a task: its failure is its own.
            log.exception("task failed", task=name)

    def _check_open(self, work: Coroutine[Any, Any, Any]) -> None:
        if self._closed:
            work.close()
            raise RuntimeError("the node is closed")

    def _own(
        self, work: Coroutine[Any, Any, Any], name: str, context: Context | None = None
    ) -> asyncio.Task[Any]:
        task = asyncio.create_task(work, name=name, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def cancel(self) -> None:
        """Cancel and await everything; nothing can be spawned afterwards."""
        self._closed = True
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("task failed", task=task.get_name(), exc_info=task.exception())
