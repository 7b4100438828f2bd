"""Redis moves while people talk on three nodes: a fail-over, a migration of slots.

Nothing that was acknowledged is lost, everybody hears it once, and routing reaches everybody again.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from parlour.client import Client as Follower
from parlour.client import Following, Snapshot, connect
from parlour.testing.servers import PostgresServer, ServerMissing
from tests.conftest import missing
from tests.integration.three_nodes import (
    LIMIT_S,
    Person,
    Stores,
    Trio,
    on_cluster,
    on_sentinel,
    running_trio,
)

SAID_BEFORE = 20
SAID_AFTER = 20


@pytest.fixture(params=[on_sentinel, on_cluster], ids=["sentinel", "cluster"])
async def trio(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_server: PostgresServer
) -> AsyncIterator[Trio]:
    opened: Callable[[], AbstractContextManager[Stores]] = request.param
    try:
        with opened() as stores:
            async with running_trio(tmp_path / "trio", stores, postgres_server) as running:
                yield running
    except ServerMissing as error:
        missing(error)


@dataclass
class Talker:
    """Somebody who speaks in a channel and follows it, on one node."""

    person: Person
    client: Follower
    said: dict[str, str] = field(default_factory=dict)
    """Acknowledged: message id by text."""
    heard: Counter[str] = field(default_factory=Counter)
    """How often each message came as an event."""
    known: set[str] = field(default_factory=set)
    """Messages that came as an event or in a snapshot."""
    snapshots: int = 0
    oldest: str | None = None
    """Of the newest snapshot, which holds one page; a client reads what is older when it is asked to."""
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def talk(self, channel: str, over: asyncio.Event) -> None:
        while not over.is_set():
            text = f"{self.person.id} {len(self.said)}"
            sent = await self.client.command(
                "message:send", {"channel_id": channel, "content": text}, seconds=LIMIT_S
            )
            self.said[text] = sent["message"]["id"]
            await asyncio.sleep(0.01)

    async def listen(self, stream: Following) -> None:
        async for item in stream:
            if isinstance(item, Snapshot):
                self.snapshots += 1
                page = [message["id"] for message in item.state["messages"]]
                self.known |= set(page)
                self.oldest = page[0] if page else None
            elif item.type == "message":
                self.heard[item.data["id"]] += 1
                self.known.add(item.data["id"])
            self.news.set()

    async def knows(self, messages: set[str]) -> None:
        """Wait until everything of this is known."""
        async with asyncio.timeout(LIMIT_S):
            while not messages <= self.known:
                self.news.clear()
                await self.news.wait()


async def converse(trio: Trio, node: str, over: asyncio.Event) -> None:
    """Send one message after the other, each in a conversation of its own; all are answered."""
    while not over.is_set():
        await trio.order(node, "in_use")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.02)


async def stored(trio: Trio, person: Person, channel: str) -> list[str]:
    """What the channel holds, page by page."""
    found: list[str] = []
    params: dict[str, Any] = {"limit": 50}
    while True:
        page = await trio.read(person, "b", f"/api/channels/{channel}/messages", **params)
        found = [*(message["id"] for message in page["items"]), *found]
        if page["next_cursor"] is None:
            return found
        params["before"] = page["next_cursor"]


async def test_what_is_acknowledged_while_redis_moves_is_heard_once_by_everybody(
    trio: Trio,
) -> None:
    async with AsyncExitStack() as stack:
        people = [await trio.person() for _ in "abc"]
        talkers = [
            Talker(
                person, await stack.enter_async_context(connect(trio.url(node), token=person.token))
            )
            for node, person in zip("abc", people, strict=True)
        ]
        page = await trio.listen(stack, "c", people[2])
        made = await talkers[0].client.command(
            "channel:create",
            {"kind": "group", "name": "Moving", "user_ids": [one.id for one in people[1:]]},
        )
        channel = made["channel"]["id"]
        room = f"channel:{channel}"
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            listening = []
            for talker in talkers:
                following = await stack.enter_async_context(talker.client.follow(room))
                listening.append(group.create_task(talker.listen(following)))
            talking = [group.create_task(talker.talk(channel, over)) for talker in talkers]
            if trio.stores.keeps:
                talking += [group.create_task(converse(trio, node, over)) for node in "abc"]
            await until(lambda: all(len(one.said) >= SAID_BEFORE for one in talkers))

            assert trio.stores.disturb is not None
            began = time.monotonic()
            await trio.stores.disturb(room)
            before = [len(talker.said) for talker in talkers]
            await until(
                lambda: all(
                    len(talker.said) >= said + SAID_AFTER
                    for talker, said in zip(talkers, before, strict=True)
                )
            )
            lasted = time.monotonic() - began
            over.set()
            await asyncio.wait(talking)

            acknowledged = [one for talker in talkers for one in talker.said.values()]
            held = await stored(trio, people[0], channel)
            for talker in talkers:
                if talker.oldest in held:
                    talker.known |= set(held[: held.index(talker.oldest)])
                await talker.knows(set(acknowledged))
            for task in listening:
                task.cancel()

        # And everything that one node asks of the others works again.
        for person, connections in zip(people, (1, 1, 2), strict=True):
            await trio.known(person, connections)
        reached = [
            await trio.order(
                node,
                "emit_to_users",
                event="note",
                data=node,
                user_ids=[person.id for person in people],
            )
            for node in "abc"
        ]
        await page.until(lambda event, payload: (event, payload) == ("note", "c"))

    assert sorted(held) == sorted(acknowledged)
    assert len(set(acknowledged)) == len(acknowledged)
    for talker in talkers:
        assert max(talker.heard.values()) == 1
    assert reached == [{"connections": 4, "failures": {}}] * 3
    assert [payload for event, payload in page.heard if event == "note"] == ["a", "b", "c"]
    print(
        f"{len(acknowledged)} messages; Redis moved for {lasted:.1f} s;"
        f" snapshots {[talker.snapshots for talker in talkers]}"
    )
