"""A session that moves between two nodes on one Redis and one PostgreSQL keeps its values."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

import parlour as cl
from parlour.chat.application import ChatApp
from parlour.chat.registry import Registry, registering
from parlour.input_widget import Switch
from parlour.testing.servers import PostgresServer, RedisServer
from tests.integration.test_author_api import Person
from tests.serving import Client, serve

Pair = tuple[Person, Person]


def app() -> ChatApp:
    with registering(Registry()) as registry:

        @cl.on_chat_start
        async def start() -> None:
            await cl.ChatSettings([Switch(id="loud", label="Loud")]).send()

        @cl.on_message
        async def reply(message: cl.Message) -> None:
            if message.content == "forget":
                cl.user_session.delete("words")
            words = cl.user_session.get("words", [])
            words.append(message.content)
            cl.user_session.set("words", words)
            said = " ".join(words)
            loud = cl.user_session.get("chat_settings")["loud"]
            await cl.Message(said.upper() if loud else said).send()

        @cl.on_settings_update
        async def changed() -> None:
            await cl.context.emitter.send_toast("changed")

    return ChatApp(registry)


@pytest.fixture
async def pair(
    tmp_path: Path, redis_server: RedisServer, postgres_server: PostgresServer
) -> AsyncIterator[Pair]:
    """One session with a connection to each of two nodes."""
    shared: dict[str, Any] = {
        "redis_url": redis_server.url,
        "redis_key_prefix": tmp_path.name,
        "database_url": await postgres_server.create_database("author_api"),
        "database_pool_size": 5,
    }
    async with AsyncExitStack() as stack:
        people = []
        for name in ("a", "b"):
            served = await stack.enter_async_context(serve(app(), tmp_path / name, **shared))
            client = await stack.enter_async_context(
                Client.open(served, "alice", session_id="session-moving")
            )
            await client.call("subscribe", stream="thread:thread-moving")
            people.append(Person(client, "thread-moving"))
        yield people[0], people[1]


async def test_values_follow_the_session_from_node_to_node_and_back(pair: Pair) -> None:
    on_a, on_b = pair
    for sitting, word in ((on_a, "one"), (on_b, "two"), (on_a, "three"), (on_b, "four")):
        await sitting.ended(await sitting.say(word))
    await on_a.hear("one two three four")
    changed = await on_b.command("settings:update", settings={"loud": True})
    await on_b.ended(changed["run_id"])
    await on_a.ended(await on_a.say("forget"))
    await on_b.ended(await on_b.say("five"))
    await on_a.hear("FIVE")

    assert on_a.answers() == [
        "one",
        "one two",
        "one two three",
        "one two three four",
        "FORGET",
        "FORGET FIVE",
    ]
