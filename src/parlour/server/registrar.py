"""The registrar: keeps the pool equal to what this node has, and clears up after nodes that died.

It compares instead of counting: whatever changed is looked at once more, and what the pool has is
brought in line with the hub. So a store that was away, a change of mind in between or a lease that
was lost all end the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

import structlog

from parlour.errors import LeaseLost, ParlourError, Unavailable
from parlour.ports import Lease, PoolEntry
from parlour.server.audit import CHECK_SECONDS, Audit
from parlour.server.connections import Connection

if TYPE_CHECKING:
    from parlour.server.node import Node

log = structlog.get_logger(__name__)

GRACE_MS: Final = 15_000
"""How long a client that lost its connection is expected back."""

WATCH_SECONDS: Final = 0.5
"""How often a node looks for others that died."""

RENEW_SECONDS: Final = 5.0
"""How often the connections' last activity is written."""

AT_ONCE: Final = 50
REAPED_AT_ONCE: Final = 20
REAPER_MS: Final = 30_000
GATHER_SECONDS: Final = 0.005
"""The pool is written at most once in this time: who comes alone is written at once, a crowd in fewer steps."""

RETRY_SECONDS: Final = 0.5

Arrival = Callable[[Connection], Awaitable[None]]
"""Called once for each new connection, after the other nodes can find it."""


