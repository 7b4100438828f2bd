"""The context follows the code that a handler starts, and nothing else."""

from __future__ import annotations

import asyncio
import threading

import pytest

import parlour as cl
from parlour.chat.registry import Registry
from tests.unit.chat.conftest import Desk, Stage


def test_reading_the_context_outside_a_handler_is_a_clear_error() -> None:
    with pytest.raises(cl.ContextMissing, match="inside a handler"):
        _ = cl.context.session

    assert not cl.context


async def test_the_context_knows_session_user_thread_and_run(desk: Desk) -> None:
    async def look() -> tuple[str, str, str | None, str]:
        session = cl.context.session
        assert isinstance(session, cl.HTTPSession)
        assert cl.context.run is not None
        return (
            session.id,
            session.thread_id,
            session.user and session.user.id,
            cl.context.run.handler,
        )

    seen = await desk.run(look)

    assert seen == (desk.talk.session_id, desk.talk.thread_id, "ann", "on_message")


async def test_tasks_and_threads_see_the_context_of_who_started_them(desk: Desk) -> None:
    def here() -> tuple[str, bool]:
        return cl.context.session.id, threading.current_thread() is threading.main_thread()

    async def look() -> list[tuple[str, bool]]:
        async def in_task() -> tuple[str, bool]:
            return here()

        return [await asyncio.create_task(in_task()), await cl.make_async(here)()]

    seen = await desk.run(look)

    assert seen == [(desk.talk.session_id, True), (desk.talk.session_id, False)]


async def test_a_plain_function_handles_messages_in_a_thread(stage: Stage, app: Registry) -> None:
    @cl.on_message
    def reply(message: cl.Message) -> None:
        answer = cl.Message(content=f"echo {message.content}")
        cl.run_sync(answer.send())
        cl.user_session.set("thread", threading.current_thread().name)

    talk = await stage.talk(app)
    await talk.say("hi")

    chat = await talk.node.chats.open(talk.caller, talk.thread_id)
    assert (await talk.answers())[0]["content"] == "echo hi"
    assert chat.values["thread"].startswith("parlour-handler")


async def test_run_sync_on_the_loop_is_refused_instead_of_blocking(desk: Desk) -> None:
    async def misuse() -> str:
        with pytest.raises(RuntimeError, match="await") as caught:
            cl.run_sync(cl.Message("x").send())
        return str(caught.value)

    assert "event loop" in await desk.run(misuse)


async def test_a_thread_that_outlives_a_stop_cannot_speak(stage: Stage, app: Registry) -> None:
    started, release, ended = threading.Event(), threading.Event(), threading.Event()
    said: list[str] = []

    @cl.on_message
    def reply() -> None:
        started.set()
        release.wait(10)
        try:
            cl.run_sync(cl.Message("too late").send())
            said.append("sent")
        except asyncio.CancelledError:
            said.append("refused")
        finally:
            ended.set()

    talk = await stage.talk(app)
    await talk.do("message:send", content="go")
    await asyncio.to_thread(started.wait, 10)
    await talk.do("run:stop")
    release.set()
    await asyncio.to_thread(ended.wait, 10)

    assert said == ["refused"]
    assert await talk.answers() == []
    assert await talk.outcome() == "stopped"


async def test_on_stop_and_on_chat_end_have_a_context_and_can_speak(
    stage: Stage, app: Registry
) -> None:
    running = asyncio.Event()

    @cl.on_message
    async def reply() -> None:
        running.set()
        await asyncio.Event().wait()

    @cl.on_stop
    async def stopped() -> None:
        await cl.Message(f"stopped for {cl.context.session.id}").send()

    @cl.on_chat_end
    async def ended() -> None:
        await cl.Message("good-bye").send()

    talk = await stage.talk(app)
    await talk.do("message:send", content="go")
    await running.wait()
    await talk.do("run:stop")
    record = await talk.node.sessions.load(talk.session_id)
    assert record is not None
    await talk.node.chats.end(record)

    contents = [answer["content"] for answer in await talk.answers()]
    assert contents == [f"stopped for {talk.session_id}", "good-bye"]


async def test_an_anonymous_visitor_has_no_user(stage: Stage, app: Registry) -> None:
    from parlour.core.users import User
    from tests.unit.chat.conftest import Conversation

    @cl.on_message
    async def reply() -> None:
        user = cl.context.session.user
        await cl.Message(user.identifier if user else "Anonymous").send()

    talk = Conversation(await stage.start(app), user=User("anon-1", "Visitor", "anonymous"))
    await talk.open()
    await talk.say("hi")

    assert (await talk.answers())[0]["content"] == "Anonymous"
