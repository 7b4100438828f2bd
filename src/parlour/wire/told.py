"""What the server tells: the events of its streams and the events of its sockets, each with its form.

`MESSAGE_DELTA({"id": …, "text": …})` is an event for a stream, `ACCESS_UPDATED.encode({"room": …})` a packet
for a socket; the type checker compares what is told with the form. There is no other place that names these
events: `STREAM_EVENTS` and `SOCKET_EVENTS` are what the clients' types are generated from, and a test fails
for an event that is sent and is not in them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, NotRequired, TypeVar

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from parlour.wire.packets import Encoded
from parlour.wire.records import (
    Action,
    AskFields,
    Author,
    ChannelInfo,
    ChannelMessage,
    FileRef,
    Message,
    MessageFields,
    NoteRow,
    Person,
    Present,
    Run,
    RunEnd,
    Source,
    Status,
    StepFields,
    ThreadRow,
)
from parlour.wire.socketio import MAIN, encode_event

Form = TypeVar("Form", bound=Mapping[str, Any])


@dataclass(frozen=True, slots=True)
class StreamEvent(Generic[Form]):
    """A type of event in streams."""

    type: str
    form: Callable[..., Form]

    def __call__(self, data: Form) -> tuple[str, Form]:
        """The event, as it is appended."""
        return self.type, data


@dataclass(frozen=True, slots=True)
class SocketEvent(Generic[Form]):
    """An event that a socket gets, with one argument."""

    name: str
    form: Callable[..., Form]

    def encode(self, payload: Form, *, namespace: str = MAIN) -> Encoded:
        """The packet."""
        return encode_event(self.name, [payload], namespace=namespace)


# -- events of conversations (`thread:{id}`) -------------------------------------------------------


class Delta(TypedDict):
    """Text that is added to a message's."""

    id: str
    text: str


class Deltas(TypedDict):
    """Deltas of several messages that came in turns, for a slow reader; no stream stores this one."""

    deltas: list[Delta]


class Replaced(TypedDict):
    id: str
    content: str


class Done(TypedDict):
    """The text is complete: its length in bytes of UTF-8, and the first 16 digits of its SHA-256."""

    id: str
    length: int
    hash: str


class Updated(TypedDict):
    """What changed in a message."""

    id: str
    content: NotRequired[str]
    actions: NotRequired[list[Action]]
    files: NotRequired[list[FileRef]]
    sources: NotRequired[list[Source]]
    data: NotRequired[dict[str, Any]]
    edited_at: NotRequired[int | None]
    author: NotRequired[Author | None]
    streaming: NotRequired[bool]


class Deleted(TypedDict):
    id: str


class Attached(TypedDict):
    message_id: str
    files: list[FileRef]


class Sourced(TypedDict):
    message_id: str
    source: Source


class AskClosed(TypedDict):
    """How a question ended; the first answer counts."""

    ask_id: str
    outcome: Literal["answered", "cancelled", "expired"]
    answered_by: Author | None
    answer: NotRequired[dict[str, Any]]


class Titled(TypedDict):
    """`auto`: made from the first message, not chosen by a person."""

    title: str | None
    auto: NotRequired[bool]


class Tagged(TypedDict):
    tags: list[str]


class AccessChanged(TypedDict):
    """Who may use the conversation is different now; `deleted`: nobody."""

    by: Author
    deleted: NotRequired[bool]


class Notice(TypedDict):
    """A short notice to whoever is there; `level` is `info`, `success`, `warning` or `error`."""

    text: str
    level: NotRequired[str]


class OfferedSettings(TypedDict):
    """The inputs of the app's settings; `initial` of each is the value in force, for this person."""

    settings: list[dict[str, Any]]
    user_id: str


class ActionCalled(TypedDict):
    action: str
    message_id: str | None


