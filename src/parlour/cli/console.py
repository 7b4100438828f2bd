"""What people read on the terminal: answers on stdout, everything else on stderr."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from typer.core import TyperGroup

from parlour.errors import ParlourError, SettingsError

out = Console()
err = Console(stderr=True)

T = TypeVar("T")

LAST_SECONDS = 2.0
"""How long what was cancelled at the very end may take."""


class Commands(TyperGroup):
    """The root of all commands: turns Parlour's errors into messages."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except* ParlourError as group:
            for error in _leaves(group):
                _tell(error)
        raise typer.Exit(1)


def _leaves(group: BaseExceptionGroup[ParlourError]) -> Iterator[ParlourError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _tell(error: ParlourError) -> None:
    problems = error.problems if isinstance(error, SettingsError) else [error.message]
    if len(problems) > 1:
        err.print(f"[bold red]Error:[/] {len(problems)} mistakes in the configuration")
        for problem in problems:
            err.print(f"  • {escape(problem)}", highlight=False, soft_wrap=True)
    else:
        err.print(f"[bold red]Error:[/] {escape(problems[0])}", highlight=False, soft_wrap=True)


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop where there is one. What the work leaves running is cancelled; where that does not
    help, the process ends without it."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(_run_alone(work))
    return uvloop.run(_run_alone(work))


async def _run_alone(work: Coroutine[Any, Any, T]) -> T:
    result = await work
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    if rest and (await asyncio.wait(rest, timeout=LAST_SECONDS))[1]:
        # A handler that swallows every cancellation; the loop would wait for it for ever. The stores
        # are closed by now.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return result


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int, str], None]]:
    """A function `(done, total, name)` that draws a bar, from its first call on. Any thread may call
    it."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=err,
        transient=True,
    ) as bar:
        tasks: list[Any] = []

        def show(done: int, total: int, name: str) -> None:
            if not tasks:
                tasks.append(bar.add_task(name, total=total))
            bar.update(tasks[0], completed=done, total=total, description=f"Database: {name}")

        yield show
