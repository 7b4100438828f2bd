"""Who is connected where, in Redis.

    pool:{user:ID}      hash: sid → entry     the users' connections, with when each was last seen
    pool:{session:ID}   hash: sid → entry     the sessions' connections
    pool:{node:ID}      hash: sid → entry     what a node registered, for whoever clears up after it
    pool:{left:ID}      a session that has just left
    pool:{room:NAME}    set of nodes that have members
    pool:{rooms:ID}     set of rooms of a node
    pool:nodes, pool:generation

Every key may live on another shard of a Cluster, so no step spans two. Order makes up for it: a
node's own list is written first and erased last, hence whatever a dying node had registered is
found in it. Each erasure compares the generation, so that nobody removes what was registered anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

from parlour.backends.redis.connection import Redis
from parlour.backends.redis.scripts import script
from parlour.ports import PoolEntry

REAPED_AT_ONCE = 500
"""Connections or rooms of a dead node that are removed together."""


class RedisPool:
    """`ports.ConnectionPool` in Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def add(self, entry: PoolEntry) -> PoolEntry:
        generation = int(await self._redis.call("INCR", self._plain("generation")))
        added = replace(entry, generation=generation)
        await self._write(self._key("node", entry.node), added)
        await asyncio.gather(
            self._write(self._key("user", entry.user_id), added),
            self._write(self._key("session", entry.session_id), added),
        )
        return added

    async def remove(self, entry: PoolEntry, *, remember_ms: int = 0) -> bool:
        if remember_ms:
            left = self._key("left", entry.session_id)
            await self._redis.call("SET", left, entry.sid, "PX", remember_ms)
        return await self._erase_whole(entry)

    async def renew(self, entries: Sequence[PoolEntry], at: int) -> Sequence[PoolEntry]:
        kept = await asyncio.gather(*(self._renew(entry, at) for entry in entries))
        return [entry for entry, there in zip(entries, kept, strict=True) if not there]

    async def of_users(self, user_ids: Sequence[str]) -> Sequence[PoolEntry]:
        keys = [self._key("user", user_id) for user_id in dict.fromkeys(user_ids)]
        found = await asyncio.gather(*(self._entries(key) for key in keys))
        return [entry for entries in found for entry in entries]

    async def of_session(self, session_id: str) -> Sequence[PoolEntry]:
        return await self._entries(self._key("session", session_id))

    async def left(self, session_id: str) -> bool:
        return bool(await self._redis.call("EXISTS", self._key("left", session_id)))

    async def enter(self, room: str, node: str) -> None:
        await self._redis.call("SADD", self._key("rooms", node), room)
        await self._redis.call("SADD", self._key("room", room), node)

    async def leave(self, room: str, node: str) -> None:
        await self._redis.call("SREM", self._key("room", room), node)
        await self._redis.call("SREM", self._key("rooms", node), room)

    async def nodes_of(self, room: str) -> frozenset[str]:
        return _names(await self._redis.call("SMEMBERS", self._key("room", room)))

    async def attend(self, node: str) -> None:
        await self._redis.call("SADD", self._plain("nodes"), node)

    async def nodes(self) -> frozenset[str]:
        return _names(await self._redis.call("SMEMBERS", self._plain("nodes")))

    async def reap(self, node: str) -> Sequence[PoolEntry]:
        gone: dict[str, PoolEntry] = {}
        while page := await self._page(self._key("node", node)):
            await asyncio.gather(*(self._erase_whole(entry) for entry in page))
            gone.update((entry.sid, entry) for entry in page)
        rooms = self._key("rooms", node)
        while names := await self._redis.call("SRANDMEMBER", rooms, REAPED_AT_ONCE):
            await asyncio.gather(*(self.leave(name.decode(), node) for name in names))
        await self._redis.call("SREM", self._plain("nodes"), node)
        return list(gone.values())

    # -- one hash ----------------------------------------------------------------------------------

    async def _write(self, key: str, entry: PoolEntry) -> None:
        await self._redis.run(script("pool_write"), [key], (entry.sid, _packed(entry)))

    async def _erase(self, key: str, entry: PoolEntry) -> bool:
        values = (entry.sid, entry.generation)
        return bool(await self._redis.run(script("pool_erase"), [key], values))

    async def _erase_whole(self, entry: PoolEntry) -> bool:
        found = await asyncio.gather(
            self._erase(self._key("user", entry.user_id), entry),
            self._erase(self._key("session", entry.session_id), entry),
        )
        return any((*found, await self._erase(self._key("node", entry.node), entry)))

    async def _renew(self, entry: PoolEntry, at: int) -> bool:
        values = (entry.sid, entry.generation, at)
        key = self._key("user", entry.user_id)
        return bool(await self._redis.run(script("pool_renew"), [key], values))

    async def _entries(self, key: str) -> Sequence[PoolEntry]:
        reply = await self._redis.call("HGETALL", key)
        return [_unpacked(sid, value) for sid, value in zip(reply[::2], reply[1::2], strict=True)]

    async def _page(self, key: str) -> Sequence[PoolEntry]:
        """Some entries of a node's list; which ones does not matter, for they go."""
        reply = await self._redis.call("HRANDFIELD", key, REAPED_AT_ONCE, "WITHVALUES")
        return [_unpacked(sid, value) for sid, value in zip(reply[::2], reply[1::2], strict=True)]

    def _key(self, kind: str, name: str) -> str:
        return f"{self._redis.prefix}:pool:{{{kind}:{name}}}"

    def _plain(self, name: str) -> str:
        return f"{self._redis.prefix}:pool:{name}"


def _packed(entry: PoolEntry) -> str:
    """`generation last_seen connected_at node` and, on lines of their own, user and session."""
    numbers = f"{entry.generation} {entry.last_seen} {entry.connected_at}"
    return f"{numbers} {entry.node}\n{entry.user_id}\n{entry.session_id}"


def _unpacked(sid: bytes, value: bytes) -> PoolEntry:
    head, user_id, session_id = value.decode().split("\n")
    generation, last_seen, connected_at, node = head.split(" ", 3)
    return PoolEntry(
        sid.decode(),
        user_id,
        session_id,
        node,
        int(generation),
        int(connected_at),
        int(last_seen),
    )


def _names(reply: Iterable[bytes]) -> frozenset[str]:
    return frozenset(name.decode() for name in reply)
