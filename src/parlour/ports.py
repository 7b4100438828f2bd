"""The ports: what the server asks of a store, a bus or a clock, and what a backend promises.

A docstring here is the contract: what is ordered, atomic, bounded and cancellable, and which errors
leave. Each sentence is a test in `parlour.testing.contracts`, run against every backend.

Common to all: methods raise only classes of `parlour.errors` (a driver's error is translated at the
edge; a store that is away raises `Unavailable`), every network wait has a time limit, and a cancelled
call has either happened whole or not at all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol

from parlour.core.access import Kind, Right
from parlour.core.channels import Change, ChannelLimits, Standing
from parlour.core.streams import (
    Appended,
    Batch,
    Dedupe,
    Event,
    NewEvent,
    Page,
    Position,
)
from parlour.core.users import User
from parlour.errors import Lagged, PositionLost

# --------------------------------------------------------------------------------------------------
# Streams
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lost:
    """The last thing that a sink hears: continuity is broken (the epoch changed, or events were trimmed
    before they could be delivered). Attach again and take a snapshot."""

    stream: str


Sink = Callable[[Batch | Lost], None]
"""Hears a stream's batches, called on the event loop, in order, synchronously; must not block or raise."""


class Attachment(Protocol):
    """A sink on a stream. Every event after `position` reaches the sink, exactly once and in order."""

    @property
    def position(self) -> Position: ...

    async def detach(self) -> None:
        """Stop. The sink is not called after this was called (not only after it returned). Idempotent."""


class EventLog(Protocol):
    """Numbered streams. One append is one ordered step: numbers, storage and announcement together.

    Ordered: followers of a stream hear events in the order of their offsets, without gaps or repeats.
    Atomic: of one append all events are visible or none; concurrent appends never interleave.
    Bounded: `read` returns at most `limit` events; a follower holds at most its own limit.
    """

    async def append(
        self,
        stream: str,
        events: Sequence[NewEvent],
        *,
        expected: int | None = None,
        fence: int | None = None,
        dedupe: Dedupe | None = None,
    ) -> Appended:
        """Append `events` (at least one) and announce them.

        `expected`: the head's offset must be this, else `ExpectationFailed` and nothing happens.
        `fence`: a lease generation; lower than the highest one that ever wrote here raises `LeaseLost`.
        `dedupe`: see `Dedupe`; a known key appends nothing and is checked before `expected`.
        Raises `Unavailable` when the store is away or its bound on unsynchronised data is reached: then
        nothing was appended (where the answer was lost, a retry with the same dedupe key is safe).
        """
        ...

    async def read(self, stream: str, after: Position | None, limit: int) -> Page:
        """Events after `after`, oldest first, contiguous. None means from the oldest that is held.

        Raises `PositionLost` where they cannot be given without a gap: `after` is trimmed, of another
        epoch, or past the head. A stream that was never written is empty, at offset 0 of its epoch.
        """
        ...

    async def head(self, stream: str) -> Position:
        """The newest position."""
        ...

    async def attach(self, stream: str, sink: Sink) -> Attachment:
        """Follow with a synchronous sink; confirmed before it returns. The hot path of fan-out.

        A connection that breaks underneath is mended by the backend, which reads what was missed;
        where that is impossible the sink hears `Lost` once and nothing after it."""
        ...

    def follow(self, stream: str, limit: int = 1024) -> AbstractAsyncContextManager[Follower]:
        """Follow as an asynchronous iterator of batches, confirmed when the context is entered. Holds at most `limit`
        undelivered events; then it ends with `Lagged(position=…)`. After `Lost` it ends with `PositionLost`."""
        ...

    async def trim(self, stream: str, through: int) -> None:
        """Forget events up to and including offset `through`, for good. The head stays."""
        ...

    async def close(self) -> None:
        """Release everything; idempotent."""
        ...


class HotLog(EventLog, Protocol):
    """An `EventLog` that holds the newest part of each stream and knows what the archive lacks.

    What left the window is `PositionLost` here; the archive has it. The synchroniser's loop is
    `dirty` → `unsynced` → `Archive.write` → `mark_synced`, and for streams that rest `idle` → `evict`. An event
    leaves the window only after `mark_synced` (or when there is no archive at all).
    """

    async def window(self, stream: str) -> tuple[int, int]:
        """`(base, head)`: the events base + 1 … head are held."""
        ...

    async def dirty(self, limit: int) -> Sequence[str]:
        """Streams with events that are not marked as synchronised, longest waiting first."""
        ...

    async def unsynced(self, stream: str, limit: int) -> Sequence[Entry]:
        """The oldest unsynchronised appends, in order and whole, until they hold `limit` events or more."""
        ...

    async def mark_synced(self, stream: str, position: Position) -> None:
        """The archive holds everything up to `position`. Never lowers; ignored in another epoch."""
        ...

    async def idle(self, limit: int) -> Sequence[str]:
        """Wholly synchronised streams without activity for longer than the log's expiry."""
        ...

    async def evict(self, stream: str, seal: Callable[[Position], Awaitable[bool]]) -> bool:
        """Let go of an idle, wholly synchronised stream: no append gets in from here on, `seal` is awaited
        with its head (`Archive.seal`), and then it is gone. False, and it stays, where it is not idle, has
        a follower, or `seal` says no. The next use opens it again through the origin, in the same epoch."""
        ...

    async def touch(self, stream: str) -> None:
        """Activity other than an append: push the expiry back."""
        ...


