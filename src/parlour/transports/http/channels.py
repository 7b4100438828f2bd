"""`/api/channels`: the group conversations of users. Changes are the commands of the socket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from parlour.errors import InvalidPayload, NotFound
from parlour.ports import ChannelPage
from parlour.transports.http.calling import CurrentCaller, execute
from parlour.transports.http.identity import CurrentNode

router = APIRouter(prefix="/api/channels", tags=["channels"])

Wire = dict[str, Any]
Id = Annotated[str, Path(min_length=1, max_length=200)]
CommandId = Annotated[str, Field(min_length=1, max_length=128)]
Cursor = Annotated[str | None, Query(max_length=200)]
Limit = Annotated[int, Query(ge=1, le=200)]
Grants = Annotated[dict[str, Literal["read", "write"]], Field(max_length=100)]


class ChannelList(BaseModel):
    """Newest activity first; each with `membership`, `unread` and `unread_mentions`."""

    items: list[Wire]


class Listed(BaseModel):
    """`next_cursor` is None at the end."""

    items: list[Wire]
    next_cursor: str | None


class MessagesPage(BaseModel):
    """Oldest first. `next_cursor` as `before` gives the page before this one, None at the beginning;
    `newer_cursor` as `after` gives what was written since."""

    items: list[Wire]
    next_cursor: str | None
    newer_cursor: str | None


class NewChannel(BaseModel):
    """`user_ids` are added as members; `grants` (standard channels) are `{principal: read | write}`."""

    kind: Literal["standard", "group", "direct"]
    name: Annotated[str, Field(max_length=200)] = ""
    description: Annotated[str, Field(max_length=2_000)] = ""
    data: Wire = {}
    user_ids: Annotated[list[str], Field(max_length=1_000)] = []
    grants: Grants | None = None
    command_id: CommandId | None = None


class ChannelChange(BaseModel):
    """What is None stays as it is."""

    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    description: Annotated[str, Field(max_length=2_000)] | None = None
    data: Wire | None = None
    grants: Grants | None = None
    command_id: CommandId | None = None


class NewMembers(BaseModel):
    user_ids: Annotated[list[str], Field(min_length=1, max_length=1_000)]
    command_id: CommandId | None = None


class NewRole(BaseModel):
    role: Literal["owner", "manager", "member"]
    command_id: CommandId | None = None


class NewChannelMessage(BaseModel):
    """`parent_id` makes it a reply under a message, `reply_to_id` quotes one; `files` are ids of one's own."""

    content: str
    command_id: CommandId | None = None
    parent_id: str | None = None
    reply_to_id: str | None = None
    data: Wire | None = None
    files: Annotated[list[str], Field(max_length=20)] = []


class NewText(BaseModel):
    content: str
    command_id: CommandId | None = None


class NewReaction(BaseModel):
    emoji: Annotated[str, Field(min_length=1, max_length=64)]
    command_id: CommandId | None = None


class ReadMark(BaseModel):
    """Everything up to this message was read; without one everything."""

    message_id: str | None = None


# -- channels --------------------------------------------------------------------------------------


@router.get("")
async def list_channels(caller: CurrentCaller, node: CurrentNode) -> ChannelList:
    """The channels that one belongs to."""
    return ChannelList(items=[dict(one) for one in await node.channels.listed(caller.user)])


@router.post("", status_code=201)
async def create_channel(body: NewChannel, caller: CurrentCaller, node: CurrentNode) -> Wire:
    """A new channel; the direct channel of a set of users that has one is given back (`created` is false)."""
    return await execute(node, caller, "channel:create", body.model_dump(exclude_none=True))


@router.get("/open")
async def list_open_channels(
    caller: CurrentCaller,
    node: CurrentNode,
    cursor: Cursor = None,
    limit: Limit = 50,
    search: Annotated[str | None, Query(max_length=200)] = None,
) -> Listed:
    """Standard channels that one may read, whether or not one belongs to them."""
    page = await node.channels.open_channels(caller.user, cursor or None, limit, search or None)
    return _listed(page, "id")


@router.get("/{channel_id}")
async def read_channel(channel_id: Id, caller: CurrentCaller, node: CurrentNode) -> Wire:
    """One channel; `membership` is null where one may read it without belonging to it."""
    found: Wire = await node.channels.channel(caller.user, channel_id)
    return found


@router.patch("/{channel_id}")
async def change_channel(
    channel_id: Id, body: ChannelChange, caller: CurrentCaller, node: CurrentNode
) -> Wire:
    """Rename, describe, or change what is granted."""
    payload = {**body.model_dump(exclude_none=True), "channel_id": channel_id}
    return await execute(node, caller, "channel:update", payload)


