"""The author's API for callers without a socket, and the demo as `parlour demo` serves it."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

import parlour as cl
from parlour.chat.application import ChatApp
from parlour.chat.registry import Registry, registering
from tests.integration.test_author_api import example, person
from tests.serving import Served, serve


@asynccontextmanager
async def caller(served: Served, name: str) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who talks over REST."""
    headers = {"authorization": f"Bearer {await served.user(name)}"}
    async with httpx.AsyncClient(base_url=served.url, headers=headers, timeout=20) as http:
        yield http


async def test_a_question_over_rest_waits_for_its_answer(tmp_path: Path) -> None:
    path = "/api/threads/thread-over-rest/messages"
    async with example("names.py", tmp_path) as served, caller(served, "alice") as http:
        asked = (await http.post(path, json={"content": "hi there"})).json()
        if asked["asks"]:
            answer = {
                "ask_id": asked["asks"][0]["ask_id"],
                "answer": "Alice",
                "command_id": "answer-1",
            }
            (await http.post("/api/commands/ask:answer", json=answer)).raise_for_status()
        answered = (await http.post(path, json={"content": "hello"})).json()

    assert [message["content"] for message in answered["messages"]][-1].endswith("said: hello")


async def test_an_http_session_is_one_of_its_own_kind(tmp_path: Path) -> None:
    with registering(Registry()) as registry:

        @cl.on_message
        async def reply() -> None:
            session = cl.context.session
            kind = type(session).__name__
            await cl.Message(f"{kind} {session.client_type} {session.user_env.get('KEY')}").send()

    async with serve(ChatApp(registry), tmp_path) as served:
        async with caller(served, "alice") as http:
            answer = await http.post(
                "/api/threads/thread-of-rest/messages",
                json={"content": "who", "user_env": {"KEY": "k"}},
            )
        async with person(served, "alice") as alice:
            await alice.ended(await alice.say("who"))

    assert answer.json()["messages"][0]["content"] == "HTTPSession http k"
    assert alice.answers() == ["WebsocketSession webapp None"]


async def test_the_demo_streams_tokens_one_after_the_other(tmp_path: Path) -> None:
    app = cl.load_app("parlour.demo.app")
    async with (
        serve(app, tmp_path, demo_tokens_per_second=200) as served,
        person(served, "alice") as alice,
    ):
        began = time.monotonic()
        await alice.ended(await alice.say("long 60"))
        took = time.monotonic() - began

    deltas = alice.client.events("message:delta")
    assert len(deltas) > 20
    assert took > 60 / 200 * 0.8
    assert len("".join(delta["text"] for delta in deltas).split()) == 60


async def test_the_demo_answers_over_server_sent_events(tmp_path: Path) -> None:
    app = cl.load_app("parlour.demo.app")
    async with (
        serve(app, tmp_path, demo_tokens_per_second=0) as served,
        caller(served, "alice") as http,
        http.stream(
            "POST",
            "/api/threads/thread-of-sse/messages",
            json={"content": "count to 30"},
            headers={"accept": "text/event-stream"},
        ) as response,
    ):
        lines = [line async for line in response.aiter_lines()]

    events: list[dict[str, Any]] = [
        json.loads(line.removeprefix("data:")) for line in lines if line.startswith("data:")
    ]
    text = "".join(
        event["data"]["data"]["text"]
        for event in events
        if event.get("data", {}).get("type") == "message:delta"
    )
    assert text.split() == [str(number) for number in range(1, 31)]


async def test_the_apps_own_password_check_signs_people_in(tmp_path: Path) -> None:
    with registering(Registry()) as registry:

        @cl.password_auth_callback
        async def check(login: str, password: str) -> cl.User | None:
            if password != "open sesame":
                return None
            return cl.User(identifier=login, display_name="Alice", metadata={"role": "admin"})

        @cl.header_auth_callback
        async def trust(headers: Any) -> cl.User | None:
            name = headers.get("X-Remote-User")
            return cl.User(identifier=name) if name else None

        @cl.on_message
        async def reply() -> None:
            user = cl.context.session.user
            assert user is not None
            await cl.Message(f"{user.identifier} {user.name} {user.role} {user.metadata}").send()

    async with (
        serve(ChatApp(registry), tmp_path) as served,
        httpx.AsyncClient(base_url=served.url, timeout=20) as http,
    ):
        form = {"login": "alice@example.com", "password": "wrong"}
        refused = await http.post("/api/auth/sign-in", json=form)
        signed = await http.post("/api/auth/sign-in", json={**form, "password": "open sesame"})
        http.cookies.clear()
        answer = await http.post(
            "/api/threads/thread-of-alice/messages",
            json={"content": "who"},
            headers={"authorization": f"Bearer {signed.json()['token']}"},
        )

    assert refused.status_code == 401
    assert signed.json()["user"]["name"] == "Alice"
    [message] = answer.json()["messages"]
    assert message["content"] == "alice@example.com Alice user {'role': 'admin'}"
