"""A node: one server process. `run_node` is the only way in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import metadata
from typing import Any, TypeVar, cast

import orjson
import structlog

from parlour.config import Settings
from parlour.core.streams import NewEvent
from parlour.core.thread import ThreadState
from parlour.core.users import User
from parlour.errors import CallError, CommandError, NotFound, ParlourError, TooLarge, Unavailable
from parlour.ports import (
    Clock,
    ThreadRecord,
)
from parlour.server import handlers, knocks, sharing
from parlour.server.accounts import Accounts, Revocation, as_user
from parlour.server.activity import Activity
from parlour.server.announcer import Announcer
from parlour.server.app import Application
from parlour.server.archived_log import ArchivedLog
from parlour.server.asks import Asks
from parlour.server.calls import Calls
from parlour.server.channels import Channels
from parlour.server.chats import Chats
from parlour.server.clock import SystemClock, new_id
from parlour.server.composition import Backends, open_backends
from parlour.server.connections import Caller, Connection
from parlour.server.delivery import Delivery
from parlour.server.entrances import Entrances
from parlour.server.feeds import Feeds
from parlour.server.gateway import Gateway
from parlour.server.hub import Hub
from parlour.server.knocks import Knocks
from parlour.server.listing import Listing
from parlour.server.overview import Overview
from parlour.server.parts import Part, PartMaker
from parlour.server.peers import Peers
from parlour.server.permissions import Permissions
from parlour.server.presence import Presences
from parlour.server.projector import Projector
from parlour.server.recovery import Recovery
from parlour.server.registrar import Registrar
from parlour.server.rooms import Rooms
from parlour.server.router import Router
from parlour.server.routing import Routing
from parlour.server.runs import Runs
from parlour.server.sharing import Sharing
from parlour.server.streams import NewData, Streams
from parlour.server.sweeper import Sweeper
from parlour.server.synchroniser import Synchroniser
from parlour.server.tasks import Tasks
from parlour.server.typists import Typing
from parlour.server.usage import UsageOfModels
from parlour.telemetry import Metrics
from parlour.wire.records import Failure, FileRef, ThreadRow
from parlour.wire.told import THREAD_UPDATED

log = structlog.get_logger(__name__)

P = TypeVar("P")

EMBEDDED = "embedded"
"""The id of a node that owns its data folder alone: what its former life held, it may take back."""

USER_STREAM_KEPT = 200
"""Events of a `user:{id}` stream that can be replayed; an older position gets a snapshot."""

LISTED_KEPT = 10_000
"""Entries of conversation lists that are remembered, so that only changes are told."""

STATE_SECONDS = 5.0
"""How long a conversation's state is waited for …"""

STATE_PAUSE = 0.02
"""… and how long until it is looked at again after its stream began anew."""

RECONNECT_AFTER_MS = 200
"""How long clients wait at least when the node goes away; the transport spreads them from there on."""


