"""The Python client against a real server, with a network in between that fails on command."""

from __future__ import annotations

import asyncio
import importlib.util
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import parlour as cl
from parlour.chat.application import ChatApp
from parlour.chat.registry import Registry, registering
from parlour.client import Refused, Snapshot, connect
from parlour.core.streams import Event
from parlour.errors import ConnectionRefused
from parlour.testing.fault_proxy import FaultProxy
from tests.serving import Served, serve

EXAMPLES = Path(__file__).parents[2] / "examples"
LIMIT = 60


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    with registering(Registry()) as found:
        yield found


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def proxied(server: Served) -> FaultProxy:
    parts = urlsplit(server.url)
    assert parts.hostname is not None
    assert parts.port is not None
    return FaultProxy((parts.hostname, parts.port))


async def test_the_example_answers_a_question_and_talks(tmp_path: Path) -> None:
    async with (
        serve(cl.load_app(EXAMPLES / "names.py"), tmp_path) as server,
        asyncio.timeout(LIMIT),
    ):
        said = await load("bot").introduce(server.url, await server.user("ada"), "Ada")

    assert said == [
        "Hello! What's your name?",
        "Nice to meet you, Ada!",
        "Ada, you said: hello",
    ]


async def test_a_followed_stream_is_whole_over_cut_connections(
    registry: Registry, tmp_path: Path
) -> None:
    @cl.on_message
    async def count(message: cl.Message) -> None:
        answer = cl.Message("")
        for number in range(60):
            await answer.stream_token(f"{number} ")
            await asyncio.sleep(0.01)
        await answer.send()

    thread_id = uuid.uuid4().hex
    text, cuts, offsets = "", 0, [0]
    async with (
        serve(ChatApp(registry), tmp_path) as server,
        proxied(server) as proxy,
        connect(f"http://127.0.0.1:{proxy.port}", token=await server.user("ada")) as client,
        asyncio.timeout(LIMIT),
    ):
        await client.send(thread_id, "go")
        async with client.follow(f"thread:{thread_id}") as stream:
            async for item in stream:
                if isinstance(item, Snapshot):
                    said = [one for one in item.state["messages"] if one["role"] == "assistant"]
                    text = said[0]["content"] if said else ""
                    offsets = [item.position.offset]
                    continue
                offsets.append(item.offset)
                if item.type == "message" and item.data["role"] == "assistant":
                    text = item.data["content"]
                elif item.type == "message:delta":
                    text += item.data["text"]
                    if len(text) > 40 * (cuts + 1) and cuts < 3:
                        cuts += 1
                        proxy.cut()
                elif item.type == "run:ended":
                    break

    assert text == "".join(f"{number} " for number in range(60))
    assert cuts == 3
    assert offsets == sorted(set(offsets))


async def test_a_message_whose_answer_is_lost_is_said_once(
    registry: Registry, tmp_path: Path
) -> None:
    heard: list[str] = []
    arrived = asyncio.Event()

    @cl.on_message
    async def hear(message: cl.Message) -> None:
        heard.append(message.content)
        arrived.set()

    thread_id = uuid.uuid4().hex
    async with (
        serve(ChatApp(registry), tmp_path) as server,
        proxied(server) as proxy,
        connect(f"http://127.0.0.1:{proxy.port}", token=await server.user("ada")) as client,
        asyncio.timeout(LIMIT),
    ):
        await client.live()
        proxy.delay = 0.3
        sending = asyncio.create_task(client.send(thread_id, "once"))
        # The command has reached the server; its answer is still on the way.
        await arrived.wait()
        proxy.cut()
        proxy.delay = 0.0
        answer = await sending
        again = await client.send(thread_id, "once", command_id=answer["message"]["command_id"])

    assert heard == ["once"]
    assert again["message"]["id"] == answer["message"]["id"]


async def test_the_app_calls_the_client(registry: Registry, tmp_path: Path) -> None:
    @cl.on_message
    async def ask_client(message: cl.Message) -> None:
        result = await cl.CopilotFunction("double", {"n": 21}, timeout=30).acall()
        await cl.Message(f"{result}").send()

    async def double(args: Any) -> int:
        return int(args["n"]) * 2

    thread_id = uuid.uuid4().hex
    async with (
        serve(ChatApp(registry), tmp_path) as server,
        connect(server.url, token=await server.user("ada"), thread_id=thread_id) as client,
        asyncio.timeout(LIMIT),
    ):
        client.on_call("double", double)
        async with client.follow(f"thread:{thread_id}") as stream:
            await client.send(thread_id, "go")
            async for item in stream:
                if isinstance(item, Event) and item.data.get("role") == "assistant":
                    break

    assert isinstance(item, Event)
    assert item.data["content"] == "42"


async def test_a_refusal_says_why(tmp_path: Path) -> None:
    async with (
        serve(None, tmp_path) as server,
        connect(server.url, token=await server.user("ada")) as client,
        asyncio.timeout(LIMIT),
    ):
        with pytest.raises(Refused) as refused:
            await client.answer("", "x")

    assert refused.value.wire_code == "invalid_payload"
    assert "ask_id" in refused.value.message


async def test_a_bad_token_is_told_once_and_not_tried_again(tmp_path: Path) -> None:
    async with (
        serve(None, tmp_path) as server,
        asyncio.timeout(LIMIT),
    ):
        with pytest.raises(ConnectionRefused) as refused:
            async with connect(server.url, token="nonsense") as client:
                await client.send(uuid.uuid4().hex, "hi")

    assert refused.value.refusal == "unauthenticated"