MESSAGE: Final = StreamEvent("message", MessageFields)
MESSAGE_DELTA: Final = StreamEvent("message:delta", Delta)
MESSAGE_DELTAS: Final = StreamEvent("message:deltas", Deltas)
MESSAGE_REPLACE: Final = StreamEvent("message:replace", Replaced)
MESSAGE_DONE: Final = StreamEvent("message:done", Done)
MESSAGE_UPDATE: Final = StreamEvent("message:update", Updated)
MESSAGE_DELETE: Final = StreamEvent("message:delete", Deleted)
STEP: Final = StreamEvent("step", StepFields)
STATUS: Final = StreamEvent("status", Status)
FILES: Final = StreamEvent("files", Attached)
SOURCE: Final = StreamEvent("source", Sourced)
ASK: Final = StreamEvent("ask", AskFields)
ASK_CLOSED: Final = StreamEvent("ask:closed", AskClosed)
RUN_QUEUED: Final = StreamEvent("run:queued", Run)
RUN_STARTED: Final = StreamEvent("run:started", Run)
RUN_ENDED: Final = StreamEvent("run:ended", RunEnd)
CHAT_TITLE: Final = StreamEvent("chat:title", Titled)
CHAT_TAGS: Final = StreamEvent("chat:tags", Tagged)
CHAT_ACCESS: Final = StreamEvent("chat:access", AccessChanged)
NOTIFICATION: Final = StreamEvent("notification", Notice)
SETTINGS: Final = StreamEvent("settings", OfferedSettings)
ACTION_CALLED: Final = StreamEvent("action:called", ActionCalled)

# -- events of channels (`channel:{id}`); signals have the same form and no position ----------------


class Replied(TypedDict):
    """A reply came or went: the message that it stands under, with its new count."""

    parent: ChannelMessage
    reply_id: str | None


class ChannelMessageDeleted(TypedDict):
    id: str
    parent_id: str | None
    deleted_at: int


class Reacted(TypedDict):
    """`count` is how many have this reaction now."""

    id: str
    emoji: str
    user_id: str
    count: int


class ChannelCreated(TypedDict):
    channel: ChannelInfo


class RoleChange(TypedDict):
    user_id: str
    role: Literal["owner", "manager", "member"]


class ChannelUpdated(TypedDict):
    """`member`: whose role changed. `access_changed`: what the channel grants is different now."""

    channel: ChannelInfo
    access_changed: NotRequired[bool]
    member: NotRequired[RoleChange]


class ChannelGone(TypedDict):
    channel_id: str


class MemberAdded(TypedDict):
    user: Person
    user_id: str
    role: Literal["owner", "manager", "member"]


class MemberRemoved(TypedDict):
    user_id: str


class Typed(TypedDict):
    typing: bool


CHANNEL_MESSAGE: Final = StreamEvent("message", ChannelMessage)
CHANNEL_MESSAGE_UPDATE: Final = StreamEvent("message:update", ChannelMessage)
CHANNEL_MESSAGE_DELETE: Final = StreamEvent("message:delete", ChannelMessageDeleted)
CHANNEL_MESSAGE_REPLY: Final = StreamEvent("message:reply", Replied)
REACTION_ADD: Final = StreamEvent("message:reaction:add", Reacted)
REACTION_REMOVE: Final = StreamEvent("message:reaction:remove", Reacted)
CHANNEL_CREATED: Final = StreamEvent("channel:created", ChannelCreated)
CHANNEL_UPDATED: Final = StreamEvent("channel:updated", ChannelUpdated)
CHANNEL_DELETED: Final = StreamEvent("channel:deleted", ChannelGone)
MEMBER_ADDED: Final = StreamEvent("member:added", MemberAdded)
MEMBER_REMOVED: Final = StreamEvent("member:removed", MemberRemoved)
CHANNEL_TYPING: Final = StreamEvent("typing", Typed)

# -- events of a person (`user:{id}`) --------------------------------------------------------------


class ThreadUpdated(TypedDict):
    thread: ThreadRow


