"""What every `ConnectionPool` promises."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence

import pytest

from parlour.ports import ConnectionPool, PoolEntry
from parlour.testing.contracts.leases import PassTime

MANY = 1200
"""More than a backend removes in one step."""


def connection(user: str = "", session: str = "", node: str = "") -> PoolEntry:
    """A connection that no other test has; so are its user, session and node unless they are given."""
    return PoolEntry(
        sid=uuid.uuid4().hex,
        user_id=user or f"user {uuid.uuid4().hex}",
        session_id=session or uuid.uuid4().hex,
        node=node or unique("node"),
        connected_at=1_700_000_000_000,
        last_seen=1_700_000_000_000,
    )


def unique(kind: str) -> str:
    return f"{kind}-{uuid.uuid4().hex}"


def sids(entries: Sequence[PoolEntry]) -> set[str]:
    return {entry.sid for entry in entries}


class ConnectionPoolContract:
    """Give it the fixtures `pool` and `pass_time` (as for `LeasesContract`)."""

    @pytest.fixture
    async def pool(self) -> ConnectionPool:
        raise NotImplementedError

    @pytest.fixture
    async def pass_time(self) -> PassTime:
        raise NotImplementedError

    async def test_a_connection_is_found_by_its_user_and_by_its_session(
        self, pool: ConnectionPool
    ) -> None:
        added = await pool.add(connection())

        assert await pool.of_users([added.user_id]) == [added]
        assert await pool.of_session(added.session_id) == [added]

    async def test_all_connections_of_a_user_are_found_wherever_they_are(
        self, pool: ConnectionPool
    ) -> None:
        user = unique("user")
        added = [await pool.add(connection(user)) for _ in range(3)]
        await pool.add(connection())

        found = await pool.of_users([user])

        assert sorted(found, key=lambda one: one.sid) == sorted(added, key=lambda one: one.sid)

    async def test_each_connection_of_several_users_is_found_once(
        self, pool: ConnectionPool
    ) -> None:
        one, other = await pool.add(connection()), await pool.add(connection())
        asked = [one.user_id, other.user_id, one.user_id, unique("nobody")]

        found = await pool.of_users(asked)

        assert sorted(entry.sid for entry in found) == sorted([one.sid, other.sid])

    async def test_a_removed_connection_is_found_no_more(self, pool: ConnectionPool) -> None:
        added = await pool.add(connection())
        stays = await pool.add(connection(added.user_id, added.session_id, added.node))

        removed = await pool.remove(added)

        assert removed
        assert await pool.of_users([added.user_id]) == [stays]
        assert await pool.of_session(added.session_id) == [stays]
        assert not await pool.remove(added)

    async def test_generations_rise(self, pool: ConnectionPool) -> None:
        first = connection()

        generations = [(await pool.add(first)).generation for _ in range(3)]

        assert sorted(set(generations)) == generations
        assert [one.generation for one in await pool.of_users([first.user_id])] == generations[-1:]

    async def test_a_renewal_tells_when_a_connection_was_last_seen(
        self, pool: ConnectionPool
    ) -> None:
        added = await pool.add(connection())

        gone = await pool.renew([added], added.last_seen + 5000)
        await pool.renew([added], added.last_seen + 1000)

        assert gone == []
        assert (await pool.of_users([added.user_id]))[0].last_seen == added.last_seen + 5000

    async def test_a_late_renewal_does_not_bring_a_removed_connection_back(
        self, pool: ConnectionPool
    ) -> None:
        added = await pool.add(connection())
        await pool.remove(added)

        gone = await pool.renew([added], added.last_seen + 5000)

        assert gone == [added]
        assert await pool.of_users([added.user_id]) == []
        assert await pool.of_session(added.session_id) == []

    async def test_an_older_generation_neither_renews_nor_removes_a_newer_one(
        self, pool: ConnectionPool
    ) -> None:
        old = await pool.add(connection())
        new = await pool.add(old)

        gone = await pool.renew([old], old.last_seen + 5000)
        removed = await pool.remove(old)

        assert gone == [old]
        assert not removed
        assert await pool.of_users([old.user_id]) == [new]
        assert await pool.of_session(old.session_id) == [new]

    async def test_a_session_that_just_left_is_remembered_for_its_time(
        self, pool: ConnectionPool, pass_time: PassTime
    ) -> None:
        added = await pool.add(connection())
        before = await pool.left(added.session_id)

        await pool.remove(added, remember_ms=200)

        assert not before
        assert await pool.left(added.session_id)
        await pass_time(201)
        assert not await pool.left(added.session_id)

    async def test_a_room_knows_the_nodes_that_have_members(self, pool: ConnectionPool) -> None:
        room, one, other = unique("channel:x"), unique("node"), unique("node")
        await pool.enter(room, one)
        await pool.enter(room, other)
        await pool.enter(room, one)

        both = await pool.nodes_of(room)
        await pool.leave(room, one)
        await pool.leave(room, one)

        assert both == {one, other}
        assert await pool.nodes_of(room) == {other}

    async def test_nodes_that_serve_are_known(self, pool: ConnectionPool) -> None:
        one = unique("node")
        await pool.attend(one)
        await pool.attend(one)

        there = one in await pool.nodes()
        await pool.reap(one)

        assert there
        assert one not in await pool.nodes()

    async def test_everything_of_a_dead_node_is_reaped_and_nothing_else(
        self, pool: ConnectionPool
    ) -> None:
        dead, room = unique("node"), unique("channel:x")
        gone = [await pool.add(connection(node=dead)) for _ in range(3)]
        stays = await pool.add(connection(gone[0].user_id, gone[0].session_id))
        await pool.enter(room, dead)
        await pool.enter(room, stays.node)

        reaped = await pool.reap(dead)

        assert sids(reaped) == sids(gone)
        assert await pool.of_users([one.user_id for one in gone]) == [stays]
        assert await pool.of_session(stays.session_id) == [stays]
        assert await pool.nodes_of(room) == {stays.node}
        assert await pool.reap(dead) == []

    async def test_a_node_with_very_many_connections_and_rooms_is_reaped_whole(
        self, pool: ConnectionPool
    ) -> None:
        dead, user = unique("node"), unique("user")
        rooms = [unique("channel:x") for _ in range(MANY)]
        await asyncio.gather(*(pool.add(connection(user, node=dead)) for _ in range(MANY)))
        await asyncio.gather(*(pool.enter(room, dead) for room in rooms))

        reaped = await pool.reap(dead)

        assert len(sids(reaped)) == MANY
        assert await pool.of_users([user]) == []
        assert await pool.nodes_of(rooms[0]) == await pool.nodes_of(rooms[-1]) == frozenset()

    async def test_what_was_registered_anew_survives_an_old_removal_of_the_same_connection(
        self, pool: ConnectionPool
    ) -> None:
        old = await pool.add(connection())
        results = await asyncio.gather(pool.add(old), pool.remove(old))

        assert await pool.of_users([old.user_id]) == [results[0]]
        assert await pool.of_session(old.session_id) == [results[0]]
        assert sids(await pool.reap(old.node)) == {old.sid}