class Follower:
    """A bounded mailbox between an attached sink and one asynchronous reader."""

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError("limit must be at least 1")
        self._limit = limit
        self._batches: deque[Batch] = deque()
        self._held = 0
        self._ended: Exception | None = None
        self._wake = asyncio.Event()
        self.position: Position | None = None

    def hear(self, item: Batch | Lost) -> None:
        """The sink."""
        if self._ended is not None:
            return
        if isinstance(item, Lost):
            self._ended = PositionLost(stream=item.stream)
        elif self._held + len(item.events) > self._limit:
            reached = self._batches[-1].position if self._batches else self.position
            self._ended = Lagged(stream=item.stream, position=str(reached))
        else:
            self._batches.append(item)
            self._held += len(item.events)
        self._wake.set()

    def __aiter__(self) -> AsyncIterator[Batch]:
        return self

    async def __anext__(self) -> Batch:
        while not self._batches:
            if self._ended is not None:
                raise self._ended
            self._wake.clear()
            await self._wake.wait()
        batch = self._batches.popleft()
        self._held -= len(batch.events)
        self.position = batch.position
        return batch


@asynccontextmanager
async def follow_with(log: EventLog, stream: str, limit: int) -> AsyncIterator[Follower]:
    """`EventLog.follow` in terms of `attach`; every backend uses this one."""
    follower = Follower(limit)
    attachment = await log.attach(stream, follower.hear)
    if follower.position is None:
        follower.position = attachment.position
    try:
        yield follower
    finally:
        await attachment.detach()


# --------------------------------------------------------------------------------------------------
# Archive
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Opening:
    """What a hot log must know before it takes events of a stream that it does not hold: history goes on
    after `position`; `fence` and `receipts` (dedupe key → first result, of the last 24 hours) are restored."""

    position: Position
    fence: int = 0
    receipts: Mapping[str, Appended] = field(default_factory=dict)


class Origin(Protocol):
    """Where a hot log learns how a stream goes on that it does not hold."""

    async def open(self, stream: str) -> Opening:
        """How the stream goes on, and note durably that it is now open in a hot log."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One append as it goes to the archive."""

    stream: str
    epoch: str
    events: Sequence[Event]
    fence: int | None = None
    receipt: tuple[str, Appended] | None = None


@dataclass(frozen=True, slots=True)
class Projection:
    """The fold of a stream up to `position`, as stored: `state` without its list of messages, and
    the newest messages (at most the window), oldest first. All JSON values."""

    position: Position
    state: Mapping[str, Any]
    messages: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class ProjectionChange:
    """How a stored projection moves forward to `position`: the new `state`, and messages written or
    removed. `since` is the offset that the stored one must have; else somebody else was faster and
    nothing is written. Each message is a JSON object with at least `id`, `offset`, `role`, `content`,
    `author` (`{id, name}`), `created_at` (ms). `active_runs` counts runs that have not ended."""

    stream: str
    position: Position
    since: int
    state: Mapping[str, Any]
    upserts: Sequence[Mapping[str, Any]] = ()
    deletes: Sequence[str] = ()
    active_runs: int = 0