class ThreadDeleted(TypedDict):
    id: str


class ThreadShared(TypedDict):
    """Somebody shares a conversation, or grants something else; `new`: it was not shared before."""

    thread: ThreadRow
    by: Author
    new: bool


class ThreadUnshared(TypedDict):
    id: str
    by: Author


class AddedToChannel(TypedDict):
    channel_id: str
    channel: ChannelInfo


class ChannelRead(TypedDict):
    """Everything up to this number was read, on one of the person's devices."""

    channel_id: str
    read_seq: int


class ChannelMuted(TypedDict):
    channel_id: str
    muted: bool


class SettingsChanged(TypedDict):
    """All of what a person chose; `version` rises with every change."""

    settings: dict[str, Any]
    version: int


THREAD_UPDATED: Final = StreamEvent("thread:updated", ThreadUpdated)
THREAD_DELETED: Final = StreamEvent("thread:deleted", ThreadDeleted)
THREAD_SHARED: Final = StreamEvent("thread:shared", ThreadShared)
THREAD_SHARED_UPDATED: Final = StreamEvent("thread:shared:updated", ThreadUpdated)
THREAD_UNSHARED: Final = StreamEvent("thread:unshared", ThreadUnshared)
ADDED_TO_CHANNEL: Final = StreamEvent("member:added", AddedToChannel)
REMOVED_FROM_CHANNEL: Final = StreamEvent("member:removed", ChannelGone)
OWN_CHANNEL_DELETED: Final = StreamEvent("channel:deleted", ChannelGone)
CHANNEL_READ: Final = StreamEvent("channel:read", ChannelRead)
CHANNEL_MUTED: Final = StreamEvent("channel:muted", ChannelMuted)
SETTINGS_CHANGED: Final = StreamEvent("settings:changed", SettingsChanged)

# -- notes: signals, not stored --------------------------------------------------------------------


class NoteChanged(TypedDict):
    note: NoteRow


class NoteOwner(TypedDict):
    id: str


class GoneNote(TypedDict):
    id: str
    owner: NoteOwner


class NoteGone(TypedDict):
    note: GoneNote


NOTE_CREATED: Final = StreamEvent("note:created", NoteChanged)
NOTE_UPDATED: Final = StreamEvent("note:updated", NoteChanged)
NOTE_DELETED: Final = StreamEvent("note:deleted", NoteGone)

# -- what a socket gets ----------------------------------------------------------------------------


class Told(TypedDict):
    """`data` has the form of its `type` (`STREAM_EVENTS`), where an app did not make the type up."""

    type: str
    data: dict[str, Any]


class Placed(TypedDict):
    """Where an event stands in its stream. `since` is the offset before the first event that a slow reader's
    outbox joined into this one; absent, it is `offset - 1`. `source` is who caused it, `cause` the command,
    run or event that led to it."""

    stream: str
    epoch: str
    offset: int
    id: str
    at: int
    source: str
    cause: str | None
    since: NotRequired[int]


class Events(Placed):
    """An event of a conversation or of a person."""

    chat_id: str
    message_id: str | None
    data: Told


class ChannelEvents(TypedDict):
    """An event of a channel; without a position it is a signal. `message_id` is what it is about, `user` who
    did it."""

    channel_id: str
    message_id: str | None
    data: Told
    user: Author | None
    channel: NotRequired[ChannelInfo]
    stream: NotRequired[str]
    epoch: NotRequired[str]
    offset: NotRequired[int]
    id: NotRequired[str]
    at: NotRequired[int]
    source: NotRequired[str]
    cause: NotRequired[str | None]


class NoteEvents(TypedDict):
    """A note came, changed or went."""

    note_id: str
    data: Told
    at: int


class Position(TypedDict):
    epoch: str
    offset: int


class History(TypedDict):
    """The newest messages, for a client that named its conversation when it connected."""

    thread_id: str
    messages: list[Message]
    position: Position
    permission: Literal["owner", "write", "read"]


