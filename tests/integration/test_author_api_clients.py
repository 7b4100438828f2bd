"""What apps do with the clients of a session: calls, settings in two tabs, pushes, the end."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import parlour as cl
from parlour.chat.application import ChatApp
from parlour.chat.registry import Registry, registering
from parlour.errors import CallGone, CallRefused
from tests.integration.test_author_api import Person, person
from tests.serving import Client, serve


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    with registering(Registry()) as found:
        yield found


async def test_a_function_in_the_browser_is_called_and_may_decline(
    registry: Registry, tmp_path: Path
) -> None:
    @cl.on_message
    async def reply(message: cl.Message) -> None:
        try:
            result = await cl.CopilotFunction(message.content, {"a": 2}, timeout=10).acall()
        except CallRefused as refusal:
            result = f"refused: {refusal.message}"
        await cl.Message(f"{result}").send()

    async with (
        serve(ChatApp(registry), tmp_path) as served,
        person(served, "alice") as alice,
    ):

        @alice.client.socket.on("call")
        async def called(payload: Any) -> Any:
            if payload["name"] == "double":
                return payload["args"]["a"] * 2
            return {"ok": False, "error": {"message": "not here"}}

        await alice.ended(await alice.say("double"))
        await alice.ended(await alice.say("format_disk"))

    assert alice.answers() == ["4", "refused: not here"]


async def test_calling_a_client_over_rest_says_that_nobody_is_there(
    registry: Registry, tmp_path: Path
) -> None:
    @cl.on_message
    async def reply() -> None:
        with pytest.raises(CallGone):
            await cl.CopilotFunction("double").acall()
        await cl.Message("nobody").send()

    async with serve(ChatApp(registry), tmp_path) as served:
        user = (await served.node.accounts.verify(await served.user("alice"))).user
        caller = served.node.caller(user)
        await served.node.router.execute(
            caller,
            "message:send",
            {"thread_id": "thread-rest", "content": "x", "command_id": uuid.uuid4().hex},
        )
        for run in served.node.runs.active("thread-rest"):
            await run.ended
        state = await served.node.state_of("thread:thread-rest")

    assert [message["content"] for message in state.messages.values()] == ["x", "nobody"]


async def test_data_of_the_page_around_reaches_its_handler(
    registry: Registry, tmp_path: Path
) -> None:
    @cl.on_window_message
    async def posted(data: Any) -> None:
        await cl.Message(f"the page said {data['word']}").send()

    async with (
        serve(ChatApp(registry), tmp_path) as served,
        person(served, "alice") as alice,
    ):
        sent = await alice.command("window:message", data={"word": "hello"})
        await alice.ended(sent["run_id"])

    assert alice.answers() == ["the page said hello"]


async def test_a_setting_changed_in_one_tab_is_shown_in_the_other(
    registry: Registry, tmp_path: Path
) -> None:
    from parlour.input_widget import Switch

    @cl.on_chat_start
    async def start() -> None:
        await cl.ChatSettings([Switch(id="loud", label="Loud")]).send()

    @cl.on_settings_update
    async def changed(settings: dict[str, Any]) -> None:
        await cl.context.emitter.send_toast(f"loud: {settings['loud']}")

    async with (
        serve(ChatApp(registry), tmp_path) as served,
        person(served, "alice") as first,
        person(served, "alice") as second,
    ):
        await first.command("settings:update", settings={"loud": True})

        def shown(event: str, payload: Any) -> bool:
            data = payload["data"] if event == "events" else {}
            return data.get("type") == "settings" and data["data"]["settings"][0]["initial"] is True

        def told(event: str, payload: Any) -> bool:
            data = payload["data"] if event == "events" else {}
            return data.get("type") == "notification" and data["data"]["text"] == "loud: True"

        await second.client.until(shown)
        notice = await second.client.until(told)

    assert notice["data"]["data"]["level"] == "info"


async def test_a_push_to_a_session_and_to_a_user_reaches_whoever_is_there(
    registry: Registry, tmp_path: Path
) -> None:
    @cl.on_message
    async def reply(message: cl.Message) -> None:
        session = cl.context.session
        assert session.user is not None
        await cl.push("to the session", session_id=session.id)
        await cl.push("to the user", user_id=session.user.id, level="success")

    async with (
        serve(ChatApp(registry), tmp_path) as served,
        person(served, "alice") as alice,
        Client.open(served, "alice", session_id="session-other-tab") as other,
    ):
        user = (await served.node.accounts.verify(await served.user("alice"))).user
        await other.call("subscribe", stream=f"user:{user.id}")
        await alice.ended(await alice.say("go"))
        in_session = await alice.client.until(lambda event, _: event == "notification")
        to_user = await other.until(
            lambda event, payload: event == "events" and payload["data"]["type"] == "notification"
        )

    assert in_session == {"level": "info", "text": "to the session"}
    assert to_user["data"]["data"] == {"level": "success", "text": "to the user"}
    assert not any(event == "notification" for event, _ in other.heard)


async def test_a_disconnect_is_not_an_end_and_an_end_is_told_once(
    registry: Registry, tmp_path: Path
) -> None:
    ends: list[str] = []
    ended = asyncio.Event()

    @cl.on_chat_start
    async def start() -> None:
        cl.user_session.set("word", "kept")

    @cl.on_message
    async def reply() -> None:
        await cl.Message(cl.user_session.get("word", "lost")).send()

    @cl.on_chat_end
    async def end() -> None:
        ends.append(cl.user_session.get("word"))
        ended.set()

    async with serve(ChatApp(registry), tmp_path) as served:
        async with person(served, "alice") as alice:
            await alice.ended(await alice.say("one"))
        assert ends == []
        async with Client.open(served, "alice", session_id="session-alice") as client:
            again = Person(client, "thread-of-alice")
            await client.call("subscribe", stream="thread:thread-of-alice")
            await again.ended(await again.say("two"))
            await client.call("session:end")
            await ended.wait()

    assert again.answers() == ["kept"]
    assert ends == ["kept"]


async def test_the_tab_that_knows_a_function_answers_for_the_session(
    registry: Registry, tmp_path: Path
) -> None:
    @cl.on_message
    async def reply() -> None:
        result = await cl.CopilotFunction("double", {"a": 4}, timeout=10).acall()
        await cl.Message(f"{result}").send()

    async with (
        serve(ChatApp(registry), tmp_path) as served,
        person(served, "alice") as first,
        person(served, "alice") as second,
    ):

        @first.client.socket.on("call")
        async def unknown(payload: Any) -> Any:
            return {"ok": False, "error": {"code": "unknown_function", "message": "not here"}}

        @second.client.socket.on("call")
        async def known(payload: Any) -> Any:
            return payload["args"]["a"] * 2

        await first.ended(await first.say("go"))

    assert first.answers() == ["8"]
