"""An agent's hands: carries out actions in the workspace and says what came of them."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Final

from parlour.agents.events import (
    Action,
    CellAction,
    CellObservation,
    EditAction,
    EditObservation,
    ErrorObservation,
    Observation,
    ReadAction,
    ReadObservation,
    RunAction,
    RunObservation,
    WriteAction,
    WriteObservation,
)
from parlour.agents.memory import Knowledge, load_knowledge
from parlour.agents.ports import CommandResult, Runtime
from parlour.errors import CommandError, NotFound

OUTPUT: Final = 50_000
"""Characters of a command's output, or of a file, that an event holds."""

KEPT_BEFORE: Final = 50_000
"""Characters of a file's former text that are kept with what replaced it."""

SIGNALLED: Final = 200_000
"""Characters of a command's output that are shown while it runs."""


class Heard:
    """What a command has printed so far: passed on up to a bound, and the end of it kept."""

    def __init__(self, pass_on: Callable[[str], None]) -> None:
        self._pass_on = pass_on
        self._left = SIGNALLED
        self.tail = ""

    def __call__(self, piece: str) -> None:
        self.tail = (self.tail + piece)[-OUTPUT:]
        if self._left > 0:
            self._pass_on(piece[: self._left])
            self._left -= len(piece)


class Hands:
    """Runs actions on a runtime, which is opened when it is first needed."""

    def __init__(self, runtime: Runtime, command_seconds: float) -> None:
        self.runtime = runtime
        self._seconds = command_seconds
        self._open = False

    async def open(self) -> None:
        """Raises `RuntimeUnavailable`. Idempotent."""
        if not self._open:
            await self.runtime.open()
            self._open = True

    async def close(self) -> None:
        if self._open:
            self._open = False
            await self.runtime.close()

    async def knowledge(self) -> Knowledge:
        """What the workspace tells its agent. A workspace that cannot be had says so when it is used."""
        try:
            await self.open()
            return await load_knowledge(self.runtime)
        except CommandError:
            return Knowledge()

    async def do(self, action: Action, heard: Heard) -> Observation:
        """Raises what the runtime raises; being cancelled ends what was begun."""
        await self.open()
        match action:
            case RunAction():
                result = await self.runtime.run(
                    action.command, timeout_s=self._limit(action.timeout), on_output=heard
                )
                return RunObservation(command=action.command, **_result(result))
            case CellAction():
                result = await self.runtime.run_cell(action.code, self._limit(action.timeout))
                return CellObservation(command=action.code, **_result(result))
            case ReadAction():
                text = await self.runtime.read_file(action.path)
                shown, cut = _cut(text)
                return ReadObservation(content=shown, path=action.path, truncated=cut)
            case WriteAction():
                return await self._write(action)
            case EditAction():
                return await self._edit(action)
        return ErrorObservation(
            content=f"{action.name} cannot be carried out.", code="invalid_call"
        )

    def interrupted(self, action: Action, heard: Heard) -> Observation:
        """What is told of an action that was cancelled."""
        words = f"{heard.tail}\n[Interrupted]".lstrip()
        match action:
            case RunAction():
                return RunObservation(content=words, command=action.command, interrupted=True)
            case CellAction():
                return CellObservation(content=words, command=action.code, interrupted=True)
        return ErrorObservation(content="This was interrupted.", code="interrupted")

    def _limit(self, wanted: float | None) -> float:
        return min(wanted or self._seconds, self._seconds)

    async def _write(self, action: WriteAction) -> WriteObservation:
        before = await self._text_of(action.path)
        await self.runtime.write_file(action.path, action.content)
        kept = before if before is not None and len(before) <= KEPT_BEFORE else None
        return WriteObservation(
            content=f"{len(action.content)} characters", path=action.path, before=kept
        )

    async def _edit(self, action: EditAction) -> EditObservation:
        before = await self.runtime.read_file(action.path)
        await self.runtime.edit_file(action.path, action.old, action.new)
        after = await self.runtime.read_file(action.path)
        diff, _ = _cut(_difference(action.path, before, after))
        return EditObservation(content=diff, path=action.path, diff=diff)

    async def _text_of(self, path: str) -> str | None:
        try:
            return await self.runtime.read_file(path)
        except NotFound:
            return None
        except CommandError:
            # It may be no text, or too large to be shown: then there is no "before".
            return None


def _result(result: CommandResult) -> dict[str, object]:
    content, cut = _cut(result.output)
    return {
        "content": content,
        "exit_code": result.exit_code,
        "truncated": result.truncated or cut,
        "timed_out": result.timed_out,
    }


def _cut(text: str) -> tuple[str, bool]:
    """The beginning and the end of a long text."""
    if len(text) <= OUTPUT:
        return text, False
    half = OUTPUT // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n[… {left_out} characters left out …]\n{text[-half:]}", True


def _difference(path: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"a/{path}", f"b/{path}", lineterm=""
    )
    return "\n".join(lines)
