"""Steps: what the app does between a question and its answer, shown as collapsible rows.

A step is current inside its block, and steps that begin there are its children. It is sent when it
begins, when it changes and when it ends; a step whose block raises has failed.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self, TypeVar, cast, overload

from parlour.chat.context import ParlourContext, current_step, find_context, get_context
from parlour.chat.identity import new_id
from parlour.chat.text import bound, clean, readable
from parlour.chat.threads import run_sync
from parlour.wire.records import StepFields, StepStatus
from parlour.wire.told import STEP

Function = TypeVar("Function", bound=Callable[..., Any])

FIRST_GROWTH: Final = 200
"""Characters after which a step's streamed output is shown for the first time."""


class Step:
    """One row. Usable as `async with`, as `with` (in a thread or on the loop), or by `@step`."""

    def __init__(
        self,
        name: str = "",
        type: str = "undefined",
        id: str | None = None,
        parent_id: str | None = None,
        language: str | None = None,
        message_id: str | None = None,
        show_input: bool | str = True,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        parent = current_step.get()
        self.id = id or new_id()
        self.name = name or "step"
        self.type = type
        self.parent_id = parent_id or (parent.id if parent is not None else None)
        self.language = language
        self.message_id = message_id
        self.show_input = show_input
        self.metadata = dict(metadata or {})
        self.is_error = False
        self.started_at: int | None = None
        self.ended_at: int | None = None
        self._input = ""
        self._output = ""
        self._output_language: str | None = None
        self._shown = 0
        self._parent = parent

    @property
    def input(self) -> str:
        return self._input

    @input.setter
    def input(self, value: Any) -> None:
        """Any value; shown as text or JSON, cut to a bounded length."""
        self._input = readable(value)[0]

    @property
    def output(self) -> str:
        return self._output

    @output.setter
    def output(self, value: Any) -> None:
        self._output, self._output_language = readable(value)

    @property
    def status(self) -> StepStatus:
        if self.ended_at is None:
            return "running"
        return "failed" if self.is_error else "done"

    def to_dict(self) -> StepFields:
        """As it travels and is stored."""
        found = get_context()
        step: StepFields = {
            "id": self.id,
            "name": self.name,
            "type": self.type,
            "parent_id": self.parent_id,
            "run_id": found.run.id if found.run is not None else None,
            "input": bound(self._input) if self.show_input else "",
            "output": bound(self._output),
            "status": self.status,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
        }
        language = self.language or self._output_language
        if language:
            step["language"] = language
        if self.message_id:
            step["message_id"] = self.message_id
        if self.metadata:
            step["data"] = self.metadata
        return step

    async def send(self) -> Self:
        """Show the step as it is now."""
        if self.started_at is None:
            self.started_at = get_context().node.clock.now_ms()
        await get_context().emitter.send_step(self.to_dict())
        return self

    async def update(self) -> bool:
        """Show what changed."""
        await self.send()
        return True

    async def stream_token(self, token: str, is_input: bool = False) -> None:
        """Add to the output (or the input). The row is shown anew each time it grew by a
        quarter."""
        text = clean(token)
        if is_input:
            self._input += text
        else:
            self._output += text
        length = len(self._input) + len(self._output)
        if length - self._shown >= max(FIRST_GROWTH, self._shown // 4):
            self._shown = length
            await self.send()

    async def __aenter__(self) -> Self:
        self._enter()
        await self.send()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exit(error)
        await get_context().emitter.update_step(self.to_dict())

    def __enter__(self) -> Self:
        self._enter()
        self.started_at = get_context().node.clock.now_ms()
        self._show_soon()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exit(error)
        self._show_soon()

    def _enter(self) -> None:
        self._parent = current_step.get()
        if self.parent_id is None and self._parent is not None:
            self.parent_id = self._parent.id
        current_step.set(self)

    def _exit(self, error: BaseException | None) -> None:
        current_step.set(self._parent)
        self.ended_at = get_context().node.clock.now_ms()
        if error is not None:
            self.is_error = True
            self._output = self._output or _describe(error)

    def _show_soon(self) -> None:
        """Show the step from code that cannot await: at once from a thread, in the next turn on
        the loop."""
        found = get_context()
        if _on_loop(found):
            found.emitter.emit_soon(STEP(self.to_dict()))
        else:
            run_sync(found.emitter.send_step(self.to_dict()))

    def __repr__(self) -> str:
        return f"<Step {self.name!r} {self.status}>"


@overload
def step(function: Function, /) -> Function: ...


@overload
def step(
    *,
    name: str | None = None,
    type: str = "undefined",
    language: str | None = None,
    show_input: bool | str = True,
) -> Callable[[Function], Function]: ...


def step(
    function: Function | None = None,
    /,
    *,
    name: str | None = None,
    type: str = "undefined",
    language: str | None = None,
    show_input: bool | str = True,
) -> Function | Callable[[Function], Function]:
    """Make each call of a function a step: its arguments are the input, its result the output.

    Outside a conversation the function is simply called. Raises TypeError for a generator function.
    """

    def decorate(wrapped: Function) -> Function:
        if inspect.isasyncgenfunction(wrapped) or inspect.isgeneratorfunction(wrapped):
            raise TypeError(f"@step cannot wrap {wrapped.__qualname__}: it must not `yield`")

        def begin() -> Step:
            return Step(name or wrapped.__name__, type, language=language, show_input=show_input)

        wrap = _wrap_async if inspect.iscoroutinefunction(wrapped) else _wrap_sync
        return cast(Function, wrap(wrapped, begin))

    return decorate if function is None else decorate(function)


def _wrap_async(wrapped: Callable[..., Any], begin: Callable[[], Step]) -> Callable[..., Any]:
    @functools.wraps(wrapped)
    async def call_step(*args: Any, **kwargs: Any) -> Any:
        if find_context() is None:
            return await wrapped(*args, **kwargs)
        row = begin()
        row.input = _arguments(wrapped, args, kwargs)
        async with row:
            result = await wrapped(*args, **kwargs)
            _keep_result(row, result)
        return result

    return call_step


def _wrap_sync(wrapped: Callable[..., Any], begin: Callable[[], Step]) -> Callable[..., Any]:
    @functools.wraps(wrapped)
    def call_step(*args: Any, **kwargs: Any) -> Any:
        if find_context() is None:
            return wrapped(*args, **kwargs)
        row = begin()
        row.input = _arguments(wrapped, args, kwargs)
        with row:
            result = wrapped(*args, **kwargs)
            _keep_result(row, result)
        return result

    return call_step


def _keep_result(row: Step, result: Any) -> None:
    """The result is the output, unless the function wrote the output itself."""
    if result is not None and not row.output:
        row.output = result


def _arguments(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """The arguments by name; what cannot be bound is the function's own error to raise."""
    try:
        bound_arguments = inspect.signature(function).bind(*args, **kwargs).arguments
    except TypeError:
        return {"args": list(args), **kwargs}
    return {key: value for key, value in bound_arguments.items() if key not in ("self", "cls")}


def _describe(error: BaseException) -> str:
    """What people see of a failure: its kind. The message may hold what they must not read."""
    return "Stopped" if isinstance(error, asyncio.CancelledError) else type(error).__name__


def _on_loop(found: ParlourContext) -> bool:
    try:
        return asyncio.get_running_loop() is found.loop
    except RuntimeError:
        return False
