"""A node killed between the commit of a message and its announcement: the message appears, once."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from parlour.core.streams import Position
from parlour.testing.servers import PostgresServer, RedisServer, running_redis
from tests.apps import ScriptedApp
from tests.integration.test_channels import happened, heard, say, user_id
from tests.serving import Client, Served, serve

ROOT = Path(__file__).parents[2]


async def die(folder: Path, channel: str, **shared: Any) -> None:
    """Let another process say something as Ann and kill itself after the commit."""
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    settings = {"data_folder": str(folder), "port": 0, **shared}
    order = json.dumps({"settings": settings, "channel": channel, "name": "ann"})
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.dying_node", order, cwd=ROOT
    )
    assert await asyncio.wait_for(process.wait(), 60) == -signal.SIGKILL


async def make_channel(server: Served) -> str:
    async with Client.open(server, "ann") as ann, Client.open(server, "bob"):
        made = await ann.call(
            "channel:create",
            kind="group",
            name="Plans",
            user_ids=[await user_id(server, "bob")],
            command_id="make",
        )
    return str(made["channel"]["id"])


async def repeat(server: Served, channel: str) -> Any:
    """Ann's client got no answer: it sends the same command again, and then something else."""
    async with Client.open(server, "ann") as ann:
        again = await say(ann, channel, "last words", command_id="dying")
        await say(ann, channel, "next")
    return again


async def test_after_a_restart_it_is_announced(tmp_path: Path) -> None:
    async with serve(ScriptedApp(), tmp_path) as server:
        channel = await make_channel(server)
        position = await server.node.log.head(f"channel:{channel}")
    await die(tmp_path, channel)

    async with serve(ScriptedApp(), tmp_path) as server, Client.open(server, "bob") as bob:
        answer = await subscribe(bob, channel, position)
        again = await repeat(server, channel)
        await bob.until(
            lambda e, p: happened("message")(e, p) and p["data"]["data"]["content"] == "next"
        )

    answered = bob.heard.index(("subscribed", answer))
    behind = [p for e, p in bob.heard[answered:] if e == "events:channel"]
    read = [*answer["events"], *behind]
    assert [one["data"]["data"]["content"] for one in read] == ["last words", "next"]
    assert [one["offset"] for one in read] == [position.offset + 1, position.offset + 2]
    assert again["position"]["offset"] == position.offset + 1


async def subscribe(client: Client, channel: str, position: Position) -> Any:
    """Catch up; the answer is kept among what was heard, in the order in which it came."""
    asked = {"stream": f"channel:{channel}", "position": position.to_wire()}

    def answered(answer: Any) -> None:
        client.hear("subscribed", answer)

    await client.socket.emit("subscribe", asked, callback=answered)
    return await client.until(lambda e, p: e == "subscribed")


@pytest.mark.parametrize("retried", [False, True])
async def test_another_node_announces_it(
    tmp_path: Path, redis_server: RedisServer, postgres_server: PostgresServer, retried: bool
) -> None:
    shared: dict[str, Any] = {
        "redis_url": redis_server.url,
        "redis_key_prefix": tmp_path.name,
        "database_url": await postgres_server.create_database("crash"),
        "database_pool_size": 5,
    }
    async with serve(ScriptedApp(), tmp_path / "b", **shared) as server:
        channel = await make_channel(server)
        async with Client.open(server, "bob") as bob:
            await bob.call("join-channels")
            await die(tmp_path / "a", channel, **shared)
            if retried:
                await repeat(server, channel)

            got = await bob.until(happened("message"))
            async with Client.open(server, "ann") as ann:
                await say(ann, channel, "afterwards")
            await bob.until(
                lambda e, p: (
                    happened("message")(e, p) and p["data"]["data"]["content"] == "afterwards"
                )
            )

    said = [message["content"] for message in heard(bob, "message")]
    assert got["data"]["data"]["content"] == "last words"
    assert said == ["last words", *(["next"] if retried else []), "afterwards"]


async def test_what_is_said_while_redis_is_away_is_heard_once_it_is_back(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    with running_redis("--appendonly", "yes", "--appendfsync", "always") as redis:
        shared: dict[str, Any] = {
            "redis_url": redis.url,
            "redis_timeout_seconds": 1.0,
            "database_url": await postgres_server.create_database("away"),
            "database_pool_size": 5,
        }
        async with serve(ScriptedApp(), tmp_path, **shared) as server:
            channel = await make_channel(server)
            async with Client.open(server, "ann") as ann, Client.open(server, "bob") as bob:
                await bob.call("join-channels")
                command = {"channel_id": channel, "content": "anyone?", "command_id": "away"}
                await asyncio.to_thread(redis.stop)
                refused = await ann.call("message:send", **command)
                await asyncio.to_thread(redis.start)

                async with asyncio.timeout(30):
                    while not (again := await ann.call("message:send", **command))["ok"]:
                        assert again["error"]["retryable"]
                # The restarted Redis may have lost events: readers are told to take a snapshot.
                await bob.until(lambda e, p: e == "access:updated", 30)
                answer = await bob.call("subscribe", stream=f"channel:{channel}")
                await say(ann, channel, "next")
                await bob.until(
                    lambda e, p: "next" in [m["content"] for m in heard(bob, "message")]
                )

    live = [message["content"] for message in heard(bob, "message")]
    assert refused["error"]["code"] == "unavailable"
    assert [message["content"] for message in answer["snapshot"]["messages"]] == ["anyone?"]
    assert live in (["next"], ["anyone?", "next"])
