"""Token streams: text deltas that travel together when they were produced together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from parlour.errors import ParlourError
from parlour.wire.told import MESSAGE_DELTA

if TYPE_CHECKING:
    from parlour.server.runs import Run

PENDING_LIMIT = 32_768
"""Characters that may wait before `write` waits too."""


class TokenStream:
    """Writes one message's deltas in order. While an append is under way new text gathers; the next append
    takes all of it as one delta, so a slow store makes deltas larger, never the answer slower."""

    def __init__(self, run: Run, message_id: str) -> None:
        self._run = run
        self._message_id = message_id
        self._pending: list[str] = []
        self._size = 0
        self._pump: asyncio.Task[None] | None = None
        self._error: ParlourError | None = None

    async def write(self, text: str) -> None:
        """Add text. Returns at once while the store keeps up. Raises what the last append raised."""
        self._raise()
        if not text:
            return
        self._pending.append(text)
        self._size += len(text)
        if self._pump is None:
            self._pump = self._run.node.tasks.spawn(self._flush(), f"tokens of {self._message_id}")
        if self._size > PENDING_LIMIT:
            await asyncio.wait({self._pump})
            self._raise()
        else:
            # One turn of the loop, so that a model that never waits still streams.
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Wait until everything is stored. Raises what an append raised."""
        await self.settle()
        self._raise()

    async def settle(self) -> None:
        """As `close`, without raising: for the end of a run that fails anyway."""
        if self._pump is not None:
            await asyncio.wait({self._pump})

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    async def _flush(self) -> None:
        try:
            while self._pending:
                text = "".join(self._pending)
                self._pending.clear()
                self._size = 0
                await self._run.emit(MESSAGE_DELTA({"id": self._message_id, "text": text}))
        except ParlourError as error:
            self._error = error
            self._pending.clear()
            self._size = 0
        finally:
            self._pump = None
