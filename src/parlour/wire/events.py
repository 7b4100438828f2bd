"""Payload models of the commands and events on the wire (see the protocol page).

A command's model decides what is accepted; unknown fields are ignored, so that a newer client may talk to
an older server. Ids that clients choose are limited in form, texts in length by the router's limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from parlour.core.channels import ChannelKind, Role
from parlour.core.streams import Event, Position
from parlour.wire.times import rfc3339

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
ClientId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{7,63}$")]
CommandId = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Payload(BaseModel):
    """Base of every command: extra fields are ignored, strings are not converted from numbers."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class WirePosition(Payload):
    """`{epoch, offset}`."""

    epoch: Annotated[str, StringConstraints(min_length=1, max_length=32)]
    offset: Annotated[int, Field(ge=0, le=2**53 - 1, strict=True)]

    def to_core(self) -> Position:
        return Position(self.epoch, self.offset)


class ConnectAuth(Payload):
    """`auth` of the Socket.IO CONNECT. `sessionId` and `userEnv` are the ecosystem's spellings."""

    token: str | None = None
    session_id: ClientId | None = Field(
        default=None, validation_alias=AliasChoices("session_id", "sessionId")
    )
    client_type: Annotated[str, StringConstraints(max_length=32)] = Field(
        default="webapp", validation_alias=AliasChoices("client_type", "clientType")
    )
    user_env: dict[str, str] = Field(
        default_factory=dict, validation_alias=AliasChoices("user_env", "userEnv")
    )
    chat_profile: Annotated[str, StringConstraints(max_length=100)] | None = Field(
        default=None, validation_alias=AliasChoices("chat_profile", "chatProfile")
    )
    thread_id: ClientId | None = Field(
        default=None, validation_alias=AliasChoices("thread_id", "threadId")
    )
    language: Annotated[str, StringConstraints(max_length=35)] | None = None
    protocol: int | None = None
    mixed_deltas: bool = False
    """The client reads `message:deltas`."""


class Heartbeat(Payload):
    """`active` false: the person is connected but away."""

    active: bool = True


class UserJoin(Payload):
    """Re-authenticates a connection; `auth.token` as at connect."""

    class Auth(Payload):
        token: Name

    auth: Auth


class Subscribe(Payload):
    """Follow a stream: with a position what was missed is replayed, without one a snapshot is given."""

    stream: Name
    position: WirePosition | None = None
    limit: Annotated[int, Field(ge=1, le=10_000, strict=True)] = 2_000


class Typing(Payload):
    """A person types in a room that this connection is in; no `typing` event for long means it ended."""

    room: Name
    typing: bool = True


class UsageOfModel(Payload):
    """The session uses a model now; `action: "release"` ends it before its time."""

    model: Name
    action: Annotated[str, StringConstraints(max_length=32)] | None = None
    chat_id: Name | None = None


class Unsubscribe(Payload):
    stream: Name


class Placed(Payload):
    """What is said in a conversation (`thread_id`) or in a channel (`channel_id`): exactly one of them."""

    thread_id: ClientId = ""
    channel_id: Name | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if bool(self.thread_id) == bool(self.channel_id):
            raise ValueError("exactly one of thread_id and channel_id is needed")
        return self


class MessageSend(Placed):
    """A person's message to a conversation or a channel."""

    content: str
    command_id: CommandId
    parent_id: Name | None = None
    reply_to_id: Name | None = None
    data: dict[str, Any] | None = None
    files: Annotated[list[Name], Field(max_length=20)] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _files_by_reference(cls, value: Any) -> Any:
        """`files` may hold ids or objects with an `id`."""
        if isinstance(value, dict) and isinstance(value.get("files"), list):
            ids = [f.get("id") if isinstance(f, dict) else f for f in value["files"]]
            return {**value, "files": ids}
        return value

    @model_validator(mode="after")
    def _not_empty(self) -> MessageSend:
        if not self.content.strip() and not self.files:
            raise ValueError("a message needs a text or a file")
        return self


class MessageEdit(Placed):
    message_id: Name
    content: str
    command_id: CommandId


class MessageDelete(Placed):
    message_id: Name
    command_id: CommandId


class MessageReact(Payload):
    """Put a reaction under a message of a channel, or take one's own away."""

    channel_id: Name
    message_id: Name
    emoji: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    remove: bool = False
    command_id: CommandId


class MessagePin(Payload):
    channel_id: Name
    message_id: Name
    pinned: bool = True
    command_id: CommandId


class JoinChannels(Payload):
    """Enter the rooms of all one's channels; `auth` is what older clients send along."""

    auth: dict[str, Any] | None = None


class ChannelSignal(Payload):
    """`typing` (nothing is stored) or `last_read_at` (everything up to `message_id`, or all, was read)."""

    class Data(Payload):
        type: Literal["typing", "last_read_at"]
        data: Any = None

    channel_id: Name
    message_id: Name | None = None
    data: Data

    @property
    def typing(self) -> bool:
        """Whether the person types now; false ends it before its time."""
        told = self.data.data
        return bool(told.get("typing", True)) if isinstance(told, dict) else told is not False


class ChannelCreate(Payload):
    """A new channel; the direct channel of a set of users that has one is given back."""

    kind: ChannelKind
    name: Annotated[str, StringConstraints(max_length=200)] = ""
    description: Annotated[str, StringConstraints(max_length=2_000)] = ""
    data: dict[str, Any] = Field(default_factory=dict)
    user_ids: Annotated[list[Name], Field(max_length=1_000)] = Field(default_factory=list)
    grants: Annotated[dict[str, Literal["read", "write"]], Field(max_length=100)] | None = None
    command_id: CommandId


