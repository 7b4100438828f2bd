"""`context.emitter`: sends a conversation's events, as part of the run or, after its end, as a
push."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from parlour.server.chats import Chat
from parlour.wire.records import StepFields
from parlour.wire.told import MESSAGE_DELTA, NOTIFICATION, STATUS, STEP

if TYPE_CHECKING:
    from parlour.server.node import Node
    from parlour.server.runs import Run

ConversationEvent = tuple[str, Mapping[str, Any]]


class TextStream(Protocol):
    """Where the tokens of one message go; keeps their order."""

    async def write(self, text: str) -> None: ...

    async def close(self) -> None: ...


class Emitter:
    """Appends to the conversation of one activation, in the order of the calls.

    While the run lives events carry its id as their cause. A task that outlives the run goes on as
    a push to the conversation, except where the run was stopped: what a person stopped stays
    silent.
    """

    def __init__(self, chat: Chat, node: Node, run: Run | None) -> None:
        self._chat = chat
        self._node = node
        self._run = run
        self._stopped = False
        self._waiting: deque[ConversationEvent] = deque()
        self._flusher: asyncio.Task[None] | None = None

    async def emit(self, event: str, data: dict[str, Any]) -> None:
        """Append one conversation event, such as `status` or `notification`."""
        await self.emit_all((event, data))

    async def emit_all(self, *events: ConversationEvent) -> None:
        """Append several events at once: readers see all of them or none."""
        if self._stopped:
            raise asyncio.CancelledError("the run was stopped")
        together = (*self._waiting, *events)
        self._waiting.clear()
        if not together:
            return
        if self._run is not None:
            await self._run.emit(*together)
        else:
            await self._node.push(together, thread_id=self._chat.thread_id)

    def emit_soon(self, *events: ConversationEvent) -> None:
        """As `emit_all` from code that cannot await; call it on the event loop. The events leave
        together with the next ones, at the latest in the next turn of the loop."""
        self._waiting.extend(events)
        if self._flusher is None or self._flusher.done():
            self._flusher = self._node.tasks.spawn(self.emit_all(), "events of a handler")

    def stream(self, message_id: str) -> TextStream:
        """The token stream of one message that was already sent."""
        if self._run is not None:
            return self._run.stream(message_id)
        return PushedStream(self, message_id)

    async def send_step(self, step: StepFields) -> None:
        await self.emit_all(STEP(step))

    async def update_step(self, step: StepFields) -> None:
        await self.emit_all(STEP(step))

    async def send_toast(self, message: str, type: str = "info") -> None:
        """Show a short notice: `info`, `success`, `warning` or `error`."""
        await self.emit_all(NOTIFICATION({"level": type, "text": message}))

    async def send_status(self, text: str) -> None:
        """Show what the app is doing; an empty text takes the line away."""
        await self.emit_all(STATUS({"text": text, "done": not text}))

    async def settle(self) -> None:
        """Wait until everything that was handed to `emit_soon` has left."""
        if self._flusher is not None and not self._flusher.done():
            await asyncio.wait({self._flusher})
        await self.emit_all()

    def leave_run(self, *, stopped: bool) -> None:
        """The run is over; whoever still holds this emitter goes on outside it."""
        self._run = None
        self._stopped = stopped


class PushedStream:
    """Tokens outside a run: each write is one push."""

    def __init__(self, emitter: Emitter, message_id: str) -> None:
        self._emitter = emitter
        self._message_id = message_id

    async def write(self, text: str) -> None:
        await self._emitter.emit_all(MESSAGE_DELTA({"id": self._message_id, "text": text}))

    async def close(self) -> None:
        """Nothing is held back here."""
