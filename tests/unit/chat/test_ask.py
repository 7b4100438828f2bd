"""Questions: answered once, typed, and None when nobody answers."""

from __future__ import annotations

from typing import Any

import pytest

import parlour as cl
from parlour.chat.registry import Registry
from parlour.errors import InvalidPayload
from parlour.testing.pilot import Talk
from tests.unit.chat.conftest import Stage, exists, read


async def test_a_text_answer_says_what_and_who(stage: Stage, app: Registry) -> None:
    replies: list[Any] = []

    @cl.on_message
    async def reply() -> None:
        replies.append(await cl.AskUserMessage("What is your name?", timeout=30).send())

    talk = await stage.talk(app)
    await talk.command("message:send", content="go")
    ask = await talk.question()
    await talk.command("ask:answer", ask_id=ask["ask_id"], answer={"output": "Alice"})
    await talk.settle()

    [answer] = replies
    assert (answer["output"], answer["name"], answer["user_id"]) == ("Alice", "Ann", "ann")
    assert await talk.contents() == ["go", "What is your name?", "Alice"]
    assert (await talk.state()).asks == {}


async def test_a_message_answers_the_open_question(stage: Stage, app: Registry) -> None:
    @cl.on_chat_start
    async def start() -> None:
        answer = await cl.AskUserMessage("Name?", timeout=30).send()
        assert answer is not None
        await cl.Message(f"Hello {answer['output']}").send()

    talk = await stage.talk(app)
    await talk.say("Alice")

    assert (await talk.contents())[-1] == "Hello Alice"


async def test_an_action_answer_has_the_payload_that_the_app_gave(
    stage: Stage, app: Registry
) -> None:
    chosen: list[Any] = []
    actions = [
        cl.Action(name="yes", label="Yes", payload={"n": 1}),
        cl.Action(name="no", payload={"n": 0}),
    ]

    @cl.on_message
    async def reply() -> None:
        chosen.append(await cl.AskActionMessage("Sure?", actions, timeout=30).send())

    talk = await stage.talk(app)
    await talk.command("message:send", content="go")
    ask = await talk.question()
    with pytest.raises(InvalidPayload):
        await talk.command("ask:answer", ask_id=ask["ask_id"], answer={"name": "maybe", "id": "?"})
    forged = {"id": actions[0].id, "name": "yes", "payload": {"n": 1000}}
    await talk.command("ask:answer", ask_id=ask["ask_id"], answer=forged)
    await talk.settle()

    assert [(c["name"], c["payload"], c["label"]) for c in chosen] == [("yes", {"n": 1}, "Yes")]


async def test_a_file_answer_can_be_read_by_path(stage: Stage, app: Registry) -> None:
    seen: list[Any] = []

    @cl.on_message
    async def reply() -> None:
        files = await cl.AskFileMessage("A file?", accept=["text/plain"], timeout=30).send()
        assert files is not None
        [file] = files
        seen.append((file.name, file.size, file.type, read(file.path), file.path))

    talk = await stage.talk(app)
    file_id = await talk.upload("../../note.txt", b"hello")
    await talk.command("message:send", content="go")
    ask = await talk.question()
    await talk.command("ask:answer", ask_id=ask["ask_id"], answer={"files": [file_id]})
    await talk.settle()

    [(name, size, mime, content, path)] = seen
    assert (size, mime, content) == (5, "text/plain", b"hello")
    assert name.endswith("note.txt")
    assert not exists(path)


@pytest.mark.parametrize("raises", [False, True])
async def test_without_an_answer_there_is_none_or_an_error(
    stage: Stage, app: Registry, raises: bool
) -> None:
    outcomes: list[Any] = []

    @cl.on_message
    async def reply() -> None:
        try:
            question = cl.AskUserMessage("Anyone?", timeout=0.05, raise_on_timeout=raises)
            outcomes.append(await question.send())
        except TimeoutError:
            outcomes.append("timeout")

    talk = await stage.talk(app)
    await talk.send("go")
    await talk.finish()

    assert outcomes == ["timeout" if raises else None]
    assert (await talk.state()).asks == {}


async def test_an_answer_after_a_restart_reaches_on_message_with_its_question(
    stage: Stage, app: Registry
) -> None:
    answered: list[Any] = []

    @cl.on_message
    async def reply(message: cl.Message) -> None:
        if message.ask is not None:
            answered.append((message.ask["content"], message.content))
            return
        await cl.AskUserMessage("Still there?", timeout=3600).send()

    async with stage.running(app, shutdown_runs_seconds=0) as node:
        before = Talk(node)
        await before.open()
        await before.command("message:send", content="go")
        ask = await before.question()
    async with stage.running(app) as node:
        after = Talk(node, before.user, before.session_id, before.thread_id)
        await after.open()
        await after.command("ask:answer", ask_id=ask["ask_id"], answer="yes")
        await after.settle()

    assert answered == [("Still there?", "yes")]


@pytest.mark.parametrize(
    "make",
    [
        lambda: cl.AskActionMessage("?", []),
        lambda: cl.AskUserMessage("?", timeout=0),
        lambda: cl.AskFileMessage("?", accept=["a/b"], max_files=0),
    ],
)
def test_questions_that_make_no_sense_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match=r"at least|more than"):
        make()


async def test_an_answer_is_never_given_twice_to_a_quick_handler(
    stage: Stage, app: Registry
) -> None:
    # The handler ends within the same turns of the loop in which the answer is acknowledged; once it
    # was taken for gone then, and the answer reached on_message as well.
    handled: list[str] = []

    @cl.on_message
    async def reply(message: cl.Message) -> None:
        if message.ask is not None:
            handled.append("late")
            return
        await cl.AskUserMessage("?", timeout=30).send()
        handled.append("in time")

    talk = await stage.talk(app)
    for _ in range(15):
        await talk.command("message:send", content="go")
        ask = await talk.question()
        await talk.command("ask:answer", ask_id=ask["ask_id"], answer="yes")
        await talk.settle()

    assert handled == ["in time"] * 15
