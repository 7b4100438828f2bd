"""Every example, over a real server and real Socket.IO clients."""

from __future__ import annotations

import asyncio
import importlib.util
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

import parlour as cl
from tests.model_endpoint import endpoint, piece
from tests.serving import Client, QuietServer, Served, serve

EXAMPLES = Path(__file__).parents[2] / "examples"


class Person:
    """Somebody with the page open on one conversation."""

    def __init__(self, client: Client, thread_id: str) -> None:
        self.client = client
        self.thread_id = thread_id

    async def command(self, event: str, **payload: Any) -> Any:
        answer = await self.client.call(
            event, thread_id=self.thread_id, command_id=uuid.uuid4().hex, **payload
        )
        assert answer["ok"] is True, answer
        return answer

    async def say(self, text: str) -> str | None:
        """Send a message; gives back the id of its run (None where it answers a question)."""
        run_id: str | None = (await self.command("message:send", content=text)).get("run_id")
        return run_id

    async def ended(self, run_id: str | None) -> dict[str, Any]:
        """Wait until a run has ended."""

        def wanted(event: str, payload: Any) -> bool:
            data = payload["data"] if event == "events" else {}
            return data.get("type") == "run:ended" and data["data"]["run_id"] == run_id

        found = await self.client.until(wanted)
        ended: dict[str, Any] = found["data"]["data"]
        return ended

    async def first_token(self, run_id: str | None) -> None:
        """Wait until a run has begun to write."""

        def begun(event: str, payload: Any) -> bool:
            data = payload["data"] if event == "events" else {}
            return data.get("type") == "message" and data["data"].get("run_id") == run_id

        message = (await self.client.until(begun))["data"]["data"]

        def written(event: str, payload: Any) -> bool:
            data = payload["data"] if event == "events" else {}
            return data.get("type") == "message:delta" and data["data"]["id"] == message["id"]

        await self.client.until(written)

    async def hear(self, text: str) -> dict[str, Any]:
        """Wait for a message of the app with this text in it."""

        def wanted(event: str, payload: Any) -> bool:
            data = payload["data"] if event == "events" else {}
            return data.get("type") == "message" and text in data["data"]["content"]

        found = await self.client.until(wanted)
        message: dict[str, Any] = found["data"]["data"]
        return message

    def answers(self) -> list[str]:
        """What the app has said, whole messages only."""
        return [m["content"] for m in self.client.events("message") if m["role"] == "assistant"]


@asynccontextmanager
async def example(name: str, folder: Path, **settings: Any) -> AsyncIterator[Served]:
    """One of the examples, served."""
    async with serve(cl.load_app(EXAMPLES / name), folder, **settings) as served:
        yield served


@asynccontextmanager
async def person(served: Served, name: str, **auth: Any) -> AsyncIterator[Person]:
    auth.setdefault("session_id", f"session-{name}")
    async with Client.open(served, name, **auth) as client:
        sitting = Person(client, f"thread-of-{name}")
        answer = await client.call("subscribe", stream=f"thread:{sitting.thread_id}")
        for event in answer["events"]:
            client.heard.append(("events", event))
        yield sitting