class Archive(Protocol):
    """The database's side of a stream. Everything is idempotent by (stream, offset).

    The archive holds a contiguous run of events (floor, head] of the stream's current epoch. When a
    stream is opened that was open before without having been sealed, events may have been lost with
    the hot window: what is held keeps its offsets, under a new epoch.
    """

    def origin(self, *, writes_through: bool) -> Origin:
        """`writes_through`: the hot log writes here before it announces, so nothing can be missing and the
        epoch never changes. Otherwise the rule above applies."""
        ...

    async def write(self, entries: Sequence[Entry]) -> None:
        """Store appends, of any streams, in one transaction: durable when this returns, none of it when it
        raises. Offsets that are already held are skipped. An entry whose fence is lower than the highest one stored
        raises `LeaseLost`; one that leaves a gap after the head raises `ExpectationFailed`."""
        ...

    async def read(self, stream: str, after: Position | None, limit: int) -> Page:
        """As `EventLog.read`, over what is held here."""
        ...

    async def head(self, stream: str) -> Position | None:
        """The newest stored position; None where the stream is unknown."""
        ...

    async def seal(self, stream: str, position: Position) -> bool:
        """Note that the hot window held nothing beyond `position`, so that the next opening keeps the epoch.
        False (and nothing changes) where the archive does not stand at `position`."""
        ...

    async def compact(self, stream: str, through: int) -> None:
        """Drop the events up to `through` (the projection holds what they did). The floor rises."""
        ...

    async def projection(self, stream: str, window: int) -> Projection | None:
        """The stored fold with its newest `window` messages."""
        ...

    async def project(self, change: ProjectionChange) -> bool:
        """Move a projection forward; False where `since` did not match."""
        ...

    async def lagging(self, limit: int) -> Sequence[str]:
        """Streams whose projection is behind their events, or that hold runs which have not ended."""
        ...

    async def messages(
        self, stream: str, *, before: int | None, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        """Messages with an offset below `before` (None: the newest), newest first."""
        ...

    async def close(self) -> None: ...


# --------------------------------------------------------------------------------------------------
# Bus, leases, sessions
# --------------------------------------------------------------------------------------------------

BusSink = Callable[[bytes], None]


class Bus(Protocol):
    """Unrecorded messages between nodes: signals and node-to-node requests. At most once, in order per
    publisher and topic. A topic is a room's name or `node:{id}`."""

    async def publish(self, topic: str, payload: bytes) -> None:
        """Give `payload` to every subscriber of the topic on every node, this one included."""
        ...

    async def subscribe(self, topic: str, sink: BusSink) -> Callable[[], Any]:
        """Hear a topic; confirmed before it returns. Gives back a function that ends it (idempotent, synchronous)."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Lease:
    """`generation` rises by one with each new holder of a name; it is the fence of `append`."""

    name: str
    owner: str
    generation: int
    expires_at: int


class Leases(Protocol):
    """Named leases. Compare-and-act in one step; the store's clock decides."""

    async def acquire(self, name: str, owner: str, ttl_ms: int) -> Lease | None:
        """Take a free or expired lease, or renew one's own (same generation). None while another holds it."""
        ...

    async def renew(self, lease: Lease, ttl_ms: int) -> Lease:
        """Extend. Raises `LeaseLost` unless this very generation still holds it."""
        ...

    async def release(self, lease: Lease) -> None:
        """Give it up if this generation still holds it; otherwise nothing."""
        ...

    async def holder(self, name: str) -> Lease | None:
        """Who holds it now."""
        ...

    async def abandoned(
        self, prefix: str, limit: int, *, owner: str | None = None
    ) -> Sequence[Lease]:
        """Leases whose name starts with `prefix` that ran out without being released, oldest first;
        with `owner` also those that this owner still seems to hold (left by its former life)."""
        ...


NO_ENVIRONMENT: Final[Mapping[str, str]] = MappingProxyType({})
"""Of the sessions that bring none, which are nearly all: they share it."""


@dataclass(slots=True)
class SessionRecord:
    """What is kept of a session between connections and over restarts."""

    id: str
    user_id: str
    client_type: str = "webapp"
    thread_id: str | None = None
    chat_profile: str | None = None
    language: str | None = None
    user_env: Mapping[str, str] = field(default_factory=lambda: NO_ENVIRONMENT)
    created_at: int = 0
    last_seen: int = 0


class SessionStore(Protocol):
    """Sessions and the values that handlers keep in them. A session belongs to one user for good.

    Values are JSON texts by (session, thread, key), written key by key so that two writers of different
    keys never lose each other's. `user_env` is never written to a disk in clear: SQL stores leave it out."""

    async def bind(self, record: SessionRecord) -> SessionRecord:
        """Create the session or take it up again: what is stored wins over `record` except for fields that `record`
        sets anew. Raises `Forbidden` where it belongs to another user."""
        ...

    async def load(self, session_id: str) -> SessionRecord | None: ...

    async def touch(self, session_id: str, at: int) -> None:
        """Push the activity time limit back."""
        ...

    async def values(self, session_id: str, thread_id: str) -> dict[str, bytes]: ...

    async def threads(self, session_id: str) -> Sequence[str]:
        """The conversations in which the session holds values."""
        ...

    async def write_values(
        self, session_id: str, thread_id: str, changes: Mapping[str, bytes | None]
    ) -> None:
        """Set keys; None deletes one. All or nothing."""
        ...

    async def expired(self, before: int, limit: int) -> Sequence[SessionRecord]:
        """Sessions last seen before a time."""
        ...

    async def delete(self, session_id: str) -> bool:
        """Remove a session and its values; True for the one caller that removed it."""
        ...


# --------------------------------------------------------------------------------------------------
# Who is connected where, and what is in use
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PoolEntry:
    """A connection as every node may know it: nothing private, no token. `generation` is given by the
    pool and names this registration of the connection; times are milliseconds since 1970 UTC."""

    sid: str
    user_id: str
    session_id: str
    node: str
    generation: int = 0
    connected_at: int = 0
    last_seen: int = 0


class ConnectionPool(Protocol):
    """Which connections there are, on which nodes, and which nodes hold members of a room.

    Only a connection's own node adds and removes it; `reap` is for whoever holds the lease
    `node:{id}` of a node that died. Every look-up is by user, session or room and costs as much as
    it finds, however many connections there are; nothing but `reap` and `nodes` walks over more.
    Crash-safe: what a node had registered when it died is found by `reap`, whole. A look-up that
    runs during a change sees the entry before or after it, never half.
    """

    async def add(self, entry: PoolEntry) -> PoolEntry:
        """Register a connection; gives it back with its new generation, higher than any before. A sid
        that is known already is replaced."""
        ...

    async def remove(self, entry: PoolEntry, *, remember_ms: int = 0) -> bool:
        """Forget a connection; False, and nothing is removed, where this generation is not registered.
        For `remember_ms` from now `left` says that its session has just been here."""
        ...

    async def renew(self, entries: Sequence[PoolEntry], at: int) -> Sequence[PoolEntry]:
        """Raise `last_seen`. Gives back the entries whose generation is not registered (any more): they
        stay away, a late renewal brings nothing back."""
        ...

    async def of_users(self, user_ids: Sequence[str]) -> Sequence[PoolEntry]:
        """The connections of these users, each once, in no order."""
        ...

    async def of_session(self, session_id: str) -> Sequence[PoolEntry]:
        """The connections of a session."""
        ...

    async def left(self, session_id: str) -> bool:
        """Whether a connection of the session was removed less than its `remember_ms` ago."""
        ...

    async def enter(self, room: str, node: str) -> None:
        """The node has members of the room. Idempotent."""
        ...

    async def leave(self, room: str, node: str) -> None:
        """The node has none any more. Idempotent."""
        ...

    async def nodes_of(self, room: str) -> frozenset[str]:
        """The nodes that have members of the room."""
        ...

    async def attend(self, node: str) -> None:
        """The node serves from now on. Idempotent."""
        ...

    async def nodes(self) -> frozenset[str]:
        """The nodes that serve, or died and are not reaped yet."""
        ...

    async def reap(self, node: str) -> Sequence[PoolEntry]:
        """Remove everything that a node registered, and give back its connections. Safe to repeat
        after an interruption."""
        ...


class UsagePool(Protocol):
    """Which models are in use by which sessions. Every step is atomic: writers at the same moment
    never lose each other's entries, and there is no read before a write."""

    async def renew(self, model: str, session_id: str, ttl_ms: int) -> None:
        """The session uses the model for `ttl_ms` from now on; never shortens what is there."""
        ...

    async def release(self, model: str, session_id: str) -> None:
        """The session uses it no longer. Idempotent."""
        ...

    async def in_use(self) -> Mapping[str, int]:
        """The models in use now and by how many sessions each; what ran out does not count, whether
        or not it was swept."""
        ...

    async def sweep(self, limit: int) -> int:
        """Forget up to `limit` models' run-out entries; gives back how many entries went."""
        ...


# --------------------------------------------------------------------------------------------------
# Users, threads, files
# --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class UserRecord:
    """A user as stored. `email`, `password_hash` and `private` never leave the accounts module; `metadata`
    is the app's own."""

    id: str
    name: str
    role: str = "user"
    email: str | None = None
    password_hash: str | None = None
    private: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    created_at: int = 0
    last_active_at: int = 0
    tokens_valid_after: int = 0
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class UserSettings:
    """What a user chose; `version` rises with every change."""

    settings: Mapping[str, Any]
    version: int


class UserStore(Protocol):
    async def add_user(self, user: UserRecord) -> UserRecord:
        """Raises `Conflict` where the id or the e-mail is taken (e-mails compare without case)."""
        ...

    async def user(self, user_id: str) -> UserRecord | None: ...

    async def user_by_login(self, login: str) -> UserRecord | None:
        """By e-mail (any case) or by name."""
        ...

    async def update_user(self, user_id: str, **fields: Any) -> UserRecord:
        """Raises `NotFound`."""
        ...

    async def users(
        self, *, cursor: str | None, limit: int
    ) -> tuple[Sequence[UserRecord], str | None]: ...

    async def count_users(self) -> int: ...

    async def settings(self, user_id: str) -> UserSettings:
        """Empty, with version 0, where nothing was chosen."""
        ...

    async def change_settings(
        self, user_id: str, changes: Mapping[str, Any], *, replace: bool, at: int
    ) -> tuple[UserSettings, tuple[str, str] | None]:
        """Merge `changes` (None removes a name), or with `replace` put them in place of all. In the same
        transaction `settings:changed` is announced in `user:{id}`; gives back its `(stream, key)`, None
        where nothing changed. Changes at the same time are made one after the other. Raises `TooLarge`."""
        ...

    async def touch_user(self, user_id: str, at: int) -> None:
        """Raise `last_active_at`; never lowers it."""
        ...

    async def revoke_token(self, jti: str, expires_at: int) -> None: ...

    async def standing(
        self, tokens: Sequence[tuple[str, str]]
    ) -> Sequence[tuple[UserRecord | None, bool]]:
        """For each (user id, token id), in their order: the user, and whether the token was revoked. In one
        step for all of them, at most 500."""
        ...

    async def revoked_since(self, at: int) -> Sequence[tuple[str, int]]:
        """(user id, `tokens_valid_after`) of the users whose tokens were ended at `at` or later."""
        ...

    async def signing_keys(self) -> Sequence[tuple[str, bytes, int]]:
        """(kid, secret, created_at), newest first."""
        ...

    async def add_signing_key(self, kid: str, secret: bytes, created_at: int) -> None: ...


@dataclass(slots=True)
class ThreadRecord:
    id: str
    user_id: str
    title: str | None = None
    tags: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    chat_profile: str | None = None
    created_at: int = 0
    updated_at: int = 0
    preview: str = ""
    message_count: int = 0
    shared: bool = False
    """Whether anybody else has a grant; follows the grants, and cannot be set."""

    def listed(self) -> dict[str, Any]:
        """What lists show of it, as JSON."""
        return {
            "id": self.id,
            "title": self.title,
            "preview": self.preview,
            "tags": list(self.tags),
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "shared": self.shared,
        }


@dataclass(frozen=True, slots=True)
class ThreadAccess:
    """Whose a thread is, and what grants give the user that was asked for."""

    owner_id: str
    right: Right | None = None


@dataclass(frozen=True, slots=True)
class ThreadSharing:
    """Who may use a thread: its owner, `{principal: right}`, and the names of the users among the
    principals by id."""

    owner_id: str
    owner_name: str
    grants: Mapping[str, str]
    people: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SharedThread:
    """A thread of somebody else that a user may read or write in."""

    thread: ThreadRecord
    owner_name: str
    right: Right

    def listed(self) -> dict[str, Any]:
        """What lists show of it, as JSON."""
        owner = {"id": self.thread.user_id, "name": self.owner_name}
        return {**self.thread.listed(), "owner": owner, "permission": self.right, "shared": True}


GRANTS: Final = 100
"""Grants that one thread may have."""


class ThreadStore(Protocol):
    async def create_thread(self, thread: ThreadRecord) -> ThreadRecord:
        """Create, or give back the one that exists with this id. Raises `Forbidden` where it is another user's."""
        ...

    async def thread(self, thread_id: str) -> ThreadRecord | None: ...

    async def update_thread(self, thread_id: str, **fields: Any) -> ThreadRecord: ...

    async def threads(
        self, user_id: str, *, cursor: str | None, limit: int, search: str | None = None
    ) -> tuple[Sequence[ThreadRecord], str | None]:
        """A user's threads that hold a message of a person, newest activity first, by an opaque
        keyset cursor that never repeats one. `search` matches title and message text. Raises
        `InvalidPayload` for a cursor not of ours."""
        ...

    async def delete_thread(self, thread_id: str) -> None:
        """With everything in it and all grants; its id can never be used again."""
        ...

    async def access(self, thread_id: str, user: User) -> ThreadAccess | None:
        """None where there is no such thread."""
        ...

    async def sharing(self, thread_id: str) -> ThreadSharing | None:
        """None where there is no such thread."""
        ...

    async def share(
        self,
        thread_id: str,
        grants: Mapping[str, Right | None],
        actor: User,
        *,
        replace: bool,
        at: int,
        command_id: str | None = None,
    ) -> Changed:
        """Give and take back (None) grants; with `replace` these take the place of all. Whether `actor` may
        was asked before. `at` is milliseconds since 1970 UTC.

        Atomic: in the same transaction `chat:access` is announced in the thread's stream, and in the
        streams of the users that are named `thread:shared` (given or changed) or `thread:unshared` (taken
        back); nothing is announced where nothing changes. Changes of one thread at the same time are made
        one after the other. The same `command_id` of the same actor within 24 hours changes nothing.
        Raises `NotFound` (also for a user that does not exist), `InvalidPayload` for a principal that is
        none, or the owner's own, and `TooLarge` for more than `GRANTS` of them; then nothing changed.
        """
        ...

    async def shared_threads(
        self, user: User, *, cursor: str | None, limit: int, search: str | None = None
    ) -> tuple[Sequence[SharedThread], str | None]:
        """Threads of others that grants let the user read, as `threads`; each with the most that the user
        may do in it."""
        ...


@dataclass(slots=True)
class FileRecord:
    id: str
    user_id: str
    name: str
    mime: str
    size: int
    thread_id: str | None = None
    created_at: int = 0


class FileStore(Protocol):
    """Bytes by reference."""

    async def put(
        self, record: FileRecord, chunks: AsyncIterator[bytes], *, limit: int
    ) -> FileRecord:
        """Store; `size` is counted. Raises `TooLarge` past `limit` bytes: then nothing is kept."""
        ...

    async def file(self, file_id: str) -> FileRecord | None: ...

    async def place(self, file_ids: Sequence[str], thread_id: str) -> None:
        """From now on those of the files that belong to no thread belong to this one: who reads it reads them,
        and they go with it."""
        ...

    def open(self, file_id: str, start: int = 0, size: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` on, at most `size`, in chunks. Raises `NotFound` or `Unavailable` at the first
        one."""
        ...

    async def delete(self, file_id: str) -> None: ...


# --------------------------------------------------------------------------------------------------
# Channels, and what is published in the database's transaction
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Changed:
    """What a change did: its answer, and which announcements `(stream, key)` were written with it.
    `repeated` says that the command was done before, and this is what came of it then."""

    answer: Mapping[str, Any]
    told: Sequence[tuple[str, str]] = ()
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class ChannelPage:
    """Some of a list; `more` says that there is more beyond them in the direction of reading."""

    items: Sequence[Mapping[str, Any]]
    more: bool


class ChannelStore(Protocol):
    """Channels, their members and messages. All values are JSON objects as clients get them.

    Atomic: a change, the announcements of its events and its receipt are one transaction, so there is
    no write without an event and no event without a write. Changes of one channel happen one after the
    other; messages are numbered (`seq`) from 1 in that order, and announcements are written in it.
    """

    async def change(
        self,
        change: Change,
        actor: User,
        *,
        at: int,
        limits: ChannelLimits,
        command_id: str | None = None,
    ) -> Changed:
        """Do what `actor` asks if `core.channels` permits it; `at` is milliseconds since 1970 UTC.

        The same `command_id` of the same actor within 24 hours changes nothing and gives back what came
        of it. Raises `NotFound` (also for who may not know that there is such a channel), `Forbidden`,
        `Conflict`, `InvalidPayload`, `TooLarge`; then nothing changed.
        """
        ...

    async def standing(self, channel_id: str, user: User) -> Standing | None:
        """Where a user stands in a channel; None where there is none."""
        ...

    async def granted(self, kind: Kind, subject_id: str, user: User) -> tuple[bool, bool]:
        """What grants allow a user with a channel or a note: (read, write)."""
        ...

    async def channel(self, channel_id: str, user: User) -> Mapping[str, Any] | None:
        """A channel as the user sees it, with `membership` and `unread`; None where the user may not read it."""
        ...

    async def channels_of(self, user_id: str) -> Sequence[Mapping[str, Any]]:
        """Every channel that a user is a member of, newest activity first, each with `membership`
        (`role, muted, read_seq, joined_at`), `unread` and `unread_mentions` (`core.channels.is_unread`)."""
        ...

    async def channel_ids_of(self, user_id: str) -> Sequence[str]:
        """The ids of the same, in one query."""
        ...

    async def members_of_any(self, user_ids: Sequence[str]) -> Sequence[str]:
        """Which of these users are members of a channel at all, in one query."""
        ...

    async def open_channels(
        self, user: User, *, after: str | None, limit: int, search: str | None = None
    ) -> ChannelPage:
        """Standard channels that the user may read, by id after `after`."""
        ...

    async def members(self, channel_id: str, *, after: str | None, limit: int) -> ChannelPage:
        """`{user, role, joined_at}` by user id after `after`."""
        ...

    async def members_among(self, channel_id: str, user_ids: Sequence[str]) -> Sequence[str]:
        """Those of these users who are members."""
        ...

    async def messages(
        self,
        channel_id: str,
        *,
        parent_id: str | None = None,
        before: int | None = None,
        after: int | None = None,
        limit: int,
    ) -> ChannelPage:
        """Messages that are no replies, or the replies of `parent_id`, oldest first: the newest `limit` with
        a `seq` below `before` (None: the newest), or the oldest `limit` above `after`. Paging by `seq` never
        skips or repeats one, whoever writes meanwhile. A deleted message is only given while it has replies.
        """
        ...

    async def message(self, channel_id: str, message_id: str) -> Mapping[str, Any] | None: ...

    async def pins(self, channel_id: str, *, before: int | None, limit: int) -> ChannelPage:
        """Pinned messages, as `messages`."""
        ...

    async def search(
        self, channel_id: str, text: str, *, before: int | None, limit: int
    ) -> ChannelPage:
        """Messages and replies that contain `text` in any case, every letter taken literally; as `messages`."""
        ...

    async def channel_ids_of_file(self, file_id: str) -> Sequence[str]:
        """The channels in which a file is attached to a message."""
        ...


@dataclass(frozen=True, slots=True)
class Announcement:
    """Events of one change that wait to be appended to `stream`, together; `key` makes that idempotent."""

    key: str
    stream: str
    events: Sequence[NewEvent]


class Announcements(Protocol):
    """What changes have written for streams and nobody has appended yet."""

    async def pending(self, stream: str, limit: int) -> Sequence[Announcement]:
        """The oldest ones of a stream. For a channel's stream the order is that of the commits: whoever
        sees one sees every earlier one that is still there."""
        ...

    async def waiting(self, before: int, limit: int) -> Sequence[str]:
        """Streams with announcements written at `before` (ms) or earlier, longest waiting first."""
        ...

    async def announced(self, keys: Sequence[str]) -> None:
        """They were appended: forget them. Idempotent."""
        ...

    async def forget_receipts(self, before: int) -> int:
        """Forget answers of commands that were done before a time; gives back how many."""
        ...


# --------------------------------------------------------------------------------------------------
# Agent sessions
# --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class AgentRecord:
    """An agent session without its events. `state` is the agent's state when it was last noted, `active` whether
    it goes on by itself; `settings` are what was in force at its start (no secrets); times are
    milliseconds since 1970 UTC."""

    id: str
    user_id: str
    title: str = ""
    agent: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    state: str = "loading"
    active: bool = False
    forked_from: str | None = None
    created_at: int = 0
    updated_at: int = 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The fold of a session's events up to `position`, as JSON."""

    position: Position
    state: Mapping[str, Any]


class AgentStore(Protocol):
    """Agent sessions, who takes part in them, and checkpoints of their state."""

    async def create_agent(self, record: AgentRecord) -> tuple[AgentRecord, bool]:
        """Create, or give back the one that exists with this id; whether it was created. Of several at once
        one creates it. Raises `Forbidden` where it is another user's."""
        ...

    async def agent(self, session_id: str) -> AgentRecord | None: ...

    async def update_agent(self, session_id: str, **fields: Any) -> AgentRecord:
        """Raises `NotFound`."""
        ...

    async def agents(
        self, user_id: str, *, cursor: str | None, limit: int
    ) -> tuple[Sequence[AgentRecord], str | None]:
        """A user's own and those shared with the user, newest activity first, by an opaque keyset cursor
        that never repeats one."""
        ...

    async def active_agents(self, *, after: str, limit: int) -> Sequence[str]:
        """Ids of the sessions that go on by themselves, by id after `after`."""
        ...

    async def set_agent_role(self, session_id: str, user_id: str, role: str | None) -> None:
        """Let somebody take part, or (None) no longer. Raises `NotFound` for an unknown session."""
        ...

    async def agent_role(self, session_id: str, user_id: str) -> str | None:
        """What was given to a user beside the owner."""
        ...

    async def agent_roles(self, session_id: str) -> Mapping[str, str]:
        """Everybody who takes part beside the owner: role by user id."""
        ...

    async def checkpoint(self, session_id: str) -> Checkpoint | None: ...

    async def write_checkpoint(self, session_id: str, checkpoint: Checkpoint) -> None:
        """Replaces one of the same epoch at an earlier offset, or of another epoch; otherwise nothing."""
        ...

    async def delete_agent(self, session_id: str) -> None:
        """With who takes part and its checkpoint; idempotent."""
        ...


# --------------------------------------------------------------------------------------------------
# Documents and notes
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DocumentHead:
    """Where a document's log stands: updates base + 1 … offset are held one by one, the snapshot holds
    everything up to `base` (0: there is none). `generation` names the history; `epoch` changes when
    the store lost its newest updates, so that offsets may be given out again. `log_bytes` and
    `snapshot_bytes` say what is held."""

    generation: int
    epoch: str
    offset: int
    base: int = 0
    log_bytes: int = 0
    snapshot_bytes: int = 0


@dataclass(frozen=True, slots=True)
class DocumentLog:
    """A part of a document: `snapshot`, where what was asked for lies before the base, and the updates
    after it, contiguous, the last one at `through`."""

    head: DocumentHead
    snapshot: bytes | None
    updates: Sequence[bytes]
    through: int


class DocumentStore(Protocol):
    """Documents as append-only logs of updates (bytes that are never looked into).

    Ordered: offsets are contiguous from 1; of one append all updates are held or none, side by side.
    Fenced: whatever names another generation than the present one raises `StaleGeneration` and
    changes nothing. For good: a deleted document raises `NotFound`, and its id is never used again.
    Nothing that was appended expires: what leaves a fast store is in a lasting one before.
    """

    async def create(self, document_id: str) -> DocumentHead:
        """Begin an empty document in generation 1; gives back the one that exists."""
        ...

    async def head(self, document_id: str) -> DocumentHead:
        """Raises `NotFound` where it was never created or is deleted."""
        ...

    async def append(
        self, document_id: str, updates: Sequence[bytes], *, generation: int
    ) -> DocumentHead:
        """Add updates (at least one); they end at the offset of the head that is given back. Durable as
        the store promises when this returns. Raises `NotFound`, `StaleGeneration`, `Unavailable`."""
        ...

    async def read(
        self, document_id: str, *, after: int | None = None, limit: int = 1000
    ) -> DocumentLog:
        """The snapshot and at most `limit` updates behind it, or only the updates after `after` where the
        log still has them (else with the snapshot). A record that cannot be read is left out and
        logged; the others are given."""
        ...

    async def compact(
        self,
        document_id: str,
        snapshot: bytes,
        *,
        generation: int,
        epoch: str,
        base: int,
        through: int,
    ) -> bool:
        """Put `snapshot` in the place of everything up to `through`, if the epoch and the base are still
        these: of several at once one does it, and nobody whose offsets are of another life. False, and
        nothing changed, otherwise. The head stays. The caller vouches that `snapshot` holds it all."""
        ...

    async def renew(self, document_id: str, snapshot: bytes, *, generation: int) -> DocumentHead:
        """Give the history up and begin the next generation with `snapshot`; offsets go on."""
        ...

    async def delete(self, document_id: str) -> None:
        """For good. Idempotent; also for a document that was never created."""
        ...

    async def close(self) -> None:
        """Release everything; idempotent."""
        ...


class HotDocuments(DocumentStore, Protocol):
    """A fast store in front of a lasting one, which holds what is older.

    The loop is `dirty` → `settle`, and for what rests `evict`."""

    async def dirty(self, limit: int) -> Sequence[str]:
        """Documents with updates that only this store has, longest waiting first."""
        ...

    async def settle(self, document_id: str) -> None:
        """Write to the lasting store what it lacks. When this returns everything that was appended before
        the call is there. Safe to run anywhere at once."""
        ...

    async def evict(self, idle_ms: int, limit: int) -> int:
        """Let go of settled documents that nobody used for so long; gives back how many."""
        ...


@dataclass(frozen=True, slots=True)
class NoteText:
    """What a document says, as derived at `offset` of `generation` and `epoch`."""

    title: str
    markdown: str
    html: str
    text: str
    generation: int
    epoch: str
    offset: int


@dataclass(frozen=True, slots=True)
class NoteRecord:
    """A note without its document. `version` counts the changes of its text, `access_version` those of
    who may use it. Times are milliseconds since 1970 UTC. `granted` is what grants allow the user
    that was asked for: (read, write)."""

    id: str
    owner_id: str
    owner_name: str
    content: NoteText
    version: int
    access_version: int
    created_at: int
    updated_at: int
    granted: tuple[bool, bool] = (False, False)


@dataclass(frozen=True, slots=True)
class NoteVersion:
    """A state of a note that was kept. `content` is the document's tree as JSON, None in lists."""

    id: str
    note_id: str
    name: str
    automatic: bool
    author: Mapping[str, str] | None
    created_at: int
    version: int
    title: str
    preview: str
    content: bytes | None = None


class NoteStore(Protocol):
    """Notes: whose they are, who else may use them, what they say, and their kept versions."""

    async def create_note(
        self, note_id: str, owner_id: str, at: int, *, limit: int | None = None
    ) -> NoteRecord:
        """An empty note at version 0. Raises `Conflict` where the id was ever used, and `TooLarge` where the
        owner has `limit` notes."""
        ...

    async def note(self, note_id: str, user: User) -> NoteRecord | None:
        """None where there is none (any more)."""
        ...

    async def notes(
        self, user: User, *, cursor: str | None, limit: int, search: str | None = None
    ) -> tuple[Sequence[NoteRecord], str | None]:
        """The user's own notes and those that grants let the user read, newest change first, by an
        opaque keyset cursor. `search` matches title and text, every letter taken literally, in any
        case. Raises `InvalidPayload` for a cursor not of ours."""
        ...

    async def save(self, note_id: str, content: NoteText, at: int) -> int | None:
        """Keep what the document says, unless something at or past this offset of the same epoch, or of a
        later generation, is kept already. Gives back the new version, which rises only where the text
        changed; None where nothing was written."""
        ...

    async def grants(self, note_id: str) -> Mapping[str, str]:
        """`{principal: "read" | "write"}`."""
        ...

    async def set_grants(self, note_id: str, grants: Mapping[str, str], at: int) -> int:
        """Replace them; gives back the new access version. Raises `NotFound`."""
        ...

    async def access_versions(self, note_ids: Sequence[str]) -> Mapping[str, int]:
        """Of the notes that there are."""
        ...

    async def delete_note(self, note_id: str, at: int) -> None:
        """With grants and versions; the id is never used again. Idempotent."""
        ...

    async def lagging(self, limit: int) -> Sequence[str]:
        """Notes whose lasting document is ahead of the text that is kept."""
        ...

    async def add_version(self, version: NoteVersion, *, unless_since: int | None = None) -> bool:
        """Keep a version. With `unless_since` False, and nothing is kept, where one was made at or after
        that time: of several nodes one makes it."""
        ...

    async def versions(
        self, note_id: str, *, cursor: str | None, limit: int
    ) -> tuple[Sequence[NoteVersion], str | None]:
        """Newest first, without content."""
        ...

    async def note_version(self, note_id: str, version_id: str) -> NoteVersion | None: ...

    async def delete_version(self, note_id: str, version_id: str) -> bool: ...

    async def thin_versions(self, note_id: str, keep: int) -> int:
        """Forget the oldest automatic ones beyond `keep`; gives back how many."""
        ...

    async def attach_file(self, note_id: str, file_id: str) -> None:
        """Whoever reads the note reads this file. Idempotent."""
        ...

    async def notes_of_file(self, file_id: str) -> Sequence[str]:
        """The notes that a file is attached to."""
        ...


class Clock(Protocol):
    """Time, injected so that tests decide it."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...
