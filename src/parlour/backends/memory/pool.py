"""Who is connected, within one process."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import count

from parlour.ports import Clock, PoolEntry


class MemoryPool:
    """`ports.ConnectionPool` of a single node."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._generations = count(1)
        self._entries: dict[str, PoolEntry] = {}
        self._users = _Index()
        self._sessions = _Index()
        self._on_node = _Index()
        self._rooms = _Index()
        self._rooms_of_node = _Index()
        self._nodes: set[str] = set()
        self._left: dict[str, int] = {}

    async def add(self, entry: PoolEntry) -> PoolEntry:
        self._forget(entry.sid)
        added = replace(entry, generation=next(self._generations))
        self._entries[entry.sid] = added
        for index, key in self._indexes(added):
            index.add(key, entry.sid)
        return added

    async def remove(self, entry: PoolEntry, *, remember_ms: int = 0) -> bool:
        if remember_ms:
            self._remember(entry.session_id, remember_ms)
        if not self._registered(entry):
            return False
        self._forget(entry.sid)
        return True

    async def renew(self, entries: Sequence[PoolEntry], at: int) -> Sequence[PoolEntry]:
        gone = []
        for entry in entries:
            if self._registered(entry):
                held = self._entries[entry.sid]
                self._entries[entry.sid] = replace(held, last_seen=max(held.last_seen, at))
            else:
                gone.append(entry)
        return gone

    async def of_users(self, user_ids: Sequence[str]) -> Sequence[PoolEntry]:
        return [
            self._entries[sid]
            for user_id in dict.fromkeys(user_ids)
            for sid in self._users.of(user_id)
        ]

    async def of_session(self, session_id: str) -> Sequence[PoolEntry]:
        return [self._entries[sid] for sid in self._sessions.of(session_id)]

    async def left(self, session_id: str) -> bool:
        return self._left.get(session_id, 0) > self._clock.now_ms()

    async def enter(self, room: str, node: str) -> None:
        self._rooms.add(room, node)
        self._rooms_of_node.add(node, room)

    async def leave(self, room: str, node: str) -> None:
        self._rooms.drop(room, node)
        self._rooms_of_node.drop(node, room)

    async def nodes_of(self, room: str) -> frozenset[str]:
        return frozenset(self._rooms.of(room))

    async def attend(self, node: str) -> None:
        self._nodes.add(node)

    async def nodes(self) -> frozenset[str]:
        return frozenset(self._nodes)

    async def reap(self, node: str) -> Sequence[PoolEntry]:
        gone = [self._entries[sid] for sid in self._on_node.of(node)]
        for entry in gone:
            self._forget(entry.sid)
        for room in list(self._rooms_of_node.of(node)):
            self._rooms.drop(room, node)
            self._rooms_of_node.drop(node, room)
        self._nodes.discard(node)
        return gone

    def _registered(self, entry: PoolEntry) -> bool:
        held = self._entries.get(entry.sid)
        return held is not None and held.generation == entry.generation

    def _forget(self, sid: str) -> None:
        entry = self._entries.pop(sid, None)
        if entry is not None:
            for index, key in self._indexes(entry):
                index.drop(key, sid)

    def _indexes(self, entry: PoolEntry) -> Iterator[tuple[_Index, str]]:
        yield self._users, entry.user_id
        yield self._sessions, entry.session_id
        yield self._on_node, entry.node

    def _remember(self, session_id: str, ms: int) -> None:
        now = self._clock.now_ms()
        self._left.pop(session_id, None)
        self._left[session_id] = now + ms
        # A few old ones go with each new one, so that nobody ever pays for many at once.
        for old in list(zip(range(2), self._left, strict=False)):
            if self._left[old[1]] <= now:
                del self._left[old[1]]


class _Index:
    """Several values by key. Most keys have one (a session has one connection): it stands there
    itself, without a set around it."""

    def __init__(self) -> None:
        self._values: dict[str, str | set[str]] = {}

    def of(self, key: str) -> Collection[str]:
        values = self._values.get(key, ())
        return (values,) if isinstance(values, str) else values

    def add(self, key: str, value: str) -> None:
        values = self._values.get(key)
        if values is None:
            self._values[key] = value
        elif isinstance(values, set):
            values.add(value)
        elif values != value:
            self._values[key] = {values, value}

    def drop(self, key: str, value: str) -> None:
        values = self._values.get(key)
        if isinstance(values, set):
            values.discard(value)
            if not values:
                del self._values[key]
        elif values == value:
            del self._values[key]
