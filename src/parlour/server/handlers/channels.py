"""Channels: who is in them, what is said there, what was read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parlour.core.channels import (
    AddMembers,
    CreateChannel,
    DeleteChannel,
    MarkRead,
    Mute,
    Pin,
    React,
    RemoveMember,
    SetRole,
    UpdateChannel,
)
from parlour.errors import Forbidden, InvalidPayload
from parlour.server.connections import Caller
from parlour.server.router import Routes
from parlour.wire.events import (
    ChannelCreate,
    ChannelDelete,
    ChannelMute,
    ChannelSignal,
    ChannelUpdate,
    JoinChannels,
    MemberRemove,
    MemberRole,
    MembersAdd,
    MessagePin,
    MessageReact,
)
from parlour.wire.told import CHANNEL_TYPING, EVENTS_CHANNEL, ChannelEvents

if TYPE_CHECKING:
    from parlour.server.node import Node

routes = Routes()

Wire = dict[str, Any]


@routes.command("join-channels", JoinChannels, http=False)
async def join_channels(node: Node, caller: Caller, payload: JoinChannels) -> Wire:
    """Enter the rooms of all one's channels; answered when their streams are heard."""
    if caller.connection is None:
        raise InvalidPayload("Only a connection can enter rooms.")
    return {"channels": await node.channels.enter(caller.connection)}


@routes.command("events:channel", ChannelSignal)
async def signal(node: Node, caller: Caller, payload: ChannelSignal) -> Wire:
    """Typing (a signal to the others in the room) or the read mark."""
    if payload.data.type == "last_read_at":
        mark = MarkRead(payload.channel_id, payload.message_id)
        return await node.channels.change(caller, mark, None)
    room = f"channel:{payload.channel_id}"
    if caller.connection is None or room not in caller.connection.rooms:
        raise Forbidden("This connection is not in the channel's room.")
    author = caller.user.author()

    def told(typing: bool) -> ChannelEvents:
        type, data = CHANNEL_TYPING({"typing": typing})
        return {
            "channel_id": payload.channel_id,
            "message_id": payload.message_id,
            "data": {"type": type, "data": dict(data)},
            "user": author,
        }

    node.typing.say(caller, room, EVENTS_CHANNEL.name, told, typing=payload.typing)
    return {}


@routes.command("message:react", MessageReact)
async def react(node: Node, caller: Caller, payload: MessageReact) -> Wire:
    """Put a reaction under a message, or take one's own away."""
    change = React(payload.channel_id, payload.message_id, payload.emoji, payload.remove)
    return await node.channels.change(caller, change, payload.command_id)


@routes.command("message:pin", MessagePin)
async def pin(node: Node, caller: Caller, payload: MessagePin) -> Wire:
    """Pin a message, or take the pin out."""
    change = Pin(payload.channel_id, payload.message_id, payload.pinned)
    return await node.channels.change(caller, change, payload.command_id)


@routes.command("channel:create", ChannelCreate)
async def create(node: Node, caller: Caller, payload: ChannelCreate) -> Wire:
    """A new channel; the direct one of a set of users is given back where there is one."""
    change = CreateChannel(
        node.new_id(),
        payload.kind,
        payload.name,
        payload.description,
        payload.data,
        tuple(dict.fromkeys(payload.user_ids)),
        payload.grants,
    )
    return await node.channels.change(caller, change, payload.command_id)


@routes.command("channel:update", ChannelUpdate)
async def update(node: Node, caller: Caller, payload: ChannelUpdate) -> Wire:
    """Rename, describe, or change what is granted."""
    change = UpdateChannel(
        payload.channel_id, payload.name, payload.description, payload.data, payload.grants
    )
    return await node.channels.change(caller, change, payload.command_id)


@routes.command("channel:delete", ChannelDelete)
async def delete(node: Node, caller: Caller, payload: ChannelDelete) -> Wire:
    """Delete a channel with everything in it."""
    return await node.channels.change(caller, DeleteChannel(payload.channel_id), payload.command_id)


@routes.command("channel:members:add", MembersAdd)
async def add_members(node: Node, caller: Caller, payload: MembersAdd) -> Wire:
    """Add members, or join a standard channel oneself."""
    change = AddMembers(payload.channel_id, tuple(dict.fromkeys(payload.user_ids)))
    return await node.channels.change(caller, change, payload.command_id)


@routes.command("channel:members:remove", MemberRemove)
async def remove_member(node: Node, caller: Caller, payload: MemberRemove) -> Wire:
    """Remove a member, or leave oneself."""
    change = RemoveMember(payload.channel_id, payload.user_id)
    return await node.channels.change(caller, change, payload.command_id)


@routes.command("channel:members:role", MemberRole)
async def set_role(node: Node, caller: Caller, payload: MemberRole) -> Wire:
    """Make a member owner, manager or member."""
    change = SetRole(payload.channel_id, payload.user_id, payload.role)
    return await node.channels.change(caller, change, payload.command_id)


@routes.command("channel:mute", ChannelMute)
async def mute(node: Node, caller: Caller, payload: ChannelMute) -> Wire:
    """Mute a channel for oneself."""
    change = Mute(payload.channel_id, payload.muted)
    return await node.channels.change(caller, change, payload.command_id)
