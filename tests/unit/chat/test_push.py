"""Speaking first, from outside any handler."""

from __future__ import annotations

import asyncio

import pytest

import parlour as cl
from parlour.chat.registry import Registry
from tests.unit.chat.conftest import Desk, Stage


async def test_a_push_from_the_apps_module_is_a_message_of_the_conversation(
    stage: Stage, app: Registry
) -> None:
    cl.describe(name="Herald")
    cl.on_message(lambda message: None)
    talk = await stage.talk(app)
    await talk.say("hello")
    module = {"cl": cl, "__parlour_registry__": app}
    exec("async def tell(thread_id):\n    await cl.push('news', thread_id=thread_id)", module)

    await module["tell"](talk.thread_id)  # type: ignore[operator]

    [news] = await talk.answers()
    assert (news["content"], news["author"]["name"]) == ("news", "Herald")


async def test_a_push_to_a_user_is_kept_in_the_users_stream(desk: Desk) -> None:
    async def tell() -> None:
        await cl.push("look here", user_id="ann", level="warning")

    await desk.run(tell)

    page = await desk.talk.node.log.read("user:ann", None, 100)
    notices = [dict(event.data) for event in page.events if event.type == "notification"]
    assert notices == [{"level": "warning", "text": "look here"}]


async def test_a_push_needs_an_addressee_and_a_node() -> None:
    with pytest.raises(ValueError, match="thread_id"):
        await cl.push("to nobody")
    with pytest.raises(cl.ContextMissing, match="no node"):
        await cl.push("too early", thread_id="t")


async def test_background_work_of_a_startup_hook_can_push(stage: Stage, app: Registry) -> None:
    due: asyncio.Queue[str] = asyncio.Queue(1)
    tasks: list[asyncio.Task[None]] = []
    module = {"cl": cl, "__parlour_registry__": app, "due": due}
    exec("async def herald():\n    await cl.push('due now', thread_id=await due.get())", module)

    @cl.on_app_startup
    async def start() -> None:
        tasks.append(asyncio.create_task(module["herald"]()))  # type: ignore[operator]

    cl.on_message(lambda message: None)
    talk = await stage.talk(app)
    await talk.say("remind me")
    await due.put(talk.thread_id)
    await tasks[0]

    assert (await talk.contents())[-1] == "due now"