class Node:
    """Everything that one server process has. Made by `run_node`; the constructor does nothing but wire."""

    def __init__(
        self,
        settings: Settings,
        app: Application,
        clock: Clock,
        backends: Backends,
        parts: Sequence[PartMaker] = (),
    ) -> None:
        self.settings = settings
        self.app = app
        self.clock = clock
        self.id = EMBEDDED if settings.embedded else f"node-{new_id()[:12]}"
        self.version = metadata.version("parlour")
        self.deployment_id = settings.deployment_id or self.version
        self.draining = False
        self.archive = backends.archive
        self._leave_hot = backends.leave
        self._counts = backends.counts
        self.bus = backends.bus
        self.leases = backends.leases
        self.sessions = backends.sessions
        self.users = backends.users
        self.threads = backends.threads
        self.files = backends.files
        self.documents = backends.documents
        self.documents_behind = backends.documents_behind
        self.notes = backends.notes
        self.agents = backends.agents
        self.pool = backends.pool
        self.usage_pool = backends.usage
        self.metrics = Metrics()
        self.tasks = Tasks()
        self.drains: list[Callable[[str, int], Awaitable[None]]] = []
        window = settings.max_messages_per_session
        self.hub = Hub()
        self.accounts = Accounts(self.users, settings, clock, app)
        self.permissions = Permissions(self.threads, backends.channels, clock)
        self.projector = Projector(self.archive, window, self._list_changed)
        self.listing = Listing(self.threads, self._listed_record)
        self.synchroniser = self._make_synchroniser(backends)
        settles = self.synchroniser is not None and settings.durability == "stored"
        self.log = ArchivedLog(
            backends.hot,
            self.archive,
            self.synchroniser.settle if self.synchroniser is not None and settles else None,
        )
        self.streams = Streams(self.log, clock, self._touched)
        delivery = Delivery(self.hub)
        self.feeds = Feeds(self.log, self.archive, delivery, clock, window)
        self.rooms = Rooms(self.hub, self.feeds, self.tasks)
        delivery.renew = self.rooms.renew
        self.recovery = Recovery(self.log, self.feeds, self.hub, self.permissions)
        self.calls = Calls()
        self.chats = Chats(self)
        self.asks = Asks(self)
        self.lease_ms = int(settings.node_lease_seconds * 1000)
        self.runs = Runs(self, settings.runs_queued_per_thread, self.lease_ms)
        self.activity = Activity(self)
        self.peers = Peers(self.id, self.bus, self.tasks)
        self.registrar = Registrar(self)
        self.registrar.departed.append(self.peers.gone)
        self.presence = Presences(self)
        self.routing = Routing(self)
        self.announcements = backends.announcements
        self.announcer = Announcer(
            self.announcements, self.streams, self.leases, clock, self.tasks, self.id
        )
        self.knocks = Knocks(self)
        self.channels = Channels(self, backends.channels)
        self.sharing = Sharing(self, self.threads)
        self.entrances = Entrances(self)
        delivery.shut_out = self.channels.shut_out
        delivery.review = self.channels.review
        delivery.access_changed = self.sharing.access_changed
        self.typing = Typing(self)
        self.overview = Overview(self)
        self.usage = UsageOfModels(self)
        self.gateway = Gateway(self)
        self.sweeper = Sweeper(self)
        self.parts: list[Part] = [make(self) for make in parts]
        tables = [*handlers.TABLES, *(table for part in self.parts for table in part.tables)]
        self.router = Router(self, tables, settings.commands_per_second, settings.command_burst)
        self._listed: dict[str, dict[str, Any]] = {}
        self._observe()

    def _make_synchroniser(self, backends: Backends) -> Synchroniser | None:
        if backends.behind is None:
            return None
        return Synchroniser(
            backends.behind,
            self.archive,
            backends.sync_leases,
            self.id,
            self.metrics,
            interval=self.settings.session_sync_interval_seconds,
            pressure=self.settings.max_unsynced_events // 10,
            synced=self.projector.behind,
        )

    def _touched(self, stream: str, events: Sequence[NewEvent]) -> None:
        """This node appended: whoever derives something from streams hears of it."""
        if self.synchroniser is None:
            self.projector.touched(stream, events)
        else:
            self.synchroniser.touched(stream, events)
            self.listing.touched(stream, events)

    # -- who asks --------------------------------------------------------------------------------

    def new_id(self) -> str:
        return new_id()

    def caller_of(self, connection: Connection) -> Caller:
        """The caller of a connection's commands."""
        if connection.caller is None:
            connection.caller = Caller(connection.user, connection.session.id, connection)
        return connection.caller

    def caller(
        self, user: User, session_id: str | None = None, environ: Mapping[str, Any] | None = None
    ) -> Caller:
        """The caller of an HTTP request's commands."""
        return Caller(user, session_id, client="http", environ=environ or {})

    async def user(self, user_id: str) -> User | None:
        """A user without private fields."""
        record = await self.users.user(user_id)
        return None if record is None else as_user(record)

    def part(self, kind: type[P]) -> P:
        """The part of this class. Raises `NotFound` where this node has none."""
        for part in self.parts:
            if isinstance(part, kind):
                return part
        raise NotFound(f"This server has no {kind.__name__.lower()}.")

    # -- reading ---------------------------------------------------------------------------------

    async def state_of(self, stream: str) -> ThreadState:
        """The state of a conversation, with everything that was acknowledged before this call, on whatever
        node (a feed may be some milliseconds behind that). Raises `Unavailable`."""
        try:
            async with asyncio.timeout(STATE_SECONDS):
                while True:
                    feed = await self.feeds.acquire(stream)
                    try:
                        if await feed.reach(await self.log.head(stream)):
                            return feed.state
                    finally:
                        self.feeds.release(feed)
                    # The log has begun anew; that reaches the feed, and the next `acquire` opens it again.
                    await asyncio.sleep(STATE_PAUSE)
        except TimeoutError:
            raise Unavailable("The newest events of the conversation have not arrived.") from None

    async def attachments(
        self, user: User, file_ids: Sequence[str], *, thread_id: str | None = None
    ) -> list[FileRef]:
        """The descriptions of a user's files, as messages carry them; in a conversation (`thread_id`) those
        that were uploaded for none become its own, so that its readers may read them. Raises `NotFound`,
        `TooLarge`."""
        if len(file_ids) > self.settings.max_files_per_message:
            raise TooLarge(f"At most {self.settings.max_files_per_message} files are accepted.")
        described: list[FileRef] = []
        loose: list[str] = []
        for file_id in file_ids:
            record = await self.files.file(file_id)
            if record is None or record.user_id != user.id:
                raise NotFound("There is no such file.")
            if record.thread_id is None:
                loose.append(record.id)
            described.append(
                {
                    "id": record.id,
                    "name": record.name,
                    "mime": record.mime,
                    "size": record.size,
                    "url": f"/api/files/{record.id}",
                }
            )
        if loose and thread_id is not None:
            await self.files.place(loose, thread_id)
        return described

    def describe_failure(self, failure: BaseException, reference: str) -> Failure:
        """What a person is told of a handler's exception: never a trace, never its text unless it is ours."""
        if isinstance(failure, CommandError | CallError):
            return {"code": failure.code, "message": failure.message, "reference": reference}
        return {
            "code": "handler_failed",
            "message": f"Something went wrong while answering (reference {reference}).",
            "reference": reference,
        }

    async def ready(self) -> dict[str, bool]:
        """What this node needs to serve, and whether it has it."""
        asked: dict[str, Awaitable[object]] = {"database": self.users.user(self.id)}
        if not self.settings.embedded:
            asked["redis"] = self.pool.nodes()
        parts = await asyncio.gather(*(_answers(question) for question in asked.values()))
        return {**dict(zip(asked, parts, strict=True)), "accepting": not self.draining}

    # -- telling ---------------------------------------------------------------------------------

    async def push(
        self,
        events: Sequence[NewData],
        *,
        thread_id: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
    ) -> None:
        """Tell a conversation (recorded), a user (recorded) or a session (a signal) something from
        outside any handler."""
        if thread_id is not None:
            await self.streams.append(f"thread:{thread_id}", *events)
        if user_id is not None:
            await self.notify_user(user_id, *events)
        if session_id is not None:
            for name, data in events:
                await self.routing.emit_to_session(name, data, session_id)

    async def notify_user(self, user_id: str, *events: NewData) -> None:
        """Append to a user's own stream, heard by all of the user's connections."""
        stream = f"user:{user_id}"
        await self.routing.follow(user_id)
        appended = await self.streams.append(stream, *events, source="system")
        if appended.last % USER_STREAM_KEPT == 0:
            await self.archive.compact(stream, appended.last - USER_STREAM_KEPT)

    async def _list_changed(self, stream: str, state: ThreadState) -> None:
        """A conversation's projection moved: its owner's lists follow."""
        thread = await self.threads.thread(stream.partition(":")[2])
        if thread is not None and state.title is not None:
            await self._listed_record(thread, running=bool(state.runs))

    async def list_changed(self, thread: ThreadRecord) -> None:
        """What lists show of a conversation, other than whether it runs, may have changed."""
        known = self._listed.get(thread.id)
        await self._listed_record(thread, running=known is not None and known["running"])

    async def _listed_record(self, thread: ThreadRecord, running: bool = False) -> None:
        listed = {**thread.listed(), "running": running}
        if self._listed.get(thread.id) != listed:
            self._listed[thread.id] = listed
            if len(self._listed) > LISTED_KEPT:
                self._listed.pop(next(iter(self._listed)))
            await self.notify_user(
                thread.user_id, THREAD_UPDATED({"thread": cast(ThreadRow, listed)})
            )
            if thread.shared:
                await self.sharing.tell_guests(thread)

    # -- acting ----------------------------------------------------------------------------------

    async def stop_runs(self, thread_id: str) -> list[str]:
        """Stop every run of a conversation, wherever it runs; gives back those that ended."""
        active = list((await self.state_of(f"thread:{thread_id}")).runs)
        stopped = await self.runs.stop(thread_id)
        elsewhere = [run_id for run_id in active if run_id not in stopped]
        if elsewhere:
            stopped += await self.runs.stop_elsewhere(thread_id, elsewhere)
        return stopped

    async def delete_thread(self, user: User, thread_id: str) -> None:
        """Delete a conversation for good and tell everybody who has it open."""
        await self.sharing.delete(user, thread_id)
        self._listed.pop(thread_id, None)

    # -- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """After this the node serves."""
        self.accounts.on_revoked(self._revoked_here)
        await self.bus.subscribe("control", self._controlled)
        await self.bus.subscribe(f"node:{self.id}", self._controlled)
        self.tasks.spawn(self.projector.run(), "projector")
        if self.synchroniser is not None:
            self.tasks.spawn(self.listing.run(), "listing")
            self.tasks.spawn(self.synchroniser.run(), "synchroniser")
            self.tasks.spawn(self.synchroniser.run_settling(), "settling")
        self.tasks.spawn(self.sweeper.run(), "sweeper")
        await self.registrar.start()
        self.tasks.spawn(self.entrances.run(), "entrances")
        self.tasks.spawn(self.presence.run(), "presence")
        self.tasks.spawn(self.usage.run(), "usage")
        self.tasks.spawn(self.usage.clean(), "usage clean-up")
        for part in self.parts:
            await part.start()
        await self.app.startup(self)
        await self._repair()
        log.info(
            "node started",
            node=self.id,
            version=self.version,
            durability=self.settings.durability,
            message_window=self.settings.max_messages_per_session,
            session_expiry_seconds=self.settings.session_expiry_seconds,
            sync_interval_seconds=self.settings.session_sync_interval_seconds,
            session_timeout_seconds=self.settings.session_timeout_seconds,
        )

    async def stop(self) -> None:
        """Ordered, each phase with a time limit: refuse, tell clients, end runs, flush, close. Idempotent."""
        if self.draining:
            return
        self.draining = True
        self.runs.draining = True
        settings = self.settings
        for drain in self.drains:
            await self._phase(
                "drain", drain("drain", RECONNECT_AFTER_MS), settings.shutdown_drain_seconds + 1
            )
        await self._phase(
            "runs",
            self.runs.finish(settings.shutdown_runs_seconds),
            settings.shutdown_runs_seconds * 2 + 1,
        )
        for part in self.parts:
            await self._phase("parts", part.stop(), settings.shutdown_runs_seconds + 1)
        await self._phase("app", self.app.shutdown(), settings.shutdown_close_seconds)
        self.typing.close()
        await self._phase("pool", self.registrar.stop(), settings.shutdown_close_seconds)
        await self._phase("flush", self._flush(), settings.shutdown_flush_seconds)
        await self.tasks.cancel()
        await self._phase("feeds", self.feeds.close(), settings.shutdown_close_seconds)

    async def _flush(self) -> None:
        await self.activity.flush()
        if self.synchroniser is not None:
            await self.listing.flush()
            await self.synchroniser.flush()
        await self.projector.flush()
        if self._leave_hot is not None:
            # The only process of these streams ends: nothing can be beyond what the archive holds.
            await self._leave_hot(self.archive.seal)

    async def _phase(self, name: str, work: Awaitable[object], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await work
        except TimeoutError:
            log.warning("shutdown phase took too long", phase=name, seconds=seconds)
        except Exception:
            log.exception("shutdown phase failed", phase=name)

    async def _repair(self) -> None:
        """Finish what a former life of this node left: lists behind their events, runs without an end."""
        lagging = await self.archive.lagging(10_000)
        for stream in lagging:
            await self.projector.settle(stream)
        if self.settings.embedded:
            await self.sweeper.interrupt_dead_runs(owner=EMBEDDED)
            for stream in lagging:
                # Nobody else writes here: a run that has not ended is dead, whether it had begun or not.
                await self.sweeper.interrupt_thread(stream.partition(":")[2], None)

    # -- between nodes ---------------------------------------------------------------------------

    def _revoked_here(self, revocation: Revocation) -> None:
        self.gateway.revoked(revocation)
        message = {
            "type": "revoked",
            "from": self.id,
            "user_id": revocation.user_id,
            "jti": revocation.jti,
        }
        self.tasks.spawn(self.bus.publish("control", orjson.dumps(message)), "revocation")

    def _controlled(self, payload: bytes) -> None:
        """A request from another node."""
        message = orjson.loads(payload)
        if message.get("from") == self.id:
            return
        match message["type"]:
            case "revoked":
                revocation = Revocation(message["user_id"], message["jti"])
                self.accounts.hear(revocation)
                self.gateway.revoked(revocation)
            case "peers":
                self.peers.hear(message)
            case knocks.GRANTED:
                self.tasks.spawn(self.knocks.answer_here(message["room"]), "answer who waits")
            case sharing.DELETED:
                self.sharing.deleted(message["thread_id"], message.get("groups", ()))
            case sharing.LISTED:
                self.sharing.listed(message["thread_id"], message["groups"])
            case "stop":
                self.tasks.spawn(self.runs.stop(message["thread_id"]), "stop from another node")

    def _observe(self) -> None:
        self.metrics.observe("connections", "Open connections", lambda: len(self.hub))
        self.metrics.observe("database_reads", "Database reads", lambda: self._counts()[0])
        self.metrics.observe("database_writes", "Database writes", lambda: self._counts()[1])
        self.metrics.observe("chats", "Chats in memory", lambda: len(self.chats))
        self.metrics.observe("feeds", "Open feeds", lambda: self.feeds.stats()["open"])
        self.metrics.observe("tasks", "Tasks of the node", lambda: len(self.tasks))


@asynccontextmanager
async def run_node(
    settings: Settings,
    app: Application,
    *,
    clock: Clock | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    parts: Sequence[PartMaker] = (),
) -> AsyncIterator[Node]:
    """Open the stores, start the node with its parts, and at the end stop it in order.

    `progress` hears `(done, total, name)` of each database migration. Raises `SettingsError`,
    `DataFolderBusy` or `Unavailable` when the stores cannot be opened.
    """
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        backends = await open_backends(settings, clock, stack, progress)
        node = Node(settings, app, clock, backends, parts)
        async with node.tasks:
            await node.start()
            try:
                yield node
            finally:
                await node.stop()


async def _answers(question: Awaitable[object]) -> bool:
    try:
        await question
    except ParlourError:
        return False
    return True
