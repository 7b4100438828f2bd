"""A node dies in the middle of a run, and the next thing that happens in the conversation is another message:
the node that serves it must end, or begin, what the dead one left."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import parlour as cl
from parlour.chat.application import ChatApp
from parlour.chat.registry import Registry, registering
from parlour.testing.servers import PostgresServer, RedisServer
from parlour.wire.told import MESSAGE, RUN_QUEUED, RUN_STARTED
from tests.serving import Client, Served, serve

LEASE_S = 1.0
GHOST = "a-node-that-died"


def make_app() -> ChatApp:
    with registering(Registry()) as registry:

        @cl.on_message
        async def reply(message: cl.Message) -> None:
            await cl.Message(f"re: {message.content}").send()

        return ChatApp(registry)


@pytest.fixture
async def node(
    tmp_path: Path, redis_server: RedisServer, postgres_server: PostgresServer
) -> AsyncIterator[Served]:
    """The one node that is left."""
    settings: dict[str, Any] = {
        "redis_url": redis_server.url,
        "redis_key_prefix": uuid.uuid4().hex,
        "database_url": await postgres_server.create_database(f"left_{uuid.uuid4().hex[:8]}"),
        "database_pool_size": 5,
        "node_lease_seconds": LEASE_S,
    }
    async with serve(make_app(), tmp_path, **settings) as served:
        yield served


class Conversation:
    def __init__(self, node: Served, client: Client, user_id: str) -> None:
        self.node = node.node
        self.client = client
        self.user_id = user_id
        self.thread = f"thread-{uuid.uuid4().hex[:8]}"
        self.stream = f"thread:{self.thread}"

    async def hold_as_ghost(self) -> int:
        lease = await self.node.leases.acquire(f"run:{self.thread}", GHOST, int(LEASE_S * 1000))
        assert lease is not None
        return lease.generation

    def message(self, text: str) -> dict[str, Any]:
        author = {"id": self.user_id, "name": "ann"}
        return {"id": uuid.uuid4().hex, "role": "user", "author": author, "content": text}

    async def wait_on_ghost(self, text: str) -> None:
        """A message whose run waits on the node that died."""
        fence = await self.hold_as_ghost()
        waiting = self.message(text)
        await self.node.streams.append(
            self.stream,
            MESSAGE(waiting),
            RUN_QUEUED(
                {
                    "run_id": "waiting",
                    "handler": "on_message",
                    "message_id": waiting["id"],
                    "by": waiting["author"],
                }
            ),
            fence=fence,
        )

    async def send(self, text: str) -> str:
        sent = await self.client.call(
            "message:send", thread_id=self.thread, content=text, command_id=uuid.uuid4().hex
        )
        assert sent["ok"], sent
        return str(sent["run_id"])

    async def ended(self, run_id: str) -> str:
        def wanted(event: str, payload: Any) -> bool:
            told = payload["data"] if event == "events" else {}
            return told.get("type") == "run:ended" and told["data"]["run_id"] == run_id

        outcome: str = (await self.client.until(wanted))["data"]["data"]["outcome"]
        return outcome

    async def runs(self) -> list[str]:
        return list((await self.node.state_of(self.stream)).runs)


@pytest.fixture
async def conversation(node: Served) -> AsyncIterator[Conversation]:
    async with Client.open(node, "ann", session_id=uuid.uuid4().hex) as client:
        record = await node.node.users.user_by_login("ann")
        assert record is not None
        opened = Conversation(node, client, record.id)
        joined = await client.call("subscribe", stream=opened.stream)
        assert joined["ok"], joined
        yield opened


async def test_a_run_that_a_dead_node_had_begun_is_ended_before_the_next_one(
    conversation: Conversation,
) -> None:
    fence = await conversation.hold_as_ghost()
    await conversation.node.streams.append(
        conversation.stream,
        MESSAGE(conversation.message("left alone")),
        RUN_STARTED({"run_id": "begun", "handler": "on_message"}),
        fence=fence,
    )

    # Before its lease has run out: this node waits for it, and takes it before any sweeper looks.
    run_id = await conversation.send("hello")
    outcomes = [await conversation.ended("begun"), await conversation.ended(run_id)]

    assert outcomes == ["interrupted", "completed"]
    assert await conversation.runs() == []
    ends = [told["run_id"] for told in conversation.client.events("run:ended")]
    assert ends == ["begun", run_id]


async def test_a_message_that_waited_on_a_dead_node_is_answered(conversation: Conversation) -> None:
    await conversation.wait_on_ghost("left alone")

    run_id = await conversation.send("hello")
    outcomes = [await conversation.ended(run_id), await conversation.ended("waiting")]

    said = [told["content"] for told in conversation.client.events("message")]
    assert outcomes == ["completed", "completed"]
    assert "re: left alone" in said
    assert await conversation.runs() == []


async def test_what_waits_on_a_node_that_lives_is_left_to_it(
    conversation: Conversation, node: Served
) -> None:
    await conversation.wait_on_ghost("somebody has this")

    run_id = await conversation.send("hello")
    await conversation.ended(run_id)
    # The other node takes the conversation for its run, and keeps it.
    leases = conversation.node.leases
    async with asyncio.timeout(20):
        while (held := await leases.acquire(f"run:{conversation.thread}", "other", 60_000)) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    await asyncio.sleep(3 * LEASE_S)

    assert held.owner == "other"
    assert await conversation.runs() == ["waiting"]
    assert not [t for t in conversation.client.events("run:started") if t["run_id"] == "waiting"]
