"""The context follows the code that a handler starts, and nothing else."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

import parlour as cl
from parlour.chat.registry import Registry
from parlour.chat.threads import HandlerThreads
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
    await talk.command("message:send", content="go")
    await asyncio.to_thread(started.wait, 10)
    await talk.command("run:stop")
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
    await talk.command("message:send", content="go")
    await running.wait()
    await talk.command("run:stop")
    record = await talk.node.sessions.load(talk.session_id)
    assert record is not None
    await talk.node.chats.end(record)

    contents = [answer["content"] for answer in await talk.answers()]
    assert contents == [f"stopped for {talk.session_id}", "good-bye"]


async def test_an_anonymous_visitor_has_no_user(stage: Stage, app: Registry) -> None:
    from parlour.core.users import User
    from parlour.testing.pilot import Talk

    @cl.on_message
    async def reply() -> None:
        user = cl.context.session.user
        await cl.Message(user.identifier if user else "Anonymous").send()

    talk = Talk(await stage.start(app), user=User("anon-1", "Visitor", "anonymous"))
    await talk.open()
    await talk.say("hi")

    assert (await talk.answers())[0]["content"] == "Anonymous"


async def test_stop_ends_the_question_of_a_handler_in_a_thread(stage: Stage, app: Registry) -> None:
    outcomes: list[str] = []
    ended = threading.Event()

    @cl.on_message
    def reply() -> None:
        try:
            cl.run_sync(cl.AskUserMessage("?", timeout=3600).send())
        except asyncio.CancelledError:
            outcomes.append("cancelled")
            raise
        finally:
            ended.set()

    talk = await stage.talk(app)
    await talk.command("message:send", content="go")
    await talk.question()
    await talk.command("run:stop")
    await asyncio.to_thread(ended.wait, 10)

    assert outcomes == ["cancelled"]
    assert (await talk.state()).asks == {}
    assert await talk.outcome() == "stopped"


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_a_handler_that_exits_ends_its_run_and_not_the_server(
    stage: Stage, app: Registry, kind: str
) -> None:
    async def leave() -> None:
        sys.exit(3)

    cl.on_message(leave if kind == "async" else lambda: sys.exit(3))
    talk = await stage.talk(app)
    await talk.say("go")
    await talk.say("still there?")

    assert await talk.outcome() == "failed"
    assert len(await talk.answers()) == 2


async def test_what_a_thread_raises_and_returns_comes_back(desk: Desk) -> None:
    def fail(kind: type[BaseException]) -> None:
        raise kind("from the thread")

    async def work() -> list[str]:
        caught = []
        for kind in (ValueError, StopIteration, KeyError):
            try:
                await cl.make_async(fail)(kind)
            except (ValueError, RuntimeError, KeyError) as error:
                caught.append(type(error).__name__)
        return [*caught, await cl.make_async(str.upper)("done")]

    assert await desk.run(work) == ["ValueError", "RuntimeError", "KeyError", "DONE"]


async def test_threads_are_bounded_and_the_rest_waits(desk: Desk) -> None:
    threads = HandlerThreads(2)
    lock, running, most = threading.Lock(), 0, 0

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        entered.release()
        gate.wait(10)
        with lock:
            running -= 1

    gate, entered = threading.Event(), threading.Semaphore(0)
    tasks = [asyncio.create_task(threads.run(work)) for _ in range(6)]
    await asyncio.to_thread(lambda: entered.acquire() and entered.acquire())
    gate.set()
    await asyncio.gather(*tasks)

    assert most == 2


def test_a_handler_that_hangs_in_a_thread_does_not_hold_up_the_end_of_the_process() -> None:
    code = (
        "import asyncio, threading\n"
        "from parlour.chat.threads import HandlerThreads\n"
        "async def main():\n"
        "    task = asyncio.create_task(HandlerThreads(1).run(threading.Event().wait))\n"
        "    await asyncio.sleep(0)\n"
        "    task.cancel()\n"
        "    await asyncio.wait([task])\n"
        "asyncio.run(main())\n"
        "print('over')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert done.stdout.strip() == "over"


async def test_a_mistake_in_on_stop_does_not_undo_the_stop(stage: Stage, app: Registry) -> None:
    running = asyncio.Event()

    @cl.on_message
    async def reply() -> None:
        running.set()
        await asyncio.Event().wait()

    @cl.on_stop
    async def stopped() -> None:
        cl.user_session.set("stops", 1)
        raise RuntimeError("a mistake")

    talk = await stage.talk(app)
    await talk.command("message:send", content="go")
    await running.wait()
    answer = await talk.command("run:stop")

    assert answer["accepted"] is True
    assert await talk.outcome() == "stopped"


async def test_values_set_in_on_stop_are_stored(stage: Stage, app: Registry) -> None:
    running = asyncio.Event()

    @cl.on_message
    async def reply() -> None:
        running.set()
        await asyncio.Event().wait()

    @cl.on_stop
    def stopped() -> None:
        cl.user_session.set("stops", 1)

    talk = await stage.talk(app)
    await talk.command("message:send", content="go")
    await running.wait()
    await talk.command("run:stop")

    stored = await talk.node.sessions.values(talk.session_id, talk.thread_id)
    assert stored["v:stops"] == b"1"
