"""The message window: nothing is lost between cache and database. Each test is a defect seen elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.client import Monitor

from parlour.config import Settings
from parlour.errors import InvalidPayload
from parlour.server.message_window import MessageWindow, open_message_window
from parlour.testing.clock import ManualClock
from parlour.testing.servers import RedisServer

SESSION = "team-7"


@pytest.fixture(params=["memory", "redis"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Written behind, over a hot window in memory and in Redis, to a SQLite file."""
    more: dict[str, Any] = {}
    if request.param == "redis":
        more["redis_url"] = request.getfixturevalue("redis_server").url
        more["redis_key_prefix"] = tmp_path.name
    return Settings(data_folder=tmp_path, durability="hot", **more)


def opened(settings: Settings, **more: Any) -> AbstractAsyncContextManager[MessageWindow]:
    return open_message_window(settings.model_copy(update=more))


@pytest.fixture
async def window(settings: Settings) -> AsyncIterator[MessageWindow]:
    async with opened(settings) as window:
        yield window


def text(number: int, user: str = "u") -> dict[str, Any]:
    return {"role": "user", "content": f"{user} {number}", "userId": user}


async def contents(window: MessageWindow) -> list[str]:
    return [message["content"] for message in await window.get_messages(SESSION)]


async def test_twenty_concurrent_appends_keep_twenty_messages(window: MessageWindow) -> None:
    await asyncio.gather(*(window.add_message(SESSION, text(n)) for n in range(20)))

    assert sorted(await contents(window)) == sorted(f"u {n}" for n in range(20))


async def test_two_people_sending_at_once_for_fifty_rounds_keep_a_hundred(
    window: MessageWindow,
) -> None:
    for n in range(50):
        await asyncio.gather(
            window.add_message(SESSION, text(n, "a")), window.add_message(SESSION, text(n, "b"))
        )

    kept = await contents(window)

    assert len(kept) == len(set(kept)) == 100


async def test_window_holds_the_newest_thousand_and_the_database_everything(
    settings: Settings,
) -> None:
    async with opened(settings) as window:
        for start in range(0, 1100, 100):
            await window.add_messages(SESSION, [text(n) for n in range(start, start + 100)])
        await window.sync()

        kept = await contents(window)
        stored = await window._archive.messages(f"thread:{SESSION}", before=None, limit=2000)

    assert kept == [f"u {n}" for n in range(100, 1100)]
    assert [message["content"] for message in reversed(stored)] == [f"u {n}" for n in range(1100)]


async def test_what_left_the_cache_is_read_from_the_database(settings: Settings) -> None:
    async with opened(settings) as window:
        await window.add_messages(SESSION, [text(n) for n in range(10)])
    async with opened(settings, redis_key_prefix="emptied") as window:
        kept = await contents(window)

    assert kept == [f"u {n}" for n in range(10)]


async def test_nothing_unsynchronised_expires(settings: Settings) -> None:
    """The activity limit ran out before the synchroniser ran: 30 of 30 messages were lost."""
    late = {"session_expiry_seconds": 1, "session_sync_interval_seconds": 3600.0}
    clock = ManualClock()
    async with open_message_window(settings.model_copy(update=late), clock=clock) as window:
        await window.add_messages(SESSION, [text(n) for n in range(30)])
        clock.advance(3600_000)
        assert window._synchroniser is not None
        await window._synchroniser.let_go()

        assert len(await contents(window)) == 30


async def test_rested_session_leaves_the_cache_and_is_whole_afterwards(tmp_path: Path) -> None:
    clock = ManualClock()
    settings = Settings(data_folder=tmp_path, durability="hot", session_expiry_seconds=60)
    async with open_message_window(settings, clock=clock) as window:
        await window.add_messages(SESSION, [text(n) for n in range(5)])
        await window.sync()
        before = await window._hot.head(f"thread:{SESSION}")
        clock.advance(61_000)
        assert window._synchroniser is not None

        let_go = await window._synchroniser.let_go()

        assert let_go == 1
        assert await contents(window) == [f"u {n}" for n in range(5)]
        assert await window._hot.head(f"thread:{SESSION}") == before


async def test_activity_renews_the_expiry(tmp_path: Path) -> None:
    clock = ManualClock()
    settings = Settings(data_folder=tmp_path, durability="hot", session_expiry_seconds=60)
    async with open_message_window(settings, clock=clock) as window:
        await window.add_message(SESSION, text(1))
        await window.sync()
        clock.advance(50_000)
        await window.update_expiry(SESSION)
        clock.advance(50_000)
        assert window._synchroniser is not None

        assert await window._synchroniser.let_go() == 0


async def test_deleted_message_stays_deleted(settings: Settings) -> None:
    """A deleted message came back from the other store."""
    async with opened(settings) as window:
        kept, gone = await window.add_messages(SESSION, [text(1), text(2)])
        await window.sync()
        await window.delete_message(SESSION, gone["id"])
        in_cache = await contents(window)
    async with opened(settings, redis_key_prefix="emptied-too") as window:
        in_database = await contents(window)

    assert in_cache == in_database == [kept["content"]]


async def test_same_id_is_added_once(window: MessageWindow) -> None:
    first = await window.add_message(SESSION, {**text(1), "id": "m-1"})

    again = await window.add_message(SESSION, {**text(1), "id": "m-1"})

    assert again == first
    assert await contents(window) == ["u 1"]


async def test_message_without_a_text_is_refused(window: MessageWindow) -> None:
    with pytest.raises(InvalidPayload):
        await window.add_message(SESSION, {"role": "user", "content": None})


async def test_append_at_a_full_window_is_one_round_trip(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """One append at 1,100 messages cost 1,110 commands."""
    settings = Settings(
        data_folder=tmp_path,
        redis_url=redis_server.url,
        redis_key_prefix=tmp_path.name,
        max_messages_per_session=50,
    )
    async with open_message_window(settings) as window:
        await window.add_messages(SESSION, [text(n) for n in range(60)])
        await window.sync()
        async with Redis.from_url(redis_server.url) as admin, admin.monitor() as monitor:
            await window.add_message(SESSION, text(60))
            async with Redis.from_url(redis_server.url) as marker:
                await marker.echo("end")
            sent = await commands_until_echo(monitor)

        assert sent == ["EVALSHA"]
        assert len(await contents(window)) == 50


async def commands_until_echo(monitor: Monitor) -> list[str]:
    """The commands that clients sent, without those that scripts called and the connection set-up."""
    sent: list[str] = []
    while True:
        heard = await monitor.next_command()
        command = heard["command"].split()[0].upper()
        if command == "ECHO":
            return sent
        if heard["client_type"] != "lua" and command not in ("CLIENT", "HELLO"):
            sent.append(command)
