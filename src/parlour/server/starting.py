"""Work that begins at once: a coroutine that never waits needs no task.

Most commands find in memory what they need. A task for each would cost more than many of them do,
and another turn of the event loop. So the first step is done here, by the caller; only where it
waits for something a task takes over. What the work sees is what it would see in a task: a context of
its own, and a current task that can be cancelled (time limits and task groups ask for it)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, Final

_enter: Final[Callable[[asyncio.AbstractEventLoop, Any], None]] = asyncio.tasks._enter_task
_leave: Final[Callable[[asyncio.AbstractEventLoop, Any], None]] = asyncio.tasks._leave_task

MakeTask = Callable[[Coroutine[Any, Any, Any], Context], asyncio.Task[Any]]


def start_now(
    work: Coroutine[Any, Any, Any], context: Context, make_task: MakeTask
) -> asyncio.Task[Any] | None:
    """Run the work's first step in `context`. None where that was all; else the task that does the
    rest, made by `make_task`, which owns it. Raises what the first step raises.

    Inside another task the work gets a task of its own from the beginning."""
    loop = asyncio.get_running_loop()
    stand_in = _StandIn()
    try:
        _enter(loop, stand_in)
    except RuntimeError:
        # Inside another task.
        return make_task(work, context)
    try:
        waits_for = context.run(work.send, None)
    except StopIteration:
        return None
    finally:
        _leave(loop, stand_in)
    task = make_task(_Begun(work, waits_for), context)
    stand_in.become(task)
    return task


class _StandIn:
    """The current task during the first step, when there is none yet. Whoever kept it reaches the
    real one later."""

    __slots__ = ("__weakref__", "_requests", "_task")

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._requests: list[Any] | None = None

    def become(self, task: asyncio.Task[Any]) -> None:
        self._task = task
        for message in self._requests or ():
            task.cancel(message)

    def cancel(self, msg: Any = None) -> bool:
        if self._task is not None:
            return self._task.cancel(msg)
        self._requests = [*(self._requests or ()), msg]
        return True

    def cancelling(self) -> int:
        return len(self._requests or ()) if self._task is None else self._task.cancelling()

    def uncancel(self) -> int:
        if self._task is not None:
            return self._task.uncancel()
        if self._requests:
            self._requests.pop()
        return len(self._requests or ())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)


class _Begun(Coroutine[Any, Any, Any]):
    """The rest of a coroutine whose first step was done; that step's answer is given once more, to
    the task that takes over."""

    __slots__ = ("_taken_over", "_waits_for", "_work")

    def __init__(self, work: Coroutine[Any, Any, Any], waits_for: Any) -> None:
        self._work: Final = work
        self._waits_for = waits_for
        self._taken_over = False

    def send(self, value: Any) -> Any:
        if self._taken_over:
            return self._work.send(value)
        self._taken_over = True
        waits_for, self._waits_for = self._waits_for, None
        return waits_for

    def throw(self, *error: Any) -> Any:
        # Also before anybody took over: a task that is cancelled first.
        self._taken_over = True
        self._waits_for = None
        return self._work.throw(*error)

    def close(self) -> None:
        self._work.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise RuntimeError("only a task may take this over")
