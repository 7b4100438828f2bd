"""Redis goes away under a node: it serves its own people, and is whole again afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from parlour.errors import Unavailable
from parlour.testing.servers import PostgresServer, RedisServer, running_redis
from tests.apps import ScriptedApp
from tests.serving import Client, Served, serve


@dataclass
class Scene:
    """A node on a Redis of its own, with ann connected."""

    redis: RedisServer
    served: Served
    client: Client
    user_id: str


@pytest.fixture
async def scene(tmp_path: Path, postgres_server: PostgresServer) -> AsyncIterator[Scene]:
    with running_redis() as redis:
        async with (
            serve(
                ScriptedApp(),
                tmp_path,
                redis_url=redis.url,
                redis_timeout_seconds=1.0,
                database_url=await postgres_server.create_database("without_redis"),
                database_pool_size=3,
                node_lease_seconds=2.0,
            ) as served,
            Client.open(served, "ann") as client,
        ):
            record = await served.node.users.user_by_login("ann")
            assert record is not None
            await served.node.registrar.settled()
            yield Scene(redis, served, client, record.id)


async def test_a_node_reaches_its_own_people_and_names_what_failed(scene: Scene) -> None:
    scene.redis.stop()

    reached = await scene.served.node.routing.emit_to_users("note", {"n": 1}, [scene.user_id])

    assert reached.connections == 1
    assert list(reached.failures) == ["pool"]
    assert await scene.client.until(lambda event, payload: event == "note") == {"n": 1}
    scene.redis.start()


async def test_a_redis_that_lost_its_data_learns_everything_anew(scene: Scene) -> None:
    node = scene.served.node
    await node.routing.enter_room_for_users("doc_x", [scene.user_id])
    scene.redis.lose_data()

    async with asyncio.timeout(20):
        while True:
            try:
                entries = await node.pool.of_users([scene.user_id])
                rooms = await node.pool.nodes_of("doc_x")
            except Unavailable:
                entries, rooms = [], frozenset()
            if entries and rooms:
                break
            await asyncio.sleep(0.05)

    assert [entry.node for entry in entries] == [node.id]
    assert rooms == {node.id}
    assert await node.pool.nodes() == {node.id}