class PresenceNews(TypedDict):
    """Who came, went or changed; with `full` the whole list, of `count` people in all."""

    room: str
    joined: list[Present]
    left: list[Present]
    changed: list[Present]
    full: NotRequired[bool]
    count: NotRequired[int]


class SomebodyTypes(TypedDict):
    room: str
    user: Author
    typing: bool


class AccessUpdated(TypedDict):
    """The room was left, or (`permission`) may be used differently. `position_lost`: subscribe again."""

    room: str
    reason: str | None
    permission: NotRequired[Literal["owner", "write", "read"]]


class Reconnect(TypedDict):
    """The server is about to close; come back after this long, in milliseconds."""

    reason: str
    after_ms: int


class CommandFailed(TypedDict):
    """A command without an acknowledgement failed, or (`connect`) what follows a connect."""

    event: str
    error: dict[str, Any]


class AskedMessage(TypedDict):
    id: str
    content: str
    author: Author | None


class Asked(TypedDict):
    """A question as existing clients get it; the acknowledgement may be the answer."""

    ask_id: str
    message: AskedMessage
    spec: dict[str, Any]
    thread_id: str


class DocumentPerson(TypedDict):
    """Somebody who came into a document, or left it."""

    document_id: str
    user_id: str
    user_name: str
    user_color: str


class DocumentUser(TypedDict):
    id: str
    name: str
    color: str


class DocumentStateTold(TypedDict):
    """What a client's copy lacks. Binary values are bytes, or arrays of integers for clients that use those."""

    document_id: str
    state: Any
    state_vector: Any
    generation: int
    offset: int
    sessions: list[str]
    users: list[DocumentUser]
    user_id: str | None


class DocumentUpdateTold(TypedDict):
    document_id: str
    update: Any
    user_id: str | None
    socket_id: str | None
    generation: int
    offset: int


class AwarenessTold(TypedDict):
    document_id: str
    user_id: str | None
    socket_id: str | None
    update: Any


class NoteSaved(TypedDict):
    """A note's text is stored up to this offset of its updates."""

    note_id: str
    document_id: str
    version: int
    title: str
    offset: int
    at: int


@with_config(ConfigDict(extra="allow"))
class AgentEvent(TypedDict):
    """An event of an agent's session, as it stands in its record: `action` with `args`, or `observation` with
    `content` and `extras`. Here `id` is its number and `cause` that of the event that led to it."""

    id: int
    timestamp: str
    source: Literal["user", "agent", "environment"]
    conversation_id: str
    stream: str
    epoch: str
    offset: int
    cause: NotRequired[int]


class AgentSignal(TypedDict):
    """What an agent writes at the moment, before it is an event."""

    conversation_id: str
    type: str
    text: str


@with_config(ConfigDict(extra="allow"))
class AgentUpdated(TypedDict):
    """A row of the list of agent sessions, and why it is told."""

    reason: str


class AgentDeleted(TypedDict):
    id: str


class ThreadListed(TypedDict):
    """A conversation that is open to a role or to everyone came into this person's list, or may be used
    otherwise than before. A signal: lists are read anew after a connection was lost."""

    thread: ThreadRow


class ThreadUnlisted(TypedDict):
    """It went out of the list."""

    id: str


