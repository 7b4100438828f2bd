"""Talking over REST: answers as JSON and as events, retries, questions, history, conversations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.apps import ScriptedApp
from tests.rest import code_of, rest, sent_events
from tests.serving import Client, Served, serve

THREAD = "thread-over-http"
PATH = f"/api/threads/{THREAD}/messages"
STREAM_HEADERS = {"accept": "text/event-stream"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Served]:
    async with serve(ScriptedApp(), tmp_path) as served:
        yield served


@pytest.fixture
async def ann(server: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with rest(server, "Ann") as client:
        yield client


async def say(client: httpx.AsyncClient, content: str, **more: Any) -> httpx.Response:
    return await client.post(PATH, json={"content": content, **more})


async def test_the_answer_comes_when_the_run_has_ended(ann: httpx.AsyncClient) -> None:
    answer = await say(ann, "say one two three")

    body = answer.json()
    assert answer.status_code == 200
    assert body["message"]["content"] == "say one two three"
    assert [message["content"] for message in body["messages"]] == ["one two three"]
    assert body["run"]["outcome"] == "completed"
    assert body["messages"][0]["run_id"] == body["run"]["id"]


async def test_the_same_command_again_gives_the_same_answer_and_sends_nothing(
    ann: httpx.AsyncClient,
) -> None:
    first = (await say(ann, "say hello", command_id="c1")).json()

    second = (await say(ann, "say hello", command_id="c1")).json()

    assert second["message"]["id"] == first["message"]["id"]
    assert second["messages"] == first["messages"]
    assert second["run"] == first["run"]
    history = (await ann.get(PATH)).json()["items"]
    assert [message["content"] for message in history] == ["say hello", "hello"]


async def test_tokens_come_as_events_and_the_end_repeats_the_whole(
    ann: httpx.AsyncClient,
) -> None:
    request = {"content": "say one two three"}

    async with ann.stream("POST", PATH, json=request, headers=STREAM_HEADERS) as response:
        events = [event async for event in sent_events(response)]

    assert response.headers["content-type"].startswith("text/event-stream")
    assert events[0].name == "message-sent"
    assert events[0].data["message"]["content"] == "say one two three"
    kinds = [event.data["data"]["type"] for event in events if not event.name]
    assert kinds[0] == "run:started"
    assert "message:delta" in kinds
    deltas = [e.data["data"]["data"] for e in events if not e.name]
    assert "".join(d.get("text", "") for d in deltas) == "one two three"
    assert events[-1].name == "end"
    assert [m["content"] for m in events[-1].data["messages"]] == ["one two three"]


async def test_a_failed_handler_is_told_with_a_reference_and_without_its_trace(
    ann: httpx.AsyncClient,
) -> None:
    answer = await say(ann, "fail")

    run = answer.json()["run"]
    assert run["outcome"] == "failed"
    assert run["error"]["reference"]
    assert "secret of the trace" not in answer.text


async def test_a_question_ends_the_wait_and_its_answer_goes_on(ann: httpx.AsyncClient) -> None:
    asked = (await say(ann, "ask")).json()
    assert asked["run"]["outcome"] == "waiting"
    assert asked["asks"][0]["content"] == "which colour?"

    answered = (await say(ann, "green")).json()

    assert answered["run"]["outcome"] == "completed"
    assert [m["content"] for m in answered["messages"] if m["role"] == "assistant"][-1] == (
        "you said green"
    )


async def test_a_question_can_be_answered_by_its_command(ann: httpx.AsyncClient) -> None:
    asked = (await say(ann, "ask")).json()
    body = {"ask_id": asked["asks"][0]["ask_id"], "answer": "blue"}

    answer = await ann.post("/api/commands/ask:answer", json=body)

    assert answer.json()["accepted"]


async def test_stop_ends_a_run_and_keeps_what_was_said(ann: httpx.AsyncClient) -> None:
    async with ann.stream(
        "POST", PATH, json={"content": "endless"}, headers=STREAM_HEADERS
    ) as response:
        events = sent_events(response)
        async for event in events:
            if not event.name and event.data["data"]["type"] == "message:delta":
                break
        stopped = await ann.post(f"/api/threads/{THREAD}/stop")
        rest_of = [event async for event in events]

    assert stopped.json()["accepted"]
    assert rest_of[-1].data["run"]["outcome"] == "stopped"
    assert rest_of[-1].data["messages"][0]["content"].startswith("tick ")


@pytest.mark.parametrize(
    ("thread", "body", "expected"),
    [
        (THREAD, {"content": ""}, (422, "invalid_payload")),
        (THREAD, {"content": 5}, (422, "invalid_payload")),
        (THREAD, {}, (422, "invalid_payload")),
        (THREAD, {"content": "x", "files": ["nothing"]}, (404, "not_found")),
        ("short", {"content": "x"}, (422, "invalid_payload")),
        (THREAD, {"content": "x" * 300_000}, (413, "too_large")),
        (THREAD, {"content": "x" * 2_000_000}, (413, "too_large")),
    ],
)
async def test_what_does_not_fit_is_refused_and_nothing_is_kept(
    ann: httpx.AsyncClient, thread: str, body: dict[str, Any], expected: tuple[int, str]
) -> None:
    answer = await ann.post(f"/api/threads/{thread}/messages", json=body)

    assert code_of(answer) == expected
    assert (await ann.get("/api/threads")).json()["items"] == []


async def test_a_body_without_a_length_is_limited_too(ann: httpx.AsyncClient) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b" " * 10_000

    answer = await ann.post(PATH, content=body())

    assert code_of(answer) == (413, "too_large")


async def test_the_environment_that_the_app_needs_is_asked_for(tmp_path: Path) -> None:
    async with (
        serve(ScriptedApp(), tmp_path, user_env=("API_KEY",)) as server,
        rest(server, "Ann") as ann,
    ):
        without = await say(ann, "say hi")
        given = await say(ann, "say hi", user_env={"API_KEY": "k"})

    assert code_of(without) == (422, "invalid_payload")
    assert without.json()["names"] == ["API_KEY"]
    assert given.json()["run"]["outcome"] == "completed"


async def test_an_open_answer_ends_when_the_token_is_revoked(server: Served) -> None:
    async with rest(server, "Ann") as ann:
        me = (await ann.get("/api/auth/me")).json()
        async with ann.stream(
            "POST", PATH, json={"content": "endless"}, headers=STREAM_HEADERS
        ) as response:
            events = sent_events(response)
            await anext(events)
            await server.node.accounts.revoke_user(me["id"])
            async with asyncio.timeout(10):
                last = [event async for event in events][-1]

    assert last.name == "error"
    assert last.data["code"] == "unauthenticated"


# -- several people, several ways ------------------------------------------------------------------


async def test_a_stranger_learns_nothing_of_a_conversation(
    server: Served, ann: httpx.AsyncClient
) -> None:
    await say(ann, "say secret")

    async with rest(server, "Eve") as eve:
        answers = [
            await eve.get(PATH),
            await eve.get(f"/api/threads/{THREAD}"),
            await eve.patch(f"/api/threads/{THREAD}", json={"title": "mine"}),
            await eve.delete(f"/api/threads/{THREAD}"),
            await eve.post(f"/api/threads/{THREAD}/stop"),
        ]
        posted = await say(eve, "hello")
        listed = await eve.get("/api/threads")

    assert [code_of(answer) for answer in answers] == [(404, "not_found")] * 5
    assert code_of(posted) == (403, "forbidden")
    assert listed.json()["items"] == []
    assert "secret" not in "".join(answer.text for answer in answers)


async def test_what_is_said_over_http_reaches_a_socket(
    server: Served, ann: httpx.AsyncClient
) -> None:
    async with Client.open(server, "Ann") as socket:
        await socket.call("subscribe", stream=f"thread:{THREAD}")

        await say(ann, "say hello")

        heard = await socket.until(
            lambda event, p: event == "events" and p["data"]["type"] == "message:done"
        )

    assert heard["stream"] == f"thread:{THREAD}"


# -- conversations and history ---------------------------------------------------------------------


async def test_conversations_are_listed_searched_renamed_and_deleted(
    ann: httpx.AsyncClient,
) -> None:
    for number in range(3):
        await ann.post(
            f"/api/threads/conversation-{number}/messages", json={"content": f"say animal {number}"}
        )

    first = (await ann.get("/api/threads", params={"limit": 2})).json()
    second = (await ann.get("/api/threads", params={"cursor": first["next_cursor"]})).json()
    renamed = await ann.patch("/api/threads/conversation-1", json={"title": "Zebras"})
    found = (await ann.get("/api/threads", params={"search": "zebra"})).json()
    deleted = await ann.delete("/api/threads/conversation-1")
    gone = await ann.get("/api/threads/conversation-1")
    reused = await ann.post("/api/threads/conversation-1/messages", json={"content": "say x"})

    ids = [row["id"] for row in first["items"] + second["items"]]
    assert ids == ["conversation-2", "conversation-1", "conversation-0"]
    assert second["next_cursor"] is None
    assert renamed.json()["title"] == "Zebras"
    assert [row["id"] for row in found["items"]] == ["conversation-1"]
    assert deleted.status_code == 204
    assert code_of(gone) == (404, "not_found")
    assert reused.status_code in (403, 404, 409)


async def test_history_pages_backwards_from_the_window_into_the_database(tmp_path: Path) -> None:
    # The window holds 4 messages; the conversation has 12.
    async with (
        serve(ScriptedApp(), tmp_path, max_messages_per_session=4) as server,
        rest(server, "Ann") as ann,
    ):
        for number in range(6):
            await say(ann, f"say {number}")
        pages: list[list[str]] = []
        cursor: str | None = None
        while True:
            query = {"limit": "5"} | ({"before": cursor} if cursor else {})
            page = (await ann.get(PATH, params=query)).json()
            pages.append([message["content"] for message in page["items"]])
            cursor = page["next_cursor"]
            if cursor is None:
                break

    expected = [text for number in range(6) for text in (f"say {number}", str(number))]
    assert [len(page) for page in pages] == [5, 5, 2]
    assert [text for page in reversed(pages) for text in page] == expected


async def test_a_cursor_that_is_not_ours_is_refused(ann: httpx.AsyncClient) -> None:
    await say(ann, "say x")

    answers = [
        await ann.get(PATH, params={"before": "yesterday"}),
        await ann.get("/api/threads", params={"cursor": "!!"}),
    ]

    assert [code_of(answer) for answer in answers] == [(422, "invalid_payload")] * 2


async def test_commands_over_http_are_those_of_the_socket(ann: httpx.AsyncClient) -> None:
    sent = await ann.post(
        "/api/commands/message:send",
        json={"thread_id": THREAD, "content": "say hi", "command_id": "c1"},
    )
    unknown = await ann.post("/api/commands/nothing:here", json={})
    empty = await ann.post("/api/commands/message:send")

    assert sent.json()["message"]["content"] == "say hi"
    assert code_of(unknown) == (404, "unknown_event")
    assert code_of(empty) == (422, "invalid_payload")


async def test_too_many_commands_of_one_user_are_refused(tmp_path: Path) -> None:
    async with (
        serve(ScriptedApp(), tmp_path, requests_per_second=0.001, request_burst=2) as server,
        rest(server, "Ann") as ann,
        rest(server, "Bea") as bea,
    ):
        answers = [await ann.post(f"/api/threads/{THREAD}/stop") for _ in range(3)]
        other = await bea.post("/api/threads/thread-of-bea/stop")
        reading = await ann.get("/api/threads")

    assert code_of(answers[2]) == (429, "rate_limited")
    assert other.status_code == 404
    assert reading.status_code == 200


async def test_the_app_tells_what_it_offers(ann: httpx.AsyncClient) -> None:
    answer = (await ann.get("/api/app", params={"thread_id": THREAD})).json()

    assert answer["name"] == "Scripted"
    assert answer["limits"] == {"max_message_bytes": 256_000, "max_file_bytes": 100_000_000}
    assert answer["profiles"] == answer["starters"] == answer["settings"] == []
