"""Streams without a socket: pages, long polls, server-sent events, resumed by position."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.apps import ScriptedApp
from tests.rest import SentEvent, code_of, rest, sent_events
from tests.serving import Served, serve

THREAD = "thread-of-streams"
STREAM = f"/api/streams/thread:{THREAD}"
EVENTS = {"accept": "text/event-stream"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Served]:
    async with serve(ScriptedApp(), tmp_path) as served:
        yield served


@pytest.fixture
async def ann(server: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with rest(server, "Ann") as client:
        yield client


async def say(client: httpx.AsyncClient, content: str) -> Any:
    answer = await client.post(f"/api/threads/{THREAD}/messages", json={"content": content})
    return answer.json()


def after(position: dict[str, Any], offset: int | None = None) -> str:
    return f"{position['epoch']}:{position['offset'] if offset is None else offset}"


async def test_without_a_position_there_is_a_snapshot(ann: httpx.AsyncClient) -> None:
    said = await say(ann, "say hello")

    page = (await ann.get(STREAM)).json()

    assert page["status"] == "snapshot"
    assert [m["content"] for m in page["snapshot"]["messages"]] == ["say hello", "hello"]
    assert page["position"]["offset"] >= said["position"]["offset"]


async def test_pages_after_a_position_are_contiguous_up_to_the_head(
    ann: httpx.AsyncClient,
) -> None:
    said = await say(ann, "say one two three four five")
    here = after(said["position"], 1)
    offsets: list[int] = []

    while True:
        page = (await ann.get(STREAM, params={"after": here, "limit": 2})).json()
        assert page["status"] in ("replayed", "live")
        assert len(page["events"]) <= 2
        offsets += [event["offset"] for event in page["events"]]
        here = after(page["position"])
        if page["position"] == page["head"]:
            break

    assert offsets == list(range(offsets[0], page["head"]["offset"] + 1))


@pytest.mark.parametrize("position", ["nope:1", "{epoch}:99999"])
async def test_a_lost_position_gets_a_snapshot(ann: httpx.AsyncClient, position: str) -> None:
    said = await say(ann, "say hello")
    asked = position.format(epoch=said["position"]["epoch"])

    page = (await ann.get(STREAM, params={"after": asked})).json()

    assert page["status"] == "snapshot"
    assert page["position"]["epoch"] == said["position"]["epoch"]


async def test_a_long_poll_answers_when_something_happens(
    server: Served, ann: httpx.AsyncClient
) -> None:
    said = await say(ann, "say hello")
    query = {"after": after((await ann.get(STREAM)).json()["position"]), "wait": "20"}
    polling = asyncio.create_task(ann.get(STREAM, params=query))

    await server.node.push([("status", {"text": "thinking"})], thread_id=THREAD)

    page = (await polling).json()
    assert page["status"] == "replayed"
    assert page["events"][0]["data"] == {"type": "status", "data": {"text": "thinking"}}
    assert page["position"]["offset"] > said["position"]["offset"]


async def test_a_long_poll_ends_with_its_time(ann: httpx.AsyncClient) -> None:
    await say(ann, "say hello")
    here = (await ann.get(STREAM)).json()["position"]

    page = (await ann.get(STREAM, params={"after": after(here), "wait": "0.05"})).json()

    assert page == {"status": "live", "events": [], "position": here, "head": here}


async def test_events_flow_and_resume_with_last_event_id_without_gap_or_repeat(
    ann: httpx.AsyncClient,
) -> None:
    await say(ann, "say before")
    seen: list[SentEvent] = []

    async def read(until: str, **headers: str) -> None:
        async with ann.stream("GET", STREAM, headers={**EVENTS, **headers}) as response:
            async for event in sent_events(response):
                seen.append(event)
                kind = event.data["data"]["type"] if not event.name else event.name
                if kind == until:
                    return

    await read("snapshot")
    talking = asyncio.create_task(say(ann, "say one two three four"))
    await read("run:started", **{"last-event-id": seen[-1].id})
    await talking
    await read("run:ended", **{"last-event-id": seen[-1].id})

    assert seen[0].name == "snapshot"
    offsets = [int(event.id.partition(":")[2]) for event in seen]
    assert offsets == list(range(offsets[0], offsets[-1] + 1))
    text = "".join(e.data["data"]["data"].get("text", "") for e in seen[1:])
    assert text == "one two three four"


async def test_last_event_id_wins_over_the_address(ann: httpx.AsyncClient) -> None:
    # EventSource repeats the address it was made with; the header knows better.
    said = await say(ann, "say hello")
    head = said["position"]
    headers = {**EVENTS, "last-event-id": after(head, head["offset"] - 1)}

    query = {"after": after(head, 1)}
    async with ann.stream("GET", STREAM, params=query, headers=headers) as response:
        first = await anext(sent_events(response))

    assert first.id == after(head)


async def test_an_open_event_stream_ends_within_a_second_of_the_revocation(
    server: Served,
) -> None:
    async with rest(server, "Ann") as ann:
        await say(ann, "say hello")
        user_id = (await ann.get("/api/auth/me")).json()["id"]
        async with ann.stream("GET", STREAM, headers=EVENTS) as response:
            events = sent_events(response)
            await anext(events)
            await server.node.accounts.revoke_user(user_id)
            async with asyncio.timeout(3):
                last = [event async for event in events][-1]

    assert (last.name, last.data["code"]) == ("error", "unauthenticated")


async def test_an_open_event_stream_ends_when_the_server_goes_away(tmp_path: Path) -> None:
    async with serve(ScriptedApp(), tmp_path) as server, rest(server, "Ann") as ann:
        await say(ann, "say hello")
        async with ann.stream("GET", STREAM, headers=EVENTS) as response:
            events = sent_events(response)
            await anext(events)
            await server.node.stop()
            async with asyncio.timeout(5):
                left = [event async for event in events]

    assert left == []


@pytest.mark.parametrize("headers", [{}, EVENTS])
@pytest.mark.parametrize(
    ("name", "query", "expected"),
    [
        ("user:somebody-else", {}, (403, "forbidden")),
        ("channel:unknown", {}, (403, "forbidden")),
        ("nonsense", {}, (403, "forbidden")),
        ("thread:bad%20name", {}, (422, "invalid_payload")),
        (f"thread:{THREAD}", {"after": "yesterday"}, (422, "invalid_payload")),
        (f"thread:{THREAD}", {"wait": "1000"}, (422, "invalid_payload")),
    ],
)
async def test_what_may_not_be_read_is_a_problem_and_not_an_event(
    ann: httpx.AsyncClient,
    name: str,
    query: dict[str, str],
    expected: tuple[int, str],
    headers: dict[str, str],
) -> None:
    answer = await ann.get(f"/api/streams/{name}", params=query, headers=headers)

    assert code_of(answer) == expected


async def test_a_stream_needs_a_token(server: Served) -> None:
    async with rest(server) as anybody:
        answer = await anybody.get(STREAM, headers=EVENTS)

    assert code_of(answer) == (401, "unauthenticated")


async def test_a_stranger_cannot_follow(server: Served, ann: httpx.AsyncClient) -> None:
    await say(ann, "say secret")

    async with rest(server, "Eve") as eve:
        answers = [await eve.get(STREAM), await eve.get(STREAM, headers=EVENTS)]

    assert [code_of(answer) for answer in answers] == [(403, "forbidden")] * 2


async def test_one_user_holds_only_so_many_answers_open(tmp_path: Path) -> None:
    async with (
        serve(ScriptedApp(), tmp_path, connections_per_user=1) as server,
        rest(server, "Ann") as ann,
    ):
        await say(ann, "say hello")
        here = after((await ann.get(STREAM)).json()["position"])
        async with ann.stream("GET", STREAM, headers=EVENTS) as response:
            events = sent_events(response)  # kept: the response is closed with it
            await anext(events)
            refused = [
                await ann.get(STREAM, headers=EVENTS),
                await ann.get(STREAM, params={"after": here, "wait": "5"}),
            ]
            page = await ann.get(STREAM, params={"after": here})
            metrics = (await ann.get("/metrics")).text

    assert [code_of(answer) for answer in refused] == [(429, "rate_limited")] * 2
    assert page.status_code == 200
    assert "parlour_http_open_answers 1.0" in metrics
