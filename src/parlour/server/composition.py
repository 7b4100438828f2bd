"""Which stores a node stands on: the only place that knows the backends by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from parlour.backends.blobs import open_blobs
from parlour.backends.memory.bus import MemoryBus
from parlour.backends.memory.log import MemoryLog
from parlour.backends.memory.pool import MemoryPool
from parlour.backends.memory.usage import MemoryUsage
from parlour.backends.redis import open_redis
from parlour.backends.sql import SqlStore, open_sql
from parlour.backends.window import WindowLimits
from parlour.config import Settings
from parlour.core.streams import Position
from parlour.ports import (
    AgentStore,
    Announcements,
    Archive,
    Bus,
    ChannelStore,
    Clock,
    ConnectionPool,
    DocumentStore,
    FileStore,
    HotDocuments,
    HotLog,
    Leases,
    NoteStore,
    SessionStore,
    ThreadStore,
    UsagePool,
    UserStore,
)

Leave = Callable[[Callable[[str, Position], Awaitable[bool]]], Awaitable[None]]


@dataclass(slots=True)
class Backends:
    """The stores of one node."""

    hot: HotLog
    archive: Archive
    bus: Bus
    leases: Leases
    sessions: SessionStore
    users: UserStore
    threads: ThreadStore
    files: FileStore
    channels: ChannelStore
    announcements: Announcements
    agents: AgentStore
    documents: DocumentStore
    notes: NoteStore
    pool: ConnectionPool
    usage: UsagePool
    documents_behind: HotDocuments | None = None
    """The documents' fast store, where the database is written behind it."""
    behind: HotLog | None = None
    """The hot log, where the archive is written behind it by the synchroniser."""
    sync_leases: Leases | None = None
    """By which nodes agree who writes a stream of the hot log behind; None where nobody else holds it."""
    counts: Callable[[], tuple[int, int]] = lambda: (0, 0)
    """Database transactions since the start: reads and writes."""
    leave: Leave | None = None
    """Seals what an embedded hot log held, at the end of the process."""


async def open_backends(
    settings: Settings,
    clock: Clock,
    stack: AsyncExitStack,
    progress: Callable[[int, int, str], None] | None,
) -> Backends:
    store = await open_sql(
        settings.database_url.get_secret_value(),
        settings.data_folder,
        clock=clock,
        progress=progress,
        pool_size=settings.database_pool_size,
        time_limit=settings.database_timeout_seconds,
        exclusive=settings.redis_url is None,
        blobs=open_blobs(
            settings.uploads,
            settings.data_folder,
            endpoint=settings.uploads_endpoint,
            region=settings.uploads_region,
            key=None if settings.uploads_key is None else settings.uploads_key.get_secret_value(),
        ),
    )
    stack.push_async_callback(store.close)
    if settings.redis_url is None:
        return await _open_embedded(settings, clock, stack, store)
    return await _open_shared(settings, settings.redis_url.get_secret_value(), stack, store)


async def _open_shared(
    settings: Settings, redis_url: str, stack: AsyncExitStack, store: SqlStore
) -> Backends:
    """Many processes: hot window, bus, sessions and leases in Redis, written behind to the database."""
    redis = await open_redis(
        redis_url,
        prefix=settings.redis_key_prefix,
        time_limit=settings.redis_timeout_seconds,
        sentinels=settings.sentinels,
        cluster=settings.redis_cluster,
    )
    stack.push_async_callback(redis.close)
    hot = redis.log(
        origin=store.archive.origin(writes_through=False), limits=window_limits(settings)
    )
    stack.push_async_callback(hot.close)
    documents = redis.documents(store.documents, settles=settings.durability == "stored")
    return Backends(
        hot=hot,
        archive=store.archive,
        documents=documents,
        documents_behind=documents,
        notes=store.notes,
        bus=redis.bus,
        leases=redis.leases,
        sessions=redis.sessions,
        users=store.users,
        threads=store.threads,
        files=store.files,
        channels=store.channels,
        announcements=store.announcements,
        agents=store.agents,
        pool=redis.pool,
        usage=redis.usage,
        counts=store.counts,
        behind=hot,
        sync_leases=redis.leases,
    )


def window_limits(settings: Settings) -> WindowLimits:
    """The hot window's bounds."""
    return WindowLimits(
        messages=settings.max_messages_per_session,
        unsynced_events=settings.max_unsynced_events,
        unsynced_bytes=settings.max_unsynced_bytes,
        expiry_ms=settings.session_expiry_seconds * 1000,
    )


async def _open_embedded(
    settings: Settings, clock: Clock, stack: AsyncExitStack, store: SqlStore
) -> Backends:
    """One process: the hot window in memory, written through to the database unless told otherwise."""
    stored = settings.durability == "stored"
    hot = MemoryLog(
        clock=clock,
        origin=store.archive.origin(writes_through=stored),
        journal=store.archive if stored else None,
        limits=window_limits(settings),
    )
    stack.push_async_callback(hot.close)
    bus = MemoryBus()
    stack.push_async_callback(bus.close)
    return Backends(
        hot=hot,
        behind=None if stored else hot,
        leave=None if stored else hot.leave,
        archive=store.archive,
        documents=store.documents,
        notes=store.notes,
        bus=bus,
        leases=store.leases,
        sessions=store.sessions,
        users=store.users,
        threads=store.threads,
        files=store.files,
        channels=store.channels,
        announcements=store.announcements,
        agents=store.agents,
        pool=MemoryPool(clock),
        usage=MemoryUsage(clock),
        counts=store.counts,
    )
