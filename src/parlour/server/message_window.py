"""The message window on its own: a cache of each conversation's newest messages over a database.

For people who want only this part (reference document 004): `add_message`, `get_messages`,
`update_expiry` and `sync`. It is the same log, archive and synchroniser that a node uses:

    async with open_message_window(settings) as window:
        await window.add_message("team-7", {"role": "user", "content": "Hello", "userId": "u1"})
        messages = await window.get_messages("team-7")
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import orjson

from parlour.config import Settings
from parlour.core.streams import Dedupe, NewEvent, Page, Position
from parlour.core.thread import ThreadState, fold
from parlour.errors import InvalidPayload, NotFound
from parlour.ports import Archive, Clock, EventLog, HotLog
from parlour.server.archived_log import ArchivedLog
from parlour.server.clock import SystemClock, new_id
from parlour.server.composition import open_backends
from parlour.server.projector import Projector
from parlour.server.synchroniser import Synchroniser
from parlour.server.tasks import Tasks
from parlour.telemetry import Metrics
from parlour.wire.told import MESSAGE, MESSAGE_DELETE

READ_PAGE = 10_000
ROLES = frozenset({"user", "assistant", "system"})

Message = dict[str, Any]


class MessageWindow:
    """Messages by session (a conversation's id). Made by `open_message_window`.

    A message is `{id?, role, content, timestamp?, metadata?, userId?}`; more fields are kept as they are.
    """

    def __init__(
        self,
        log: EventLog,
        hot: HotLog,
        archive: Archive,
        projector: Projector,
        synchroniser: Synchroniser | None,
        clock: Clock,
        new_id: Callable[[], str],
        window: int,
    ) -> None:
        self._log = log
        self._hot = hot
        self._archive = archive
        self._projector = projector
        self._synchroniser = synchroniser
        self._clock = clock
        self._new_id = new_id
        self._window = window

    async def add_message(self, session_id: str, message: Mapping[str, Any]) -> Message:
        """Append one message; gives it back with its `id` and `timestamp`. The same id again changes
        nothing. Renews the session's expiry. Raises `InvalidPayload`, `Unavailable`."""
        return (await self.add_messages(session_id, [message]))[0]

    async def add_messages(
        self, session_id: str, messages: Sequence[Mapping[str, Any]]
    ) -> list[Message]:
        """Append several messages in one round trip: all or none."""
        stored = [self._complete(message) for message in messages]
        records = [
            NewEvent(MESSAGE.type, one, self._clock.now_ms(), _source(one)) for one in stored
        ]
        receipt = orjson.dumps(stored)
        key = "msg:" + ",".join(message["id"] for message in stored)
        appended = await self._log.append(
            _stream(session_id), records, dedupe=Dedupe(key[:500], receipt)
        )
        if self._synchroniser is None:
            self._projector.touched(_stream(session_id), records)
        else:
            self._synchroniser.touched(_stream(session_id), records)
        return list(orjson.loads(appended.receipt)) if appended.duplicate else stored

    async def delete_message(self, session_id: str, message_id: str) -> None:
        """Delete for good, in window and database. Raises `NotFound`."""
        if all(message["id"] != message_id for message in await self.get_messages(session_id)):
            raise NotFound("There is no such message.")
        gone = NewEvent(*MESSAGE_DELETE({"id": message_id}), self._clock.now_ms())
        await self._log.append(_stream(session_id), [gone])

    async def get_messages(self, session_id: str, limit: int | None = None) -> list[Message]:
        """The newest messages, oldest first, at most the window. One round trip while the window holds
        them; what has left it is read from the database."""
        stream = _stream(session_id)
        page = await self._hot.read(stream, None, READ_PAGE)
        state = ThreadState()
        if not self._suffices(page):
            state, position = await self._stored(stream, page.head)
            page = await self._log.read(stream, position, READ_PAGE)
        while True:
            state, _ = fold(state, page.events, window=self._window)
            if page.position == page.head or not page.events:
                break
            page = await self._log.read(stream, page.position, READ_PAGE)
        messages = list(state.messages.values())
        return messages[-limit:] if limit else messages

    async def update_expiry(self, session_id: str) -> None:
        """Activity other than a message: the session rests from now on."""
        await self._hot.touch(_stream(session_id))

    async def sync(self) -> None:
        """Bring the database up to date now. Raises `Unavailable`."""
        if self._synchroniser is not None:
            await self._synchroniser.flush()
        await self._projector.flush()

    def _suffices(self, page: Page) -> bool:
        """Whether the hot window alone shows the newest messages: it begins at the beginning, or is full."""
        if not page.events:
            return page.head.offset == 0
        messages = sum(event.type == "message" for event in page.events)
        return page.events[0].offset == 1 or messages >= self._window

    async def _stored(self, stream: str, head: Position) -> tuple[ThreadState, Position]:
        stored = await self._archive.projection(stream, self._window)
        if stored is None or stored.position.epoch != head.epoch:
            return ThreadState(), Position(head.epoch, 0)
        return ThreadState.from_wire(stored.state, stored.messages), stored.position

    def _complete(self, message: Mapping[str, Any]) -> Message:
        role, content = message.get("role", "user"), message.get("content")
        if role not in ROLES or not isinstance(content, str):
            raise InvalidPayload("A message has a role (user, assistant, system) and a text.")
        at = self._clock.now_ms()
        author = (
            {"id": message["userId"], "name": message["userId"]} if "userId" in message else None
        )
        return {
            "author": author,
            "timestamp": at,
            "created_at": at,
            **message,
            "id": str(message.get("id") or self._new_id()),
            "role": role,
        }


def _stream(session_id: str) -> str:
    return f"thread:{session_id}"


def _source(message: Mapping[str, Any]) -> str:
    return f"user:{message['userId']}" if "userId" in message else "app"


@asynccontextmanager
async def open_message_window(
    settings: Settings, *, clock: Clock | None = None
) -> AsyncIterator[MessageWindow]:
    """The message window without a server: cache, synchroniser and database, for people who want only
    this part. Everything that was added is in the database when the block ends. Raises as `run_node`.
    """
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        backends = await open_backends(settings, clock, stack, None)
        tasks = await stack.enter_async_context(Tasks())
        projector = Projector(backends.archive, settings.max_messages_per_session, _nobody)
        synchroniser = None
        if backends.behind is not None:
            synchroniser = Synchroniser(
                backends.behind,
                backends.archive,
                backends.sync_leases,
                f"window-{new_id()[:12]}",
                Metrics(),
                interval=settings.session_sync_interval_seconds,
                pressure=settings.max_unsynced_events // 10,
                synced=projector.behind,
            )
            tasks.spawn(synchroniser.run(), "synchroniser")
        tasks.spawn(projector.run(), "projector")
        window = MessageWindow(
            ArchivedLog(backends.hot, backends.archive),
            backends.hot,
            backends.archive,
            projector,
            synchroniser,
            clock,
            new_id,
            settings.max_messages_per_session,
        )
        try:
            yield window
        finally:
            await window.sync()
            if backends.leave is not None:
                await backends.leave(backends.archive.seal)


async def _nobody(stream: str, state: ThreadState) -> None:
    """There is no list that follows."""