class ChannelUpdate(Payload):
    """What is None stays as it is."""

    channel_id: Name
    name: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    description: Annotated[str, StringConstraints(max_length=2_000)] | None = None
    data: dict[str, Any] | None = None
    grants: Annotated[dict[str, Literal["read", "write"]], Field(max_length=100)] | None = None
    command_id: CommandId


class ChannelDelete(Payload):
    channel_id: Name
    command_id: CommandId


class MembersAdd(Payload):
    """Add members; adding only oneself is joining a standard channel."""

    channel_id: Name
    user_ids: Annotated[list[Name], Field(min_length=1, max_length=1_000)]
    command_id: CommandId


class MemberRemove(Payload):
    """Remove a member; removing oneself is leaving."""

    channel_id: Name
    user_id: Name
    command_id: CommandId


class MemberRole(Payload):
    channel_id: Name
    user_id: Name
    role: Role
    command_id: CommandId


class ChannelMute(Payload):
    channel_id: Name
    muted: bool = True
    command_id: CommandId


class RunStop(Payload):
    thread_id: ClientId
    command_id: CommandId


class AskAnswer(Payload):
    """The answer's shape depends on the ask: a text, `{text}`, `{action_id}` or `{files: [id]}`."""

    ask_id: Name
    answer: str | dict[str, Any]
    command_id: CommandId
    thread_id: ClientId | None = None


class ActionCall(Payload):
    """A press on a button that an app put under a message."""

    class Pressed(Payload):
        id: Name
        name: Name
        payload: dict[str, Any] = Field(default_factory=dict)

    thread_id: ClientId
    action: Pressed
    command_id: CommandId
    message_id: Name | None = None


class SettingsUpdate(Payload):
    """New values of the app's chat settings."""

    thread_id: ClientId
    settings: dict[str, Any]
    command_id: CommandId


class WindowMessage(Payload):
    """Data from the page that embeds the client."""

    thread_id: ClientId
    data: Any
    command_id: CommandId


class SessionEnd(Payload):
    """The client says that the session is over (not a disconnect)."""


class ThreadUpdate(Payload):
    """Rename or tag a conversation."""

    thread_id: ClientId
    command_id: CommandId
    title: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    tags: (
        Annotated[list[Annotated[str, StringConstraints(max_length=50)]], Field(max_length=20)]
        | None
    ) = None


class ThreadDelete(Payload):
    thread_id: ClientId
    command_id: CommandId


class ThreadShare(Payload):
    """Give (`read`, `write`) or take back (null) what principals may do in a conversation; with `replace`
    these are all that is left."""

    thread_id: ClientId
    grants: Annotated[dict[Name, Literal["read", "write"] | None], Field(max_length=200)]
    replace: bool = False
    command_id: CommandId


EventName = Literal["events", "events:channel", "events:note", "oh_event"]

_NAMES: Final[Mapping[str, EventName]] = {
    "channel": "events:channel",
    "agent": "oh_event",
    "note": "events:note",
}


def event_name(stream: str) -> EventName:
    """The Socket.IO event that carries a stream's events."""
    return _NAMES.get(stream.partition(":")[0], "events")


def event_payload(event: Event) -> dict[str, Any]:
    """One stream event as clients get it. `since` is the offset before it, so that a joined run of
    deltas and a single event read alike."""
    stream, data = event.stream, event.data
    kind, _, subject = stream.partition(":")
    if kind == "channel":
        return _channel_payload(event)
    if kind == "agent":
        return agent_payload(event)
    epoch, offset = event.epoch, event.offset
    return {
        "chat_id": subject,
        "message_id": data.get("id") or data.get("message_id"),
        "data": {"type": event.type, "data": data},
        "stream": stream,
        "epoch": epoch,
        "offset": offset,
        "id": f"{epoch}:{offset}",
        "at": event.at,
        "source": event.source,
        "cause": event.cause,
    }


def _channel_payload(event: Event) -> dict[str, Any]:
    """An event of a channel: `message_id` is what it is about, `user` who did it."""
    told = event.data
    body = told.get("body", {})
    payload = {
        "channel_id": event.stream.partition(":")[2],
        "message_id": told.get("message_id"),
        "data": {"type": event.type, "data": body},
        "user": told.get("user"),
        "stream": event.stream,
        "epoch": event.epoch,
        "offset": event.offset,
        "id": event.id,
        "at": event.at,
        "source": event.source,
        "cause": event.cause,
    }
    if "channel" in body:
        payload["channel"] = body["channel"]
    return payload


def agent_payload(event: Event) -> dict[str, Any]:
    """An event of an agent session: what stands in its record, and where it stands. `id` is its number; `cause`
    the number of the event that led to it."""
    source = event.source.partition(":")[0]
    payload = {
        "id": event.offset,
        "timestamp": rfc3339(event.at),
        "source": source if source in ("user", "agent") else "environment",
        **event.data,
        "conversation_id": event.stream.partition(":")[2],
        "stream": event.stream,
        "epoch": event.epoch,
        "offset": event.offset,
    }
    if event.cause is not None and event.cause.isdigit():
        payload["cause"] = int(event.cause)
    return payload
