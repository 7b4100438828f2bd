"""Messages: sent whole, streamed token by token, changed, removed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self, cast

from parlour.chat.action import Action
from parlour.chat.authors import sign
from parlour.chat.context import ParlourContext, get_context
from parlour.chat.elements import Element, element_from_wire
from parlour.chat.emitter import ConversationEvent, TextStream
from parlour.chat.identity import new_id
from parlour.chat.text import as_json, clean, fenced
from parlour.core.thread import digest
from parlour.errors import TooLarge
from parlour.wire.records import Author, FileRef, MessageFields, MessageRole
from parlour.wire.told import (
    MESSAGE,
    MESSAGE_DELETE,
    MESSAGE_DONE,
    MESSAGE_REPLACE,
    MESSAGE_UPDATE,
    Updated,
)

MAX_TEXT: Final = 1_000_000
"""Characters of one message. More belongs into a file: a conversation is sent whole to who opens
it."""

_ROLES: Final[dict[str, MessageRole]] = {
    "user_message": "user",
    "assistant_message": "assistant",
    "system_message": "system",
    "error_message": "error",
    "tool_message": "tool",
}
_TYPES: Final[dict[str, str]] = {role: type for type, role in _ROLES.items()}


class Message:
    """A message of the conversation.

    `content` is Markdown; a dict or a list is shown as JSON, and with `language` the text is shown
    as code. Text that was streamed, the deltas that clients got and what is stored are always the
    same: a message that is still open when its handler ends (also by Stop or an error) is closed
    with what it has.
    """

    def __init__(
        self,
        content: str | dict[str, Any] | list[Any] = "",
        author: str | None = None,
        language: str | None = None,
        actions: Sequence[Action] | None = None,
        elements: Sequence[Element] | None = None,
        type: str = "assistant_message",
        metadata: Mapping[str, Any] | None = None,
        tags: Sequence[str] | None = None,
        id: str | None = None,
        parent_id: str | None = None,
        created_at: int | None = None,
        reply_to_id: str | None = None,
    ) -> None:
        if type not in _ROLES:
            raise ValueError(f"type has to be one of {', '.join(_ROLES)}, not {type!r}")
        self._parts = [_as_text(content, language)]
        self.id = id or new_id()
        self.author = author
        self.type = type
        self.actions = list(actions or ())
        self.elements = list(elements or ())
        self.metadata = dict(metadata or {})
        self.tags = list(tags or ())
        self.language = language
        self.parent_id = parent_id
        self.reply_to_id = reply_to_id
        self.created_at = created_at
        self._signed: tuple[str | None, Author | None] | None = None
        self._data: dict[str, Any] = {}
        self._sent: MessageFields | None = None
        self._stream: TextStream | None = None
        self._rewritten = False
        self._length = len(self._parts[0])
        self._opening = asyncio.Lock()

    @classmethod
    def from_wire(cls, record: Mapping[str, Any]) -> Self:
        """A message that is already in the conversation, such as the one a handler is called
        with."""
        author = record.get("author")
        message = cls(
            content=str(record.get("content") or ""),
            author=author.get("name") if isinstance(author, Mapping) else None,
            actions=[
                Action.from_wire(action, record["id"]) for action in record.get("actions") or ()
            ],
            elements=[element_from_wire(file, record["id"]) for file in record.get("files") or ()],
            type=_TYPES.get(str(record.get("role")), "assistant_message"),
            id=record["id"],
            parent_id=record.get("parent_id"),
            created_at=record.get("created_at"),
            reply_to_id=record.get("reply_to_id"),
        )
        message._data = dict(record.get("data") or {})
        message.metadata = dict(message._data.get("metadata") or {})
        message.tags = list(message._data.get("tags") or ())
        message._sent = cast(MessageFields, dict(record))
        message._signed = (message.author, record.get("author"))
        return message

    @property
    def content(self) -> str:
        """The text so far."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0]

    @content.setter
    def content(self, text: str | dict[str, Any] | list[Any]) -> None:
        self._parts = [_as_text(text, self.language)]
        self._length = len(self._parts[0])
        self._rewritten = True

    @property
    def files(self) -> list[FileRef]:
        """The attachments that are stored, as they travel: `{id, name, mime, size, url}`."""
        return [element.stored for element in self.elements if element.stored is not None]

    @property
    def ask(self) -> Mapping[str, Any] | None:
        """The question that this message answers although the handler that asked it is gone (a
        restart)."""
        found = self._data.get("ask")
        return found if isinstance(found, Mapping) else None

    @property
    def streaming(self) -> bool:
        """Whether tokens were streamed and neither `send` nor `update` closed the message."""
        return self._stream is not None

    async def send(self) -> Self:
        """Show the message, or close it after streaming. A second `send` is an `update`."""
        if self._sent is not None:
            await self.update()
            return self
        await self._store_elements()
        record = await self._record()
        await get_context().emitter.emit_all(MESSAGE(record))
        self._mark_sent(record)
        return self

    async def update(self) -> bool:
        """Show what changed since the last `send` or `update`, and close the message after
        streaming."""
        if self._sent is None:
            await self.send()
            return True
        await self._store_elements()
        events = await self._closing_events()
        record = await self._record()
        changes = {
            name: value
            for name, value in record.items()
            if name in _CHANGEABLE and value != self._sent.get(name, _EMPTY.get(name))
        }
        if self._rewritten or (not events and record["content"] != self._sent.get("content")):
            changes["content"] = record["content"]
        if changes:
            events.append(MESSAGE_UPDATE(cast(Updated, {"id": self.id, **changes})))
        if events:
            await get_context().emitter.emit_all(*events)
        self._mark_sent(record)
        return True

    async def stream_token(self, token: str, is_sequence: bool = False) -> None:
        """Add a token; with `is_sequence` the token is the whole text so far and replaces it.

        The first one shows the message. Waits only when the store is far behind. After a Stop it
        raises `CancelledError`, also where the handler caught the first one.
        """
        if not token:
            return
        if get_context().stopping:
            raise asyncio.CancelledError("the run was stopped")
        if is_sequence:
            self.content = token
            await self._open()
            await self._rewrite()
            return
        stream = await self._open()
        await self._rewrite()
        text = clean(token)
        self._grow(len(text))
        self._parts.append(text)
        await stream.write(text)

    async def remove(self) -> bool:
        """Take the message out of the conversation."""
        await self._release()
        if self._sent is not None:
            await get_context().emitter.emit_all(MESSAGE_DELETE({"id": self.id}))
            self._sent = None
        return True

    async def remove_actions(self) -> None:
        """Take all buttons away."""
        self.actions = []
        await self.update()

    def spoken(self) -> Mapping[str, Any] | None:
        """What the message says now; None when it was removed."""
        if self._sent is None:
            return None
        return {**self._sent, "content": self.content}

    async def finish(self) -> None:
        """Close an open text; called for messages that a handler left open."""
        events = await self._closing_events()
        if events:
            await get_context().emitter.emit_all(*events)

    def _grow(self, characters: int) -> None:
        if self._length + characters > MAX_TEXT:
            raise TooLarge(f"A message has at most {MAX_TEXT:,} characters; send more as a file.")
        self._length += characters

    async def _open(self) -> TextStream:
        """Show the message as one that is being written; two tasks that begin at once show it
        once."""
        if self._stream is not None:
            return self._stream
        async with self._opening:
            return self._stream or await self._begin()

    async def _begin(self) -> TextStream:
        """Show the message, and register it as one to be closed."""
        found = get_context()
        if self._sent is None:
            await self._store_elements()
            record = await self._record()
            record["streaming"] = True
            await found.emitter.emit_all(MESSAGE(record))
            self._mark_sent(record)
        self._stream = found.emitter.stream(self.id)
        found.open[self.id] = self
        return self._stream

    async def _rewrite(self) -> None:
        """Content that was assigned replaces what clients have, in order with the deltas around
        it."""
        if not self._rewritten or self._stream is None:
            return
        self._rewritten = False
        await self._stream.close()
        content = self.content
        await get_context().emitter.emit_all(MESSAGE_REPLACE({"id": self.id, "content": content}))

    async def _closing_events(self) -> list[ConversationEvent]:
        """End the stream of tokens, if there is one; the events that say so."""
        if not await self._release():
            return []
        events: list[ConversationEvent] = []
        content = self.content
        if self._rewritten:
            self._rewritten = False
            events.append(MESSAGE_REPLACE({"id": self.id, "content": content}))
        length, digits = digest(content)
        events.append(MESSAGE_DONE({"id": self.id, "length": length, "hash": digits}))
        if self._sent is not None:
            self._sent = {**self._sent, "content": content}
        return events

    async def _release(self) -> bool:
        stream, self._stream = self._stream, None
        if stream is None:
            return False
        get_context().open.pop(self.id, None)
        await stream.close()
        return True

    async def _store_elements(self) -> None:
        for element in self.elements:
            element.for_id = self.id
            await element.store()

    async def _record(self) -> MessageFields:
        """The whole message as it travels."""
        found = get_context()
        self._grow(0)
        if self.created_at is None:
            self.created_at = found.node.clock.now_ms()
        for action in self.actions:
            action.for_id = self.id
        record: MessageFields = {
            "id": self.id,
            "role": _ROLES[self.type],
            "author": await self._author(found),
            "content": self.content,
            "created_at": self.created_at,
            "streaming": False,
            "actions": [action.to_dict() for action in self.actions],
            "files": self.files,
            "data": self._extra(),
        }
        if found.run is not None:
            record["run_id"] = found.run.id
        if self.parent_id:
            record["parent_id"] = self.parent_id
        if self.reply_to_id:
            record["reply_to_id"] = self.reply_to_id
        return record

    def _extra(self) -> dict[str, Any]:
        data = {**self._data, "metadata": self.metadata, "tags": self.tags}
        return {name: value for name, value in data.items() if value}

    async def _author(self, found: ParlourContext) -> Author | None:
        """Signed once for each name, so that `author_rename` never renames what it renamed."""
        if self._signed is None or self._signed[0] != self.author:
            own = self.type == "user_message" and self.author is None
            signed = found.chat.user.author() if own else await sign(found, self.author)
            self._signed = (self.author, signed)
        return self._signed[1]

    def _mark_sent(self, record: MessageFields) -> None:
        get_context().said[self.id] = self
        self._sent = record
        self._rewritten = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.content[:40]!r}>"


class ErrorMessage(Message):
    """A message that says what went wrong; it does not end the run."""

    def __init__(self, content: str, author: str | None = None, **options: Any) -> None:
        super().__init__(content, author, type="error_message", **options)


_CHANGEABLE: Final = frozenset({"actions", "files", "data", "author"})
_EMPTY: Final[dict[str, Any]] = {"actions": [], "files": [], "data": {}}


def _as_text(content: Any, language: str | None) -> str:
    if isinstance(content, str):
        text = clean(content)
        return fenced(text, language) if language and text else text
    return fenced(clean(as_json(content)), language or "json")
