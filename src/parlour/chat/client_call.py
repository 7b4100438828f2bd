"""Calling a function in the person's browser, such as one of the page that embeds the chat."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from parlour.chat.context import get_context
from parlour.errors import CallGone

CALL_TIMEOUT: Final = 300.0


@dataclass(slots=True)
class CopilotFunction:
    """A function that the client offers under `name`; `args` are JSON values by name."""

    name: str
    args: dict[str, Any] = field(default_factory=dict)
    timeout: float = CALL_TIMEOUT

    async def acall(self) -> Any:
        """Call the client of this session and wait for its answer. Raises `CallGone` where
        nobody is connected, `CallTimeout`, and `CallRefused` where the client declined."""
        run = get_context().run
        if run is None:
            raise CallGone("A client can only be called while a handler runs.")
        return await run.call(self.name, self.args, self.timeout)
