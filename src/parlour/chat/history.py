"""The conversation so far: as a model wants it (`chat_context`), and as `on_chat_resume` gets
it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypedDict

from parlour.chat.context import ParlourContext, get_context
from parlour.chat.message import Message

_SPOKEN: Final = frozenset({"user", "assistant", "system"})


class ThreadDict(TypedDict):
    """A conversation with history. `steps` are its messages and steps, oldest first."""

    id: str
    name: str | None
    createdAt: str | None
    userId: str
    userIdentifier: str
    tags: list[str]
    metadata: dict[str, Any]
    steps: list[dict[str, Any]]
    elements: list[dict[str, Any]]


class ChatContext:
    """What was said in this conversation, read from the conversation itself: it is the same
    after a reconnect or a restart, and nothing is ever in it twice. Errors and empty messages
    are left out."""

    __slots__ = ()

    def get(self) -> list[Message]:
        """The messages, oldest first; at most the window of the newest ones."""
        return [Message.from_wire(record) for record in _spoken(get_context())]

    def to_openai(self) -> list[Any]:
        """`[{"role": "user" | "assistant" | "system", "content": …}]`, for a chat completion; typed
        so that the SDK's own message types accept it."""
        return [
            {"role": str(record["role"]), "content": str(record["content"])}
            for record in _spoken(get_context())
        ]


chat_context = ChatContext()


def _spoken(found: ParlourContext) -> list[Mapping[str, Any]]:
    feed = found.feed
    records: dict[str, Mapping[str, Any]] = dict(feed.state.messages) if feed is not None else {}
    asked = found.asked
    if asked is not None:
        # Another node may have announced the message that is being answered a moment later than it
        # called us.
        records.setdefault(str(asked["id"]), asked)
    for message_id, message in found.said.items():
        # The same holds for what this run has said itself.
        said = message.spoken()
        if said is None:
            records.pop(message_id, None)
        else:
            records[message_id] = said
    return [
        record
        for record in records.values()
        if record.get("role") in _SPOKEN and record.get("content")
    ]


def as_thread(found: ParlourContext, snapshot: Mapping[str, Any]) -> ThreadDict:
    """A snapshot as `on_chat_resume` gets it."""
    chat = found.chat
    thread_id = chat.thread_id
    messages = [_message_step(thread_id, record) for record in snapshot.get("messages", ())]
    steps = [_step(thread_id, record) for record in snapshot.get("steps", ())]
    ordered = sorted([*messages, *steps], key=lambda item: item[0])
    files = [
        {**file, "forId": record["id"], "threadId": thread_id}
        for record in snapshot.get("messages", ())
        for file in record.get("files") or ()
    ]
    user = found.session.user
    return ThreadDict(
        id=thread_id,
        name=snapshot.get("title"),
        createdAt=ordered[0][1]["createdAt"] if ordered else None,
        userId=chat.user.id,
        userIdentifier=user.identifier if user is not None else "",
        tags=list(snapshot.get("tags") or ()),
        metadata={"chat_settings": dict(chat.chat_settings), "chat_profile": chat.chat_profile},
        steps=[step for _, step in ordered],
        elements=files,
    )


def _message_step(thread_id: str, record: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    message = Message.from_wire(record)
    step = {
        "id": message.id,
        "threadId": thread_id,
        "parentId": message.parent_id,
        "name": message.author or "",
        "type": message.type,
        "input": "",
        "output": message.content,
        "createdAt": _time(message.created_at),
        "metadata": message.metadata,
        "isError": message.type == "error_message",
    }
    return int(record.get("offset") or 0), step


def _step(thread_id: str, record: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    step = {
        "id": record["id"],
        "threadId": thread_id,
        "parentId": record.get("parent_id"),
        "name": record.get("name"),
        "type": record.get("type"),
        "input": record.get("input"),
        "output": record.get("output"),
        "createdAt": _time(record.get("started_at")),
        "metadata": dict(record.get("data") or {}),
        "isError": record.get("status") == "failed",
    }
    return int(record.get("offset") or 0), step


def _time(milliseconds: int | None) -> str | None:
    """RFC 3339 in UTC."""
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat().replace("+00:00", "Z")
