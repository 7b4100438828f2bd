"""What a model, and a resuming handler, get of the conversation so far."""

from __future__ import annotations

from typing import Any

import parlour as cl
from parlour.chat.context import get_context
from parlour.chat.registry import Registry
from parlour.testing.pilot import Talk
from tests.unit.chat.conftest import Stage


async def test_the_history_is_the_conversation_also_after_a_restart(
    stage: Stage, app: Registry
) -> None:
    histories: list[list[dict[str, str]]] = []

    @cl.on_message
    async def reply(message: cl.Message) -> None:
        histories.append(cl.chat_context.to_openai())
        await cl.ErrorMessage("not part of it").send()
        answer = cl.Message()
        await answer.stream_token("answer to ")
        await answer.stream_token(message.content)
        await answer.send()

    async with stage.running(app) as node:
        before = Talk(node)
        await before.open()
        await before.say("one")
    async with stage.running(app) as node:
        after = Talk(node, before.user, "another-session", before.thread_id)
        await after.open()
        await after.say("two")

    assert histories == [
        [{"role": "user", "content": "one"}],
        [
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "answer to one"},
            {"role": "user", "content": "two"},
        ],
    ]


async def test_resuming_gets_the_whole_thread_in_order(stage: Stage, app: Registry) -> None:
    threads: list[Any] = []

    @cl.on_message
    async def reply() -> None:
        async with cl.Step(name="look", type="tool") as step:
            step.output = "found"
        await cl.Message("answer", elements=[cl.File(name="a.txt", content="a")]).send()

    @cl.on_chat_resume
    async def resume(thread: cl.ThreadDict) -> None:
        threads.append(thread)

    first = await stage.talk(app)
    await first.say("question")
    second = Talk(first.node, first.user, "another-session", first.thread_id)
    await second.open()

    [thread] = threads
    assert thread["id"] == first.thread_id
    assert thread["name"] == "question"
    assert thread["userIdentifier"] == "Ann"
    assert [(step["type"], step["output"]) for step in thread["steps"]] == [
        ("user_message", "question"),
        ("tool", "found"),
        ("assistant_message", "answer"),
    ]
    assert thread["createdAt"] is not None
    assert thread["createdAt"].endswith("Z")
    assert [file["name"] for file in thread["elements"]] == ["a.txt"]


async def test_messages_of_the_history_can_be_changed(stage: Stage, app: Registry) -> None:
    @cl.on_message
    async def reply(message: cl.Message) -> None:
        if message.content == "fix it":
            wrong = next(m for m in cl.chat_context.get() if m.content == "wrong")
            wrong.content = "right"
            await wrong.update()
        else:
            await cl.Message("wrong").send()

    talk = await stage.talk(app)
    await talk.say("go")
    await talk.say("fix it")

    assert [answer["content"] for answer in await talk.answers()] == ["right"]


async def test_what_a_run_said_is_in_its_history_before_the_stream_brings_it_back(
    stage: Stage, app: Registry
) -> None:
    # On several nodes an event comes back through the bus a moment after it was written.
    histories: list[list[dict[str, str]]] = []

    @cl.on_message
    async def reply(message: cl.Message) -> None:
        get_context().feed = None
        await cl.Message("sent").send()
        gone = await cl.Message("gone").send()
        await gone.remove()
        answer = cl.Message()
        await answer.stream_token("half")
        histories.append(cl.chat_context.to_openai())

    talk = await stage.talk(app)
    await talk.say("question")

    assert histories == [
        [
            {"role": "user", "content": "question"},
            {"role": "assistant", "content": "sent"},
            {"role": "assistant", "content": "half"},
        ]
    ]
    assert await talk.outcome() == "completed"