class Registrar:
    """One per node. `start` before the first connection, `stop` after the last one."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._entries: dict[str, PoolEntry] = {}
        self._rooms: set[str] = set()
        self._changed: dict[str, Connection] = {}
        self._changed_rooms: dict[str, None] = {}
        self._seen: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()
        self._lease: Lease | None = None
        self._dead: frozenset[str] = frozenset()
        self._known: frozenset[str] = frozenset()
        """The nodes that lived when this one looked last."""
        self.arrivals: list[Arrival] = []
        self.departed: list[Callable[[str], None]] = []
        """Called with the id of each other node that died, or left."""
        self._audit = Audit(node, self)
        node.rooms.broken = self._audit.doubt
        node.hub.watch(self._moved)

    def entry(self, connection: Connection) -> PoolEntry | None:
        """The connection as the other nodes know it."""
        return self._entries.get(connection.sid)

    async def connections_of(self, user_ids: Sequence[str]) -> list[PoolEntry]:
        """The users' connections, without those of nodes that died and are still being cleared up.
        Raises `Unavailable`."""
        found = await self._node.pool.of_users(user_ids)
        for suspect in {entry.node for entry in found} & self._dead:
            if await self.alive(suspect):
                self._dead -= {suspect}
        return [entry for entry in found if entry.node not in self._dead]

    @property
    def alone(self) -> bool:
        """There are no other nodes to agree with."""
        return self._node.settings.embedded

    # -- what changes ----------------------------------------------------------------------------

    def changed(self, connection: Connection) -> None:
        """The connection is new, or gone."""
        self._changed[connection.sid] = connection
        self._wake.set()

    def seen(self, connection: Connection) -> None:
        """The person behind the connection did something just now."""
        if connection.sid in self._entries:
            self._seen[connection.sid] = self._node.clock.now_ms()

    def _moved(self, room: str, connection: Connection, entered: bool) -> None:
        if not room.startswith(("user:", "session:")) and (
            (room in self._rooms) != self._node.hub.occupied(room)
        ):
            self._changed_rooms[room] = None
            self._wake.set()

    async def settled(self) -> None:
        """Wait until the other nodes can see what is so far. Raises `Unavailable`."""
        async with self._lock:
            await self._settle()

    # -- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        await self._node.pool.attend(self._node.id)
        if not self.alone:
            self._lease = await self._node.leases.acquire(
                self._lease_name(self._node.id), self._node.id, self._node.lease_ms
            )
            self._node.tasks.spawn(self._keep(self._keep_lease, self._period()), "node lease")
            self._node.tasks.spawn(self._keep(self.look, WATCH_SECONDS), "other nodes")
            self._node.tasks.spawn(self._keep(self._bury, WATCH_SECONDS), "dead nodes")
            self._node.tasks.spawn(self._keep(self._audit.when_due, CHECK_SECONDS), "pool audit")
        self._node.tasks.spawn(self._run(), "registrar")
        self._node.tasks.spawn(self._keep(self.renew, RENEW_SECONDS), "pool renewal")

    async def stop(self) -> None:
        """Leave nothing behind."""
        async with self._lock:
            await self._node.pool.reap(self._node.id)
            self._entries.clear()
            self._rooms.clear()
        if self._lease is not None:
            await self._node.leases.release(self._lease)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.settled()
            except Unavailable as error:
                log.warning("the pool cannot be written", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
                self._wake.set()
            else:
                await asyncio.sleep(GATHER_SECONDS)

    async def _keep(self, work: Callable[[], Awaitable[None]], period: float) -> None:
        """Repeat for good; what fails is tried again at the next turn."""
        while True:
            try:
                await work()
            except ParlourError as error:
                log.warning("the registrar has to wait", error=str(error))
            except Exception:
                log.exception("the registrar failed")
                self._node.metrics.unexpected_errors.labels("registrar").inc()
            await asyncio.sleep(period)

    # -- bringing the pool in line ---------------------------------------------------------------

    async def _settle(self) -> None:
        while self._changed or self._changed_rooms:
            connections = list(self._changed.items())[:AT_ONCE]
            rooms = list(self._changed_rooms)[:AT_ONCE]
            for sid, _ in connections:
                del self._changed[sid]
            for room in rooms:
                del self._changed_rooms[room]
            works = [
                *(self._settle_connection(connection) for _, connection in connections),
                *(self._settle_room(room) for room in rooms),
            ]
            if self.alone:
                # The store is in this process and never waits: no task for each.
                results = [await _outcome(work) for work in works]
            else:
                results = await asyncio.gather(*map(_outcome, works))
            for failure in results:
                if failure is not None:
                    raise failure

    async def _settle_connection(self, connection: Connection) -> None:
        sid = connection.sid
        here = self._node.hub.connection(sid) is connection
        held = self._entries.get(sid)
        try:
            if here and held is None:
                self._entries[sid] = await self._node.pool.add(self._entry(connection))
            elif not here and held is not None:
                await self._node.pool.remove(held, remember_ms=GRACE_MS)
                del self._entries[sid]
        except ParlourError:
            self._changed.setdefault(sid, connection)
            raise
        finally:
            if here and not connection.known:
                # Also when the pool is away: the person is served from what this node can do.
                connection.known = True
                for arrival in self.arrivals:
                    self._node.tasks.spawn(self._arrive(arrival, connection), "arrival")

    async def _arrive(self, arrival: Arrival, connection: Connection) -> None:
        try:
            await arrival(connection)
        except ParlourError as error:
            log.warning("an arrival is incomplete", sid=connection.sid, error=str(error))

    async def _settle_room(self, room: str) -> None:
        occupied = self._node.hub.occupied(room)
        try:
            if occupied and room not in self._rooms:
                await self._node.pool.enter(room, self._node.id)
                self._rooms.add(room)
                self._node.presence.entered(room)
            elif not occupied and room in self._rooms:
                await self._node.pool.leave(room, self._node.id)
                self._rooms.discard(room)
            else:
                return
        except ParlourError:
            self._changed_rooms[room] = None
            raise
        if self._node.hub.occupied(room) != occupied:
            self._changed_rooms[room] = None

    def _entry(self, connection: Connection) -> PoolEntry:
        now = self._node.clock.now_ms()
        return PoolEntry(
            connection.sid,
            connection.user.id,
            connection.session.id,
            self._node.id,
            connected_at=now,
            last_seen=now,
        )

    async def renew(self) -> None:
        """Write when the connections were last active."""
        seen, self._seen = self._seen, {}
        while seen:
            part = [seen.popitem() for _ in range(min(AT_ONCE, len(seen)))]
            held = [(self._entries[sid], at) for sid, at in part if sid in self._entries]
            latest = max((at for _, at in held), default=0)
            missing = await self._node.pool.renew([entry for entry, _ in held], latest)
            if missing:
                await self.register_again(missing)
            await asyncio.sleep(0)

    # -- what the pool lost ----------------------------------------------------------------------

    def entries(self) -> list[PoolEntry]:
        """The connections as they are registered."""
        return list(self._entries.values())

    def rooms(self) -> list[str]:
        """The rooms that this node is known to have members of."""
        return list(self._rooms)

    def holds(self, entry: PoolEntry) -> bool:
        """Whether the connection is still registered like this."""
        return self._entries.get(entry.sid) == entry

    async def register_again(self, entries: Sequence[PoolEntry]) -> None:
        """Register those of these connections that are still there anew."""
        async with self._lock:
            held = [entry for entry in entries if self.holds(entry)]
            # What is left of the old entry must not outlive the connection.
            await asyncio.gather(*(self._node.pool.remove(entry) for entry in held))
            for entry in held:
                connection = self._node.hub.connection(entry.sid)
                if connection is not None:
                    del self._entries[entry.sid]
                    self._changed[entry.sid] = connection
            await self._settle()

    async def enter_again(self, rooms: Sequence[str]) -> None:
        """Say once more that this node has members of these rooms, where it has."""
        async with self._lock:
            held = [room for room in rooms if room in self._rooms]
            await asyncio.gather(*(self._node.pool.enter(room, self._node.id) for room in held))

    def _register_everything(self) -> None:
        self._entries.clear()
        self._rooms.clear()
        hub = self._node.hub
        self._changed = {connection.sid: connection for connection in hub.connections()}
        self._changed_rooms = {
            room: None for room in hub.rooms() if not room.startswith(("user:", "session:"))
        }
        self._wake.set()

    # -- life and death of nodes -----------------------------------------------------------------

    def _lease_name(self, node_id: str) -> str:
        return f"node:{node_id}"

    def _period(self) -> float:
        return min(self._node.lease_ms / 1000 / 4, 2.0)

    async def _keep_lease(self) -> None:
        """Say that this node lives. Where it was taken for dead meanwhile, everything that it has is
        registered anew, after whoever cleared up has let go of the lease."""
        node = self._node
        if self._lease is not None:
            try:
                self._lease = await node.leases.renew(self._lease, node.lease_ms)
                return
            except LeaseLost:
                log.warning("this node was taken for dead", node=node.id)
                self._lease = None
        self._lease = await node.leases.acquire(self._lease_name(node.id), node.id, node.lease_ms)
        if self._lease is not None:
            async with self._lock:
                # Nobody may have cleared up: what left meanwhile must not stay.
                await node.pool.reap(node.id)
                await node.pool.attend(node.id)
                self._register_everything()

    async def alive(self, node_id: str) -> bool:
        """Whether a node holds its own lease."""
        if node_id == self._node.id or self.alone:
            return node_id == self._node.id
        holder = await self._node.leases.holder(self._lease_name(node_id))
        return holder is not None and holder.owner == node_id

    async def look(self) -> None:
        """Notice which nodes died, and stop waiting for them."""
        node = self._node
        listed = await node.pool.nodes() - {node.id}
        # Another node may have cleared up before this one looked: then a dead one is listed no more.
        related = node.presence.peers() | node.peers.awaited() | self._known
        dead = {one for one in sorted(listed | related) if not await self.alive(one)}
        for one in sorted(dead & related | dead - self._dead):
            for departed in self.departed:
                departed(one)
        self._dead = frozenset(dead & listed)
        self._known = frozenset(listed - dead)

    async def _bury(self) -> None:
        """Remove what dead nodes left in the pool. One node does it, under the dead one's lease."""
        node = self._node
        for left in await node.leases.abandoned("node:", REAPED_AT_ONCE):
            dead = left.name.partition(":")[2]
            lease = await node.leases.acquire(left.name, f"{node.id}/reaper", REAPER_MS)
            if dead != node.id and lease is not None:
                gone = await node.pool.reap(dead)
                log.warning("dead node cleared up", dead=dead, connections=len(gone))
            if lease is not None:
                await node.leases.release(lease)


async def _outcome(work: Awaitable[None]) -> ParlourError | None:
    """The work's failure, so that the others' work is finished first."""
    try:
        await work
    except ParlourError as error:
        return error
    return None
