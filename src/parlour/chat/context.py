"""The context of a handler: who is there, and where its messages go.

It lives in a `ContextVar`, so it follows into tasks that a handler starts, into threads started
with `make_async`, and back through `run_sync`. Two conversations never share one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

from parlour.chat.emitter import Emitter
from parlour.chat.session import Session
from parlour.errors import ParlourError
from parlour.server.chats import Chat

if TYPE_CHECKING:
    from parlour.chat.registry import Callback
    from parlour.chat.step import Step
    from parlour.chat.threads import HandlerThreads
    from parlour.core.thread import ThreadState
    from parlour.server.feeds import Feed
    from parlour.server.node import Node
    from parlour.server.runs import Run


class ContextMissing(ParlourError):
    """There is no conversation here: this name works inside a handler, or in a task that one
    started."""

    code = "context_missing"


class Spoken(Protocol):
    """A message of the app: `finish` closes its text when the run ends, `spoken` is what it
    says."""

    async def finish(self) -> None: ...

    def spoken(self) -> Mapping[str, Any] | None: ...


@dataclass(slots=True, eq=False)
class ParlourContext:
    """Everything that an activation has at hand. `calls` are what its threads wait for
    (`run_sync`); `said` holds the messages that it sent, `open` those whose text is still being
    streamed; `watched` the values that a handler holds a reference to, with their fingerprint
    when it got them; `feed` is the conversation's live state, `asked` the message that is being
    answered; `folder` the copies of files that handlers read by path."""

    session: Session
    emitter: Emitter
    node: Node
    run: Run | None
    loop: asyncio.AbstractEventLoop
    threads: HandlerThreads | None = None
    app_name: str = "Assistant"
    author_rename: Callback | None = None
    calls: set[asyncio.Task[Any]] = field(default_factory=set)
    said: dict[str, Spoken] = field(default_factory=dict)
    open: dict[str, Spoken] = field(default_factory=dict)
    watched: dict[str, str | None] = field(default_factory=dict)
    feed: Feed | None = None
    asked: Mapping[str, Any] | None = None
    folder: TemporaryDirectory[str] | None = None
    copies: list[str] = field(default_factory=list)

    @property
    def chat(self) -> Chat:
        return self.session.chat

    @property
    def current_step(self) -> Step | None:
        """The innermost step that is running here."""
        return current_step.get()

    @property
    def current_run(self) -> Run | None:
        return self.run

    @property
    def stopping(self) -> bool:
        """Whether a person pressed Stop."""
        return self.run is not None and self.run.stopping

    async def find_message(self, message_id: str) -> Mapping[str, Any] | None:
        """A message of this conversation as it is stored; None where it left the window."""
        return (await self.state()).messages.get(message_id)

    async def state(self) -> ThreadState:
        """The conversation as it is stored."""
        return await self.node.state_of(f"thread:{self.chat.thread_id}")


context_var: ContextVar[ParlourContext | None] = ContextVar("parlour_context", default=None)
current_step: ContextVar[Step | None] = ContextVar("parlour_step", default=None)


def find_context() -> ParlourContext | None:
    """The context, where there is one."""
    return context_var.get()


def get_context() -> ParlourContext:
    """The context. Raises `ContextMissing` outside a handler."""
    found = context_var.get()
    if found is None:
        raise ContextMissing(
            "there is no conversation in this context: use it inside a handler or a task that a "
            "handler started; in a thread of your own, start it with make_async"
        )
    return found


class ContextProxy:
    """`parlour.context`: the context of whoever reads it."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(get_context(), name)

    def __bool__(self) -> bool:
        return find_context() is not None

    def __repr__(self) -> str:
        found = find_context()
        return repr(found) if found else "<no conversation in this context>"

    if TYPE_CHECKING:
        session: Session
        emitter: Emitter
        node: Node
        run: Run | None
        current_step: Step | None
        current_run: Run | None
        stopping: bool


context = ContextProxy()
