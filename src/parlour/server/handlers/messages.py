"""What people write in a conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from parlour.core.channels import DeleteMessage, EditMessage
from parlour.core.streams import Appended, Dedupe
from parlour.core.thread import ThreadState
from parlour.errors import Forbidden, NotFound, TooLarge
from parlour.server.connections import Caller
from parlour.server.router import Routes
from parlour.server.streams import NewData
from parlour.wire.events import MessageDelete, MessageEdit, MessageSend
from parlour.wire.records import MessageFields, Run
from parlour.wire.told import (
    CHAT_TITLE,
    MESSAGE,
    MESSAGE_DELETE,
    MESSAGE_UPDATE,
    RUN_QUEUED,
    Deleted,
    Updated,
)

if TYPE_CHECKING:
    from parlour.server.node import Node

routes = Routes()

TITLE_LENGTH = 60

RESERVED_DATA = frozenset({"ask", "answer", "answers", "ask_id", "selected", "reference"})
"""What the server itself notes in a message's data; a client cannot claim it."""


@routes.command("message:send", MessageSend)
async def send(node: Node, caller: Caller, payload: MessageSend) -> dict[str, Any]:
    """Store a person's message and activate the app. The same `command_id` again gives the same
    answer and does nothing.

    While the app waits for a text answer in this conversation, the message is that answer.
    """
    check_text(node, payload.content)
    if payload.channel_id is not None:
        return await node.channels.post(
            caller,
            payload.channel_id,
            payload.content,
            command_id=payload.command_id,
            parent_id=payload.parent_id,
            reply_to_id=payload.reply_to_id,
            data=payload.data,
            files=payload.files,
        )
    stream = f"thread:{payload.thread_id}"
    await node.permissions.require_write(caller.user, stream)
    chat = await node.chats.open(caller, payload.thread_id)
    state = await node.state_of(stream)
    node.runs.check_capacity(payload.thread_id)
    message = await _compose(node, caller, payload)
    ask = _open_text_ask(state) if not payload.files else None
    if ask is not None:
        message["data"] = {**message.get("data", {}), "answers": ask["ask_id"]}
    events: list[NewData] = [MESSAGE(message)]
    run_id = node.new_id() if ask is None and node.app.handles("on_message") else None
    if run_id is not None:
        events.append(RUN_QUEUED(_queued(run_id, message, chat.session_id)))
    if state.title is None:
        events.append(CHAT_TITLE({"title": title_of(payload.content), "auto": True}))
    appended = await append_once(node, caller, stream, payload.command_id, message, *events)
    stored: MessageFields = orjson.loads(appended.receipt) if appended.duplicate else message
    answer: dict[str, Any] = {
        "message": stored,
        "position": appended.position.to_wire(),
        "run_id": None,
    }
    asked = stored.get("data", {}).get("answers")
    if asked is not None and await _answers(node, caller, asked, payload):
        return {**answer, "answers": asked}
    if not appended.duplicate and node.app.handles("on_message"):
        run = node.runs.start(
            chat,
            "on_message",
            lambda run: node.app.message(run, stored),
            cause=payload.command_id,
            run_id=run_id,
        )
        answer["run_id"] = run.id
    return answer


def _queued(run_id: str, message: MessageFields, session_id: str) -> Run:
    """The run that a message waits for, stored with it: it is begun even if this node dies first."""
    return {
        "run_id": run_id,
        "handler": "on_message",
        "message_id": message["id"],
        "session_id": session_id,
        "by": message["author"],
    }


async def _answers(node: Node, caller: Caller, ask_id: str, payload: MessageSend) -> bool:
    """Whether this message is the ask's answer. The message is stored first, so that a retry after a
    crash in between answers then; where somebody else was faster it is a message like any other."""
    answer = await node.asks.answer(caller, ask_id, payload.content, payload.command_id, shown=True)
    return bool(answer["accepted"])