@router.delete("/{channel_id}", status_code=204)
async def delete_channel(channel_id: Id, caller: CurrentCaller, node: CurrentNode) -> None:
    """Delete with everything in it."""
    await execute(node, caller, "channel:delete", {"channel_id": channel_id})


# -- members ---------------------------------------------------------------------------------------


@router.get("/{channel_id}/members")
async def list_members(
    channel_id: Id,
    caller: CurrentCaller,
    node: CurrentNode,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Listed:
    """Who belongs to the channel, by user id."""
    store = await node.channels.require_read(caller.user, channel_id)
    page = await store.members(channel_id, after=cursor or None, limit=limit)
    last = page.items[-1]["user"]["id"] if page.items and page.more else None
    return Listed(items=[dict(one) for one in page.items], next_cursor=last)


@router.post("/{channel_id}/members")
async def add_members(
    channel_id: Id, body: NewMembers, caller: CurrentCaller, node: CurrentNode
) -> Wire:
    """Add members; adding only oneself joins a standard channel."""
    payload = {**body.model_dump(exclude_none=True), "channel_id": channel_id}
    return await execute(node, caller, "channel:members:add", payload)


@router.patch("/{channel_id}/members/{user_id}")
async def change_role(
    channel_id: Id, user_id: Id, body: NewRole, caller: CurrentCaller, node: CurrentNode
) -> Wire:
    """Make a member owner, manager or member."""
    ids = {"channel_id": channel_id, "user_id": user_id}
    payload = {**body.model_dump(exclude_none=True), **ids}
    return await execute(node, caller, "channel:members:role", payload)


@router.delete("/{channel_id}/members/{user_id}", status_code=204)
async def remove_member(
    channel_id: Id, user_id: Id, caller: CurrentCaller, node: CurrentNode
) -> None:
    """Remove a member; removing oneself is leaving."""
    payload = {"channel_id": channel_id, "user_id": user_id}
    await execute(node, caller, "channel:members:remove", payload)


# -- messages --------------------------------------------------------------------------------------


@router.get("/{channel_id}/messages")
async def list_messages(
    channel_id: Id,
    caller: CurrentCaller,
    node: CurrentNode,
    before: Cursor = None,
    after: Cursor = None,
    limit: Limit = 50,
) -> MessagesPage:
    """Messages that are no replies: the newest, those before a cursor, or those after one."""
    store = await node.channels.require_read(caller.user, channel_id)
    return _numbered(
        await store.messages(channel_id, before=_seq(before), after=_seq(after), limit=limit), after
    )


@router.post("/{channel_id}/messages", status_code=201)
async def send_message(
    channel_id: Id, body: NewChannelMessage, caller: CurrentCaller, node: CurrentNode
) -> Wire:
    """Say something. The same `command_id` again sends nothing and gives the same answer."""
    payload = {**body.model_dump(exclude_none=True), "channel_id": channel_id}
    return await execute(node, caller, "message:send", payload)


@router.get("/{channel_id}/messages/{message_id}")
async def read_message(
    channel_id: Id, message_id: Id, caller: CurrentCaller, node: CurrentNode
) -> Wire:
    """One message."""
    store = await node.channels.require_read(caller.user, channel_id)
    found = await store.message(channel_id, message_id)
    if found is None:
        raise NotFound("There is no such message in this channel.")
    return dict(found)


@router.get("/{channel_id}/messages/{message_id}/replies")
async def list_replies(
    channel_id: Id,
    message_id: Id,
    caller: CurrentCaller,
    node: CurrentNode,
    before: Cursor = None,
    after: Cursor = None,
    limit: Limit = 50,
) -> MessagesPage:
    """The replies under a message."""
    store = await node.channels.require_read(caller.user, channel_id)
    page = await store.messages(
        channel_id, parent_id=message_id, before=_seq(before), after=_seq(after), limit=limit
    )
    return _numbered(page, after)


@router.patch("/{channel_id}/messages/{message_id}")
async def edit_message(
    channel_id: Id, message_id: Id, body: NewText, caller: CurrentCaller, node: CurrentNode
) -> Wire:
    """Change the text of one's own message."""
    ids = {"channel_id": channel_id, "message_id": message_id}
    payload = {**body.model_dump(exclude_none=True), **ids}
    return await execute(node, caller, "message:edit", payload)


@router.delete("/{channel_id}/messages/{message_id}", status_code=204)
async def delete_message(
    channel_id: Id, message_id: Id, caller: CurrentCaller, node: CurrentNode
) -> None:
    """One's own, or as somebody who leads the channel."""
    payload = {"channel_id": channel_id, "message_id": message_id}
    await execute(node, caller, "message:delete", payload)


@router.get("/{channel_id}/search")
async def search_messages(
    channel_id: Id,
    q: Annotated[str, Query(min_length=1, max_length=200)],
    caller: CurrentCaller,
    node: CurrentNode,
    before: Cursor = None,
    limit: Limit = 50,
) -> MessagesPage:
    """Messages and replies that contain a text."""
    store = await node.channels.require_read(caller.user, channel_id)
    return _numbered(await store.search(channel_id, q, before=_seq(before), limit=limit), None)


# -- marks -----------------------------------------------------------------------------------------


@router.get("/{channel_id}/pins")
async def list_pins(
    channel_id: Id,
    caller: CurrentCaller,
    node: CurrentNode,
    before: Cursor = None,
    limit: Limit = 50,
) -> MessagesPage:
    """Pinned messages, in the order in which they were written."""
    store = await node.channels.require_read(caller.user, channel_id)
    return _numbered(await store.pins(channel_id, before=_seq(before), limit=limit), None)


@router.post("/{channel_id}/messages/{message_id}/pin")
async def pin(channel_id: Id, message_id: Id, caller: CurrentCaller, node: CurrentNode) -> Wire:
    """Pin a message."""
    return await _pin(node, caller, channel_id, message_id, pinned=True)


@router.delete("/{channel_id}/messages/{message_id}/pin")
async def unpin(channel_id: Id, message_id: Id, caller: CurrentCaller, node: CurrentNode) -> Wire:
    """Take the pin out."""
    return await _pin(node, caller, channel_id, message_id, pinned=False)


async def _pin(
    node: CurrentNode, caller: CurrentCaller, channel_id: str, message_id: str, *, pinned: bool
) -> Wire:
    payload = {"channel_id": channel_id, "message_id": message_id, "pinned": pinned}
    return await execute(node, caller, "message:pin", payload)


@router.post("/{channel_id}/messages/{message_id}/reactions")
async def react(
    channel_id: Id, message_id: Id, body: NewReaction, caller: CurrentCaller, node: CurrentNode
) -> Wire:
    """React, once per person and emoji."""
    ids = {"channel_id": channel_id, "message_id": message_id}
    payload = {**body.model_dump(exclude_none=True), **ids}
    return await execute(node, caller, "message:react", payload)


@router.delete("/{channel_id}/messages/{message_id}/reactions/{emoji}")
async def unreact(
    channel_id: Id,
    message_id: Id,
    emoji: Annotated[str, Path(min_length=1, max_length=64)],
    caller: CurrentCaller,
    node: CurrentNode,
) -> Wire:
    """Take one's own reaction away."""
    payload = {"channel_id": channel_id, "message_id": message_id, "emoji": emoji, "remove": True}
    return await execute(node, caller, "message:react", payload)


@router.post("/{channel_id}/read")
async def mark_read(
    channel_id: Id, body: ReadMark, caller: CurrentCaller, node: CurrentNode
) -> Wire:
    """Move one's read mark forward; it never goes back."""
    payload = {
        "channel_id": channel_id,
        "message_id": body.message_id,
        "data": {"type": "last_read_at"},
    }
    return await execute(node, caller, "events:channel", payload)


@router.post("/{channel_id}/mute")
async def mute(channel_id: Id, caller: CurrentCaller, node: CurrentNode) -> Wire:
    """Mute the channel for oneself."""
    return await execute(node, caller, "channel:mute", {"channel_id": channel_id, "muted": True})


@router.delete("/{channel_id}/mute")
async def unmute(channel_id: Id, caller: CurrentCaller, node: CurrentNode) -> Wire:
    """Hear of the channel again."""
    return await execute(node, caller, "channel:mute", {"channel_id": channel_id, "muted": False})


# -- pages -----------------------------------------------------------------------------------------


def _listed(page: ChannelPage, key: str) -> Listed:
    last = str(page.items[-1][key]) if page.items and page.more else None
    return Listed(items=[dict(one) for one in page.items], next_cursor=last)


def _numbered(page: ChannelPage, after: str | None) -> MessagesPage:
    """A page's cursors are the numbers of its first and last message."""
    items: list[Mapping[str, Any]] = list(page.items)
    older = items and (page.more or after is not None)
    return MessagesPage(
        items=[dict(one) for one in items],
        next_cursor=str(items[0]["seq"]) if older else None,
        newer_cursor=str(items[-1]["seq"]) if items else after,
    )


def _seq(cursor: str | None) -> int | None:
    if cursor is None or cursor == "":
        return None
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 15:
        raise InvalidPayload("This cursor is not one of ours.")
    return int(cursor)
