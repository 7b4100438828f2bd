"""A node is killed: what it had registered is gone within its lease and two seconds."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from parlour.testing.servers import PostgresServer, RedisServer
from tests.apps import ScriptedApp
from tests.fault.process import ServerProcess
from tests.serving import Client, Served, serve

LEASE_S = 3.0
THREAD = "thread-of-both"


@dataclass
class Pair:
    """A node in this process, and one in a process of its own that can be killed."""

    here: Served
    there: ServerProcess

    async def connect_there(self, stack: AsyncExitStack, name: str, **auth: Any) -> Client:
        client = Client()
        url = f"http://127.0.0.1:{self.there.port}"
        await client.connect(url, token=await self.here.user(name), **auth)
        stack.push_async_callback(client.close)
        return client


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


@pytest.fixture
async def pair(
    tmp_path: Path, redis_server: RedisServer, postgres_server: PostgresServer
) -> AsyncIterator[Pair]:
    shared = {
        "redis_url": redis_server.url,
        "redis_key_prefix": tmp_path.name,
        "database_url": await postgres_server.create_database("dead_node"),
        "database_pool_size": 3,
        "node_lease_seconds": LEASE_S,
    }
    folder = tmp_path / "there"
    folder.mkdir()
    environment = {f"PARLOUR_{name.upper()}": str(value) for name, value in shared.items()}
    # A node that stands still for a while must not find its clients timed out.
    environment["PARLOUR_PING_TIMEOUT_SECONDS"] = "60"
    async with serve(ScriptedApp(), tmp_path / "here", **shared) as here:
        there = ServerProcess(folder, environment)
        await there.start()
        try:
            yield Pair(here, there)
        finally:
            there.stop()


async def test_a_killed_node_leaves_nobody_behind(pair: Pair, stack: AsyncExitStack) -> None:
    node, session = pair.here.node, uuid.uuid4().hex
    alice = await stack.enter_async_context(Client.open(pair.here, "alice"))
    room = f"thread:{THREAD}"
    await alice.call("subscribe", stream=room)
    same_user = await pair.connect_there(stack, "alice", session_id=session)
    await same_user.call("subscribe", stream=room)
    bob = await pair.connect_there(stack, "bob")
    users = {
        record.name: record.id
        for name in ("alice", "bob")
        if (record := await node.users.user_by_login(name)) is not None
    }
    await node.routing.enter_room_for_users("doc_shared", users.values())
    await alice.until(
        lambda event, payload: event == "presence" and _names(payload, "joined") >= {"bob"}
    )
    called, never = asyncio.Event(), asyncio.Event()

    @same_user.socket.on("call")
    async def keep_silent(payload: Any) -> None:
        called.set()
        await never.wait()

    asked = asyncio.create_task(node.routing.call(session, "never", {}, 30))
    await asyncio.wait_for(called.wait(), 30)
    await _until_used(pair, bob)

    pair.there.kill()
    killed = time.monotonic()
    right_at = await asyncio.gather(
        _when_told(alice, "bob"),
        _when_empty(pair, users["bob"], session),
        _when_left(pair, "doc_shared"),
        _when_unused(pair),
    )

    after = {
        what: at - killed
        for what, at in zip(("presence", "pool", "rooms", "usage"), right_at, strict=True)
    }
    print("right after kill -9:", ", ".join(f"{what} {s:.1f} s" for what, s in after.items()))
    assert max(after.values()) < _limit()
    assert [one.id for one in node.presence.people("doc_shared")] == [users["alice"]]
    assert await node.pool.nodes() == {node.id}
    assert (await node.presence.statuses([users["bob"]]))[users["bob"]]["status"] == "offline"
    back = Client()

    @back.socket.on("call")
    async def answer(payload: Any) -> Any:
        return "moved"

    await back.connect(pair.here.url, token=await pair.here.user("alice"), session_id=session)
    stack.push_async_callback(back.close)
    assert await asked == "moved"
    never.set()


async def test_a_death_is_noticed_also_where_another_node_cleared_up_first(pair: Pair) -> None:
    node, ghost = pair.here.node, f"node-{uuid.uuid4().hex[:12]}"
    told: list[str] = []
    node.registrar.departed.append(told.append)
    await node.pool.attend(ghost)
    lease = await node.leases.acquire(f"node:{ghost}", ghost, 60_000)
    assert lease is not None
    await node.registrar.look()
    assert ghost not in told

    # What a faster node does when the lease has run out.
    await node.pool.reap(ghost)
    await node.leases.release(lease)
    await node.registrar.look()

    assert ghost in told


async def test_a_node_that_was_taken_for_dead_registers_its_connections_anew(
    pair: Pair, stack: AsyncExitStack
) -> None:
    node = pair.here.node
    bob = await pair.connect_there(stack, "bob")
    record = await node.users.user_by_login("bob")
    assert record is not None
    await _until_connected(pair, record.id, 1)
    pair.there.pause()
    await _until_connected(pair, record.id, 0)

    pair.there.resume()
    await _until_connected(pair, record.id, 1)

    reached = await node.routing.emit_to_users("note", {"n": 1}, [record.id])
    assert reached.connections == 1
    assert await bob.until(lambda event, payload: event == "note") == {"n": 1}


def _names(payload: Any, change: str) -> set[str]:
    return {user["name"] for user in payload[change]}


async def _when_told(client: Client, name: str) -> float:
    """When somebody heard that a person has left (monotonic seconds)."""
    await client.until(
        lambda event, payload: event == "presence" and name in _names(payload, "left"), 30
    )
    return time.monotonic()


async def _when_left(pair: Pair, room: str) -> float:
    """When only this node was known to have members of the room (monotonic seconds)."""
    node = pair.here.node
    async with asyncio.timeout(30):
        while await node.pool.nodes_of(room) != {node.id}:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
    return time.monotonic()


def _limit() -> float:
    """Lease plus two seconds; a machine that is busy with other things is given time."""
    busy = os.getloadavg()[0] > 2 * (os.cpu_count() or 1)
    return 30.0 if busy else LEASE_S + 2


async def _until_used(pair: Pair, client: Client) -> None:
    """Have the client use the model until this node knows."""
    async with asyncio.timeout(30):
        while await pair.here.node.usage.in_use() != {"model-x": 1}:
            await client.call("usage", model="model-x")


async def _when_empty(pair: Pair, user_id: str, session_id: str) -> float:
    """When the pool knew nothing more of the dead node's user and session (monotonic seconds)."""
    pool = pair.here.node.pool
    async with asyncio.timeout(30):
        while True:
            found = [*await pool.of_users([user_id]), *await pool.of_session(session_id)]
            if not found and len(await pool.nodes()) == 1:
                return time.monotonic()
            await asyncio.sleep(0.02)


async def _when_unused(pair: Pair) -> float:
    """When no model was in use any more (monotonic seconds)."""
    async with asyncio.timeout(30):
        while True:
            if not await pair.here.node.usage.in_use():
                return time.monotonic()
            await asyncio.sleep(0.02)


async def _until_connected(pair: Pair, user_id: str, count: int) -> None:
    async with asyncio.timeout(30):
        while True:
            if len(await pair.here.node.pool.of_users([user_id])) == count:
                return
            await asyncio.sleep(0.02)