@routes.command("message:edit", MessageEdit)
async def edit(node: Node, caller: Caller, payload: MessageEdit) -> dict[str, Any]:
    """Change the text of one's own message."""
    check_text(node, payload.content)
    if payload.channel_id is not None:
        edited = EditMessage(payload.channel_id, payload.message_id, payload.content)
        return await node.channels.change(caller, edited, payload.command_id)
    stream = f"thread:{payload.thread_id}"
    await node.permissions.require_write(caller.user, stream)
    message = await _own_message(node, caller, stream, payload.message_id)
    change: Updated = {
        "id": payload.message_id,
        "content": payload.content,
        "edited_at": node.clock.now_ms(),
    }
    appended = await append_once(
        node, caller, stream, payload.command_id, change, MESSAGE_UPDATE(change)
    )
    return {"message": {**message, **change}, "position": appended.position.to_wire()}


@routes.command("message:delete", MessageDelete)
async def delete(node: Node, caller: Caller, payload: MessageDelete) -> dict[str, Any]:
    """Take one's own message back; a deleted message stays deleted."""
    if payload.channel_id is not None:
        gone_there = DeleteMessage(payload.channel_id, payload.message_id)
        return await node.channels.change(caller, gone_there, payload.command_id)
    stream = f"thread:{payload.thread_id}"
    await node.permissions.require_write(caller.user, stream)
    known = await append_known(node, caller, stream, payload.command_id)
    if known is None:
        await _own_message(node, caller, stream, payload.message_id)
        gone: Deleted = {"id": payload.message_id}
        known = await append_once(
            node, caller, stream, payload.command_id, gone, MESSAGE_DELETE(gone)
        )
    return {"message": {"id": payload.message_id}, "position": known.position.to_wire()}


# -- shared with other families --------------------------------------------------------------------


def check_text(node: Node, text: str) -> None:
    """Raises `TooLarge` for a text over the limit (bytes of UTF-8)."""
    limit = node.settings.max_message_bytes
    if len(text) > limit or len(text.encode("utf-8", "surrogatepass")) > limit:
        raise TooLarge(f"A message may have at most {limit} bytes.", limit=limit)


def command_key(caller: Caller, command_id: str) -> str:
    """Command ids are the client's own: they must not meet another user's."""
    return f"cmd:{caller.user.id}:{command_id}"


async def append_once(
    node: Node, caller: Caller, stream: str, command_id: str, receipt: Any, *events: NewData
) -> Appended:
    """Append on behalf of a person, once per command id."""
    return await node.streams.append(
        stream,
        *events,
        source=f"user:{caller.user.id}",
        cause=command_id,
        dedupe=Dedupe(command_key(caller, command_id), orjson.dumps(receipt)),
    )


async def append_known(node: Node, caller: Caller, stream: str, command_id: str) -> Appended | None:
    """What a command id did before, if it did anything."""
    return await node.streams.known(stream, command_key(caller, command_id))


def title_of(text: str) -> str:
    """A title from the first message: its first line, cut at a word."""
    line = " ".join(text.strip().partition("\n")[0].split()) or "New conversation"
    if len(line) <= TITLE_LENGTH:
        return line
    return line[:TITLE_LENGTH].rsplit(" ", 1)[0].rstrip(",.;:") + "…"


async def _compose(node: Node, caller: Caller, payload: MessageSend) -> MessageFields:
    message: MessageFields = {
        "id": node.new_id(),
        "role": "user",
        "author": caller.user.author(),
        "content": payload.content,
        "created_at": node.clock.now_ms(),
        "command_id": payload.command_id,
    }
    if payload.parent_id:
        message["parent_id"] = payload.parent_id
    if payload.reply_to_id:
        message["reply_to_id"] = payload.reply_to_id
    if payload.data:
        given = {name: value for name, value in payload.data.items() if name not in RESERVED_DATA}
        message["data"] = given
    if payload.files:
        message["files"] = await node.attachments(
            caller.user, payload.files, thread_id=payload.thread_id
        )
    return message


def _open_text_ask(state: ThreadState) -> dict[str, Any] | None:
    """The newest open question for a text whose run is alive."""
    for ask in reversed(state.asks.values()):
        if ask["spec"].get("type") == "text" and ask.get("run_id") in state.runs:
            return ask
    return None


async def _own_message(node: Node, caller: Caller, stream: str, message_id: str) -> dict[str, Any]:
    state = await node.state_of(stream)
    message = state.messages.get(message_id)
    if message is None:
        raise NotFound("There is no such message in the newest part of this conversation.")
    if (message.get("author") or {}).get("id") != caller.user.id:
        raise Forbidden("Only its author may change a message.")
    return message
