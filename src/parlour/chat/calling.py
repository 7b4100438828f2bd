"""Calling an author's function: with as many arguments as it takes, on the loop or in a thread."""

from __future__ import annotations

import inspect
from typing import Any

from parlour.chat.registry import Callback
from parlour.chat.threads import make_async


async def call(callback: Callback, *args: Any) -> Any:
    """Call with the arguments that it accepts. What it raises passes through, except that
    `SystemExit`, which would end the whole server, becomes a RuntimeError."""
    accepted = args if callback.arity is None else args[: callback.arity]
    try:
        if callback.is_async:
            return await callback.function(*accepted)
        result = await make_async(callback.function)(*accepted)
        return await result if inspect.isawaitable(result) else result
    except SystemExit as error:
        raise RuntimeError(f"the handler at {callback.place} called sys.exit") from error