EVENTS: Final = SocketEvent("events", Events)
EVENTS_CHANNEL: Final = SocketEvent("events:channel", ChannelEvents)
EVENTS_NOTE: Final = SocketEvent("events:note", NoteEvents)
HISTORY: Final = SocketEvent("messages:history", History)
PRESENCE: Final = SocketEvent("presence", PresenceNews)
TYPING: Final = SocketEvent("typing", SomebodyTypes)
NOTIFIED: Final = SocketEvent("notification", Notice)
ACCESS_UPDATED: Final = SocketEvent("access:updated", AccessUpdated)
RECONNECT: Final = SocketEvent("reconnect", Reconnect)
ERROR: Final = SocketEvent("error", CommandFailed)
ASKED: Final = SocketEvent("ask", Asked)
DOCUMENT_STATE: Final = SocketEvent("ydoc:document:state", DocumentStateTold)
DOCUMENT_UPDATE: Final = SocketEvent("ydoc:document:update", DocumentUpdateTold)
AWARENESS_UPDATE: Final = SocketEvent("ydoc:awareness:update", AwarenessTold)
USER_JOINED: Final = SocketEvent("ydoc:user:joined", DocumentPerson)
USER_LEFT: Final = SocketEvent("ydoc:user:left", DocumentPerson)
NOTE_SAVED: Final = SocketEvent("note:saved", NoteSaved)
OH_EVENT: Final = SocketEvent("oh_event", AgentEvent)
OH_SIGNAL: Final = SocketEvent("oh_signal", AgentSignal)
AGENT_UPDATED: Final = SocketEvent("agent:updated", AgentUpdated)
AGENT_DELETED: Final = SocketEvent("agent:deleted", AgentDeleted)
THREAD_LISTED: Final = SocketEvent("thread:listed", ThreadListed)
THREAD_UNLISTED: Final = SocketEvent("thread:unlisted", ThreadUnlisted)

# -- all of them -----------------------------------------------------------------------------------

STREAM_EVENTS: Final[Mapping[str, tuple[StreamEvent[Any], ...]]] = {
    "thread": (
        *(MESSAGE, MESSAGE_DELTA, MESSAGE_DELTAS, MESSAGE_REPLACE, MESSAGE_DONE, MESSAGE_UPDATE),
        MESSAGE_DELETE,
        *(STEP, STATUS, FILES, SOURCE, ASK, ASK_CLOSED, RUN_QUEUED, RUN_STARTED, RUN_ENDED),
        *(CHAT_TITLE, CHAT_TAGS, CHAT_ACCESS, NOTIFICATION, SETTINGS, ACTION_CALLED),
    ),
    "channel": (
        *(CHANNEL_MESSAGE, CHANNEL_MESSAGE_UPDATE, CHANNEL_MESSAGE_DELETE, CHANNEL_MESSAGE_REPLY),
        *(REACTION_ADD, REACTION_REMOVE, CHANNEL_CREATED, CHANNEL_UPDATED, CHANNEL_DELETED),
        *(MEMBER_ADDED, MEMBER_REMOVED, CHANNEL_TYPING),
    ),
    "user": (
        *(THREAD_UPDATED, THREAD_DELETED, THREAD_SHARED, THREAD_SHARED_UPDATED, THREAD_UNSHARED),
        *(ADDED_TO_CHANNEL, REMOVED_FROM_CHANNEL),
        *(OWN_CHANNEL_DELETED, CHANNEL_READ, CHANNEL_MUTED, SETTINGS_CHANGED, NOTIFICATION),
    ),
    "note": (NOTE_CREATED, NOTE_UPDATED, NOTE_DELETED),
}
"""What stands in the streams of each kind. Apps add types of their own to conversations, `agent:{id}` holds
the events of agents, which have a schema of their own."""

SOCKET_EVENTS: Final[tuple[SocketEvent[Any], ...]] = (
    *(EVENTS, EVENTS_CHANNEL, EVENTS_NOTE, HISTORY, PRESENCE, TYPING, NOTIFIED, ACCESS_UPDATED),
    *(RECONNECT, ERROR, ASKED, DOCUMENT_STATE, DOCUMENT_UPDATE, AWARENESS_UPDATE, USER_JOINED),
    *(USER_LEFT, NOTE_SAVED, OH_EVENT, OH_SIGNAL, AGENT_UPDATED, AGENT_DELETED),
    *(THREAD_LISTED, THREAD_UNLISTED),
)
"""Everything that a socket gets without having asked. Besides, a session's client is called by the names that
the app chose (`call`)."""
