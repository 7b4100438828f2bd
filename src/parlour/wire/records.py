"""The forms of what travels from the server: people, messages, steps, channels, rows of lists.

Types at rest: the code that makes a record is checked against its form, nothing is validated when it is
sent. The clients' types are generated from them (`make schema`); tests validate what is really sent.
Times are milliseconds since 1970 UTC. A field that may be missing is `NotRequired`.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from pydantic import ConfigDict, with_config

# pydantic reads this one on every version of Python.
from typing_extensions import TypedDict

# -- people and things -----------------------------------------------------------------------------


class Person(TypedDict):
    id: str
    name: str


class Author(TypedDict):
    """Who signs a message: a person, or the app, which may have no id."""

    id: str | None
    name: str


class Present(Person):
    """Somebody in a room."""

    status: Literal["online", "away", "offline"]


class FileRef(TypedDict):
    """A file of the store, or one that lives elsewhere; `size` in bytes."""

    id: str
    name: str
    mime: str
    size: int
    url: str
    display: NotRequired[str]
    language: NotRequired[str]


class Action(TypedDict):
    """A button under a message."""

    id: str
    name: str
    label: str
    tooltip: NotRequired[str]
    payload: NotRequired[Any]
    icon: NotRequired[str]


@with_config(ConfigDict(extra="allow"))
class Source(TypedDict):
    """Where something was found; tools may add fields of their own."""

    id: NotRequired[str]
    name: NotRequired[str]
    title: NotRequired[str]
    url: NotRequired[str]
    text: NotRequired[str]


class Failure(TypedDict):
    """What a person is told of an error: never a trace. `reference` names it in the server's log."""

    code: str
    message: str
    reference: NotRequired[str]


# -- conversations ---------------------------------------------------------------------------------

MessageRole = Literal["user", "assistant", "system", "error", "tool"]


class MessageBase(TypedDict):
    id: str
    role: MessageRole
    author: Author | None
    content: str
    parent_id: NotRequired[str | None]
    reply_to_id: NotRequired[str | None]
    command_id: NotRequired[str]
    run_id: NotRequired[str | None]
    streaming: NotRequired[bool]
    actions: NotRequired[list[Action]]
    files: NotRequired[list[FileRef]]
    sources: NotRequired[list[Source]]
    data: NotRequired[dict[str, Any]]
    edited_at: NotRequired[int | None]


class MessageFields(MessageBase):
    """What its writer says of a message; without a time it has that of its event."""

    created_at: NotRequired[int]


class Message(MessageBase):
    """A message of a conversation; `offset` is that of the event that introduced it, `command_id` the
    command that sent it."""

    created_at: int
    offset: int


StepStatus = Literal["running", "done", "failed"]


class StepFields(TypedDict):
    """What the app did between a question and its answer."""

    id: str
    name: str
    type: str
    parent_id: str | None
    run_id: str | None
    input: str
    output: str
    status: StepStatus
    started_at: int | None
    ended_at: int | None
    language: NotRequired[str | None]
    message_id: NotRequired[str | None]
    data: NotRequired[dict[str, Any]]


class Step(StepFields):
    offset: int


class AskSpec(TypedDict):
    """What may be answered to a question, and until when."""

    type: Literal["text", "file", "action"]
    timeout_at: int
    actions: NotRequired[list[Action]]
    accept: NotRequired[list[str] | dict[str, list[str]] | str]
    max_files: NotRequired[int]
    max_size_mb: NotRequired[int]


class AskFields(TypedDict):
    """A question to people; `message_id` is the message that shows it."""

    ask_id: str
    content: str
    spec: AskSpec
    run_id: str | None
    author: NotRequired[Author | None]
    message_id: NotRequired[str]


class Ask(AskFields):
    offset: int


class Run(TypedDict):
    """One activation of the app. `started_at` is absent while it waits, `by` who caused it."""

    run_id: str
    handler: NotRequired[str]
    by: NotRequired[Author | None]
    message_id: NotRequired[str]
    session_id: NotRequired[str]
    started_at: NotRequired[int]
    queued: NotRequired[bool]


Outcome = Literal["completed", "stopped", "failed", "interrupted"]


class RunEnd(TypedDict):
    run_id: str
    outcome: Outcome
    error: NotRequired[Failure]


@with_config(ConfigDict(extra="allow"))
class Status(TypedDict):
    """What the app is doing at the moment; `done` or an empty text takes the line away. Tools may add fields of
    their own."""

    text: str
    done: NotRequired[bool]
    message_id: NotRequired[str]


class ThreadSnapshot(TypedDict):
    """A conversation as it is: its newest messages, and everything else of it."""

    messages: list[Message]
    steps: NotRequired[list[Step]]
    asks: NotRequired[list[Ask]]
    runs: NotRequired[list[Run]]
    status: NotRequired[Status | None]
    last_run: NotRequired[RunEnd | None]
    title: NotRequired[str | None]
    tags: NotRequired[list[str]]
    truncated: NotRequired[bool]


class ThreadRow(TypedDict):
    """A row of the list of conversations. `permission` is that of whoever gets it, `shared` says that somebody
    beside the owner may use it."""

    id: str
    title: str | None
    preview: str | None
    tags: list[str]
    created_at: int
    updated_at: int
    shared: NotRequired[bool]
    owner: NotRequired[Person]
    permission: NotRequired[Literal["owner", "write", "read"]]
    running: NotRequired[bool]


# -- channels --------------------------------------------------------------------------------------


class Membership(TypedDict):
    """What a channel is to the one who asks; everything up to number `read_seq` was read."""

    role: Literal["owner", "manager", "member"]
    muted: bool
    read_seq: int
    joined_at: int


class ChannelInfo(TypedDict):
    """A channel. `members` are those of a direct one, which has no other name. `membership` is null for
    somebody who may read without belonging to it."""

    id: str
    kind: Literal["standard", "group", "direct"]
    name: str
    description: str
    data: dict[str, Any]
    created_by: str | None
    created_at: int
    updated_at: int
    member_count: int
    last_message_at: int | None
    members: NotRequired[list[Person]]
    membership: NotRequired[Membership | None]
    unread: NotRequired[int]
    unread_mentions: NotRequired[int]


class Reaction(TypedDict):
    """`user_ids` are the first who reacted; `count` counts all."""

    emoji: str
    count: int
    user_ids: list[str]


class ChannelMessage(TypedDict):
    """A message of a channel; `seq` is its number there, from 1, `mentions` the users that its text names."""

    id: str
    channel_id: str
    seq: int
    author: Person
    content: str
    data: dict[str, Any] | None
    files: list[FileRef]
    mentions: list[str]
    parent_id: str | None
    reply_to_id: str | None
    created_at: int
    edited_at: int | None
    deleted_at: int | None
    reply_count: int
    last_reply_at: int | None
    pinned_at: int | None
    pinned_by: str | None
    reactions: list[Reaction]


class ChannelMember(TypedDict):
    user: Person
    role: Literal["owner", "manager", "member"]
    joined_at: int


# -- notes -----------------------------------------------------------------------------------------


class NoteRow(TypedDict):
    """A row of the list of notes. `permission` is that of the one who asks."""

    id: str
    document_id: str
    title: str
    preview: str
    version: int
    owner: Person
    permission: NotRequired[Literal["owner", "write", "read"]]
    created_at: int
    updated_at: int
