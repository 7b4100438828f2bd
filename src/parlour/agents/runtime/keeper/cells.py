"""Python that keeps its names between cells; its text is run inside the workspace, and never imported.

Reads lines of JSON, `{"mark", "code"}`, from the descriptor that the first argument names; prints to its
terminal, and after each cell the mark with 0, 1 (an exception), 130 (interrupted) or what `sys.exit` gave.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import json
import linecache
import os
import signal
import sys
import traceback
from typing import Any

SHOWN = 100_000
"""Characters of the last expression that are shown."""


class Cells:
    """The names, and an event loop for `await` outside of functions."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
        self.count = 0
        self.runner = asyncio.Runner()

    def run(self, code: str) -> int:
        """Run a cell and show its last expression; returns an exit code."""
        self.count += 1
        name = f"<cell {self.count}>"
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        try:
            self._execute(code, name)
        except SystemExit as end:
            return _exit_code(end)
        except KeyboardInterrupt:
            sys.stderr.write("KeyboardInterrupt\n")
            return 130
        except BaseException as error:  # noqa: BLE001 - whatever a cell raises is its result
            _show(error)
            return 1
        return 0

    def _execute(self, code: str, name: str) -> None:
        tree = ast.parse(code, name)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        if tree.body:
            self._evaluate(tree, name, "exec")
        if isinstance(last, ast.Expr):
            value = self._evaluate(ast.Expression(last.value), name, "eval")
            if value is not None:
                self.names["_"] = value
                text = repr(value)
                print(text if len(text) <= SHOWN else text[:SHOWN] + " …")

    def _evaluate(self, tree: Any, name: str, mode: str) -> Any:
        code = compile(tree, name, mode, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        value = eval(code, self.names)
        if code.co_flags & inspect.CO_COROUTINE:
            return self.runner.run(value)
        return value


def _exit_code(end: SystemExit) -> int:
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 255
    sys.stderr.write(f"{end.code}\n")
    return 1


def _show(error: BaseException) -> None:
    """The traceback from the cell on; the frames of this file are nobody's business."""
    trace = error.__traceback__
    while trace is not None and not trace.tb_frame.f_code.co_filename.startswith("<cell"):
        trace = trace.tb_next
    sys.stderr.write("".join(traceback.format_exception(type(error), error, trace)))


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def main() -> None:
    """Serve cells until the descriptor ends."""
    requests = os.fdopen(int(sys.argv[1]), "rb")
    terminal = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = [""]
    cells = Cells()
    for line in requests:
        request = json.loads(line)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            code = cells.run(request["code"])
            _flush()
        except KeyboardInterrupt:
            code = 130
        # Between cells Ctrl-C finds nothing to end; it must not end the interpreter.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.write(terminal, f"\033]parlour;{request['mark']};{code}\007".encode())


if __name__ == "__main__":
    main()