async def test_names_are_remembered_for_two_people_at_once(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(example("names.py", tmp_path))
        people = [
            await stack.enter_async_context(person(served, name)) for name in ("alice", "bob")
        ]

        async def talk(sitting: Person, name: str) -> None:
            await sitting.hear("What's your name?")
            await sitting.say(name)
            await sitting.hear(f"Nice to meet you, {name}!")
            for number in range(5):
                await sitting.ended(await sitting.say(f"message {number}"))

        await asyncio.gather(talk(people[0], "Alice"), talk(people[1], "Bob"))

    for sitting, name in zip(people, ("Alice", "Bob"), strict=True):
        assert sitting.answers() == [
            "Hello! What's your name?",
            f"Nice to meet you, {name}!",
            *[f"{name}, you said: message {number}" for number in range(5)],
        ]


async def test_the_context_knows_user_thread_and_environment(tmp_path: Path) -> None:
    async with (
        example("session_context.py", tmp_path) as served,
        person(served, "alice", user_env={"OPENAI_API_KEY": "sk-secret"}) as alice,
        person(served, "bob") as bob,
    ):
        await alice.ended(await alice.say("hi"))
        await bob.ended(await bob.say("hi"))

    assert alice.answers() == [
        "Message received from user alice in thread thread-of-alice.",
        "Found your API key!",
    ]
    assert bob.answers() == ["Message received from user bob in thread thread-of-bob."]


async def test_an_environment_that_is_required_and_missing_is_refused(tmp_path: Path) -> None:
    async with example("session_context.py", tmp_path, user_env=("OPENAI_API_KEY",)) as served:
        refusal = await Client.refused(served, "bob")

    assert refusal["data"]["code"] == "missing_user_env"
    assert "OPENAI_API_KEY" in refusal["data"]["message"]


async def test_streaming_and_stop(tmp_path: Path) -> None:
    async with (
        example("streaming.py", tmp_path) as served,
        person(served, "alice") as alice,
    ):
        await alice.ended(await alice.say("one two three"))
        run_id = await alice.say("again")
        await alice.first_token(run_id)
        stopped = await alice.command("run:stop")
        ended = await alice.ended(run_id)
        state = await served.node.state_of(f"thread:{alice.thread_id}")

    contents = [message["content"] for message in state.messages.values()]
    assert contents[1] == ("You wrote 3 words. Here they are again: \n\n> one two three")
    assert stopped["accepted"] is True
    assert ended["outcome"] == "stopped"
    assert "You wrote 1 words. Here they are again:".startswith(contents[3].strip())


async def test_choices_and_buttons(tmp_path: Path) -> None:
    async with (
        example("ask_actions.py", tmp_path) as served,
        person(served, "alice") as alice,
    ):
        run_id = await alice.say("tea")
        asked = await alice.client.until(
            lambda event, payload: event == "events" and payload["data"]["type"] == "ask"
        )
        ask = asked["data"]["data"]
        await alice.client.call(
            "ask:answer", ask_id=ask["ask_id"], answer="order", command_id=uuid.uuid4().hex
        )
        await alice.ended(run_id)
        message = await alice.hear("Ordered: **tea**")
        pressed = await alice.command(
            "action:call", action=message["actions"][0], message_id=message["id"]
        )
        await alice.ended(pressed["run_id"])
        state = await served.node.state_of(f"thread:{alice.thread_id}")

    assert alice.answers()[-1] == "Ordered again: **tea**"
    assert state.messages[message["id"]]["actions"] == []


async def test_steps_nest_also_from_a_thread(tmp_path: Path) -> None:
    async with (
        example("steps.py", tmp_path) as served,
        person(served, "alice") as alice,
    ):
        await alice.ended(await alice.say("what is the answer then"))
        state = await served.node.state_of(f"thread:{alice.thread_id}")

    steps = {step["name"]: step for step in state.steps.values()}
    assert {step["status"] for step in steps.values()} == {"done"}
    assert steps["Look it up"]["parent_id"] == steps["Measure"]["parent_id"] == steps["Think"]["id"]
    assert alice.answers() == ["3 long words with 14 letters."]


async def test_profiles_settings_and_starters(tmp_path: Path) -> None:
    async with (
        example("settings_and_profiles.py", tmp_path) as served,
        person(served, "alice") as alice,
        person(served, "bob", chat_profile="Counter") as bob,
    ):
        changed = await alice.command(
            "settings:update", settings={"tone": "Brisk", "times": 2, "loud": True}
        )
        await alice.ended(changed["run_id"])
        await alice.ended(await alice.say("hello"))
        await bob.ended(await bob.say("hello"))
        async with httpx.AsyncClient(base_url=served.url) as http:
            token = await served.user("alice")
            answer = await http.get(
                "/api/app",
                params={"thread_id": alice.thread_id},
                headers={"authorization": f"Bearer {token}"},
            )

    page = answer.json()
    assert alice.answers() == ["HEY, HELLO HELLO"]
    assert bob.answers() == ["Dear friend, 5 letters"]
    assert [profile["name"] for profile in page["profiles"]] == ["Writer", "Counter"]
    assert [widget["initial"] for widget in page["settings"]] == ["Brisk", 2, True]
    assert page["starters"] == [{"label": "Say hello", "message": "hello"}]


async def test_a_chat_inside_an_authors_application(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLOUR_DATA_FOLDER", str(tmp_path))
    monkeypatch.setenv("PARLOUR_ANONYMOUS", "true")
    module = load_module("mounted")
    async with running(module.app) as url, httpx.AsyncClient(base_url=url) as http:
        stock = await http.get("/stock/tea")
        version = await http.get("/chat/api/version")
        client = Client()
        await client.connect(url, path="/chat/ws/socket.io", session_id="session-visitor")
        visitor = Person(client, "thread-of-visitor")
        await client.call("subscribe", stream=f"thread:{visitor.thread_id}")
        await visitor.ended(await visitor.say("coffee"))
        notice = await http.post(
            f"/threads/{visitor.thread_id}/notices", params={"text": "we close at six"}
        )
        await visitor.hear("we close at six")
        await client.close()

    assert stock.json() == {"item": "tea", "pieces": 3}
    assert "protocol" in version.json()
    assert notice.json() == {"sent": True}
    assert visitor.answers() == ["coffee: 6 pieces", "we close at six"]


async def test_a_chat_with_a_real_model_through_the_persons_own_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with endpoint("200 OK", piece("Good "), piece("day"), "data: [DONE]\n\n") as (url, seen):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        async with (
            example("openai_chat.py", tmp_path, user_env=("OPENAI_API_KEY",)) as served,
            person(served, "alice", user_env={"OPENAI_API_KEY": "sk-alice"}) as alice,
        ):
            await alice.ended(await alice.say("hello"))
            state = await served.node.state_of(f"thread:{alice.thread_id}")

    assert [message["content"] for message in state.messages.values()] == ["hello", "Good day"]
    assert b"Bearer sk-alice" in seen[0]


def test_examples_loaded_twice_do_not_mix() -> None:
    first = cl.load_app(EXAMPLES / "names.py")
    other = cl.load_app(EXAMPLES / "streaming.py")
    second = cl.load_app(EXAMPLES / "names.py")

    assert first.handles("on_chat_start")
    assert second.handles("on_chat_start")
    assert not other.handles("on_chat_start")
    assert other.handles("on_stop")
    assert not first.handles("on_stop")


def load_module(name: str) -> Any:
    """An example as its author's server imports it."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def running(app: Any) -> AsyncIterator[str]:
    """An ASGI application with its lifespan, under uvicorn on a free port."""
    config = uvicorn.Config(app, port=0, log_level="warning", ws="websockets-sansio")
    server = QuietServer(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
        assert not task.done(), task
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
