"""Two nodes on one Redis and one PostgreSQL behave like one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from parlour.testing.servers import PostgresServer, RedisServer
from tests.apps import ScriptedApp
from tests.integration.test_conversations import STREAM, THREAD, as_events, ended, is_ask, send
from tests.serving import Client, Served, serve


@dataclass
class Pair:
    """Nodes `a` and `b`, and one person's connection to each."""

    a: Served
    b: Served
    on_a: Client
    on_b: Client


@pytest.fixture
async def pair(
    tmp_path: Path, redis_server: RedisServer, postgres_server: PostgresServer
) -> AsyncIterator[Pair]:
    shared: dict[str, Any] = {
        "redis_url": redis_server.url,
        "redis_key_prefix": tmp_path.name,
        "database_url": await postgres_server.create_database("two_nodes"),
        "database_pool_size": 5,
        "node_lease_seconds": 2.0,
    }
    async with AsyncExitStack() as stack:
        a = await stack.enter_async_context(serve(ScriptedApp(), tmp_path / "a", **shared))
        b = await stack.enter_async_context(serve(ScriptedApp(), tmp_path / "b", **shared))
        on_a = await stack.enter_async_context(Client.open(a, "alice", session_id="session-a"))
        on_b = await stack.enter_async_context(Client.open(b, "alice", session_id="session-b"))
        await on_a.call("subscribe", stream=STREAM)
        await on_b.call("subscribe", stream=STREAM)
        yield Pair(a, b, on_a, on_b)


async def test_state_on_any_node_has_what_another_one_acknowledged(pair: Pair) -> None:
    """It was that of the feed, which hears of an append some milliseconds later."""
    for number in range(50):
        data = {"id": f"m{number}", "role": "assistant", "author": None, "content": str(number)}
        await pair.a.node.streams.append(STREAM, ("message", data))

        there, here = await asyncio.gather(
            pair.b.node.state_of(STREAM), pair.a.node.state_of(STREAM)
        )

        assert there.messages[data["id"]]["content"] == str(number)
        assert here.messages[data["id"]]["content"] == str(number)


async def test_readers_on_both_nodes_hear_the_same_contiguous_stream(pair: Pair) -> None:
    run = await send(pair.on_a, "say one two three four", "c1")
    await pair.on_a.until(ended(run["run_id"]))
    await pair.on_b.until(ended(run["run_id"]))

    heard = [[(e.offset, e.type) for e in as_events(client)] for client in (pair.on_a, pair.on_b)]

    assert heard[0] == heard[1]
    assert [offset for offset, _ in heard[0]] == list(range(1, len(heard[0]) + 1))


async def test_command_retried_on_another_node_is_done_once(pair: Pair) -> None:
    first = await send(pair.on_a, "say hello", "same")
    second = await send(pair.on_b, "say hello", "same")

    snapshot = (await pair.on_b.call("subscribe", stream=STREAM))["snapshot"]

    assert second["message"] == first["message"]
    assert second["position"] == first["position"]
    assert sum(m["role"] == "user" for m in snapshot["messages"]) == 1


async def test_runs_of_one_conversation_never_overlap(pair: Pair) -> None:
    runs = await asyncio.gather(
        *(send(pair.on_a, f"say a {n}", f"a{n}") for n in range(3)),
        *(send(pair.on_b, f"say b {n}", f"b{n}") for n in range(3)),
    )
    for run in runs:
        await pair.on_a.until(ended(run["run_id"]), 30)

    marks = [
        event.type for event in as_events(pair.on_a) if event.type in ("run:started", "run:ended")
    ]

    assert marks == ["run:started", "run:ended"] * 6


async def test_stop_reaches_the_run_on_the_other_node(pair: Pair) -> None:
    run = await send(pair.on_a, "endless", "c1")
    await pair.on_b.until(lambda e, p: e == "events" and p["data"]["type"] == "message:delta")

    stopped = await pair.on_b.call("run:stop", thread_id=THREAD, command_id="s")

    over = await pair.on_b.until(ended(run["run_id"]))
    assert stopped["accepted"]
    assert over["data"]["data"]["outcome"] == "stopped"


async def test_ask_of_one_node_is_answered_on_the_other(pair: Pair) -> None:
    run = await send(pair.on_a, "ask", "c1")
    ask = (await pair.on_b.until(is_ask))["data"]["data"]

    answers = await asyncio.gather(
        pair.on_a.call("ask:answer", ask_id=ask["ask_id"], answer="red", command_id="x"),
        pair.on_b.call("ask:answer", ask_id=ask["ask_id"], answer="blue", command_id="y"),
    )

    await pair.on_a.until(ended(run["run_id"]))
    assert sorted(answer["accepted"] for answer in answers) == [False, True]
    said = [m["content"] for m in pair.on_a.events("message") if m["role"] == "assistant"]
    assert said[-1] in ("you said red", "you said blue")


async def test_revoked_token_closes_connections_on_every_node(pair: Pair) -> None:
    record = await pair.a.node.users.user_by_login("alice")
    assert record is not None

    await pair.a.node.accounts.revoke_user(record.id)

    for client in (pair.on_a, pair.on_b):
        told = await client.until(lambda event, payload: event == "reconnect")
        assert told["reason"] == "token_revoked"


async def test_values_of_a_session_follow_it_to_another_node(pair: Pair) -> None:
    chat = pair.a.node.chats.known("session-a")[0]
    chat.values["name"] = "Ada"
    chat.dirty.add("name")
    await pair.a.node.chats.save(chat)
    async with Client.open(pair.b, "alice", session_id="session-a") as moved:
        await moved.call("subscribe", stream=STREAM)

        values = pair.b.node.chats.known("session-a")[0].values

    assert values == {"name": "Ada"}


async def test_list_of_conversations_follows_on_the_other_node(pair: Pair) -> None:
    record = await pair.a.node.users.user_by_login("alice")
    assert record is not None
    await pair.on_b.call("subscribe", stream=f"user:{record.id}")

    await send(pair.on_a, "say hello", "c1")

    told = await pair.on_b.until(
        lambda e, p: e == "events" and p["data"]["type"] == "thread:updated"
    )
    assert told["data"]["data"]["thread"]["title"] == "say hello"
