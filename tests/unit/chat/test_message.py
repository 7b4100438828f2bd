"""Messages in real runs: what is shown, streamed and stored is the same text (promise I3)."""

from __future__ import annotations

import asyncio

import pytest

import parlour as cl
from parlour.chat.registry import Registry
from parlour.core.streams import Event
from parlour.core.thread import digest
from parlour.testing.pilot import Talk
from tests.unit.chat.conftest import Stage


def of_type(events: list[Event], *types: str) -> list[Event]:
    return [event for event in events if event.type in types]


def streamed(events: list[Event], message_id: str) -> str:
    """The text that a client gets from the first message and its deltas."""
    text = ""
    for event in events:
        if event.data.get("id") == message_id:
            if event.type == "message":
                text = event.data["content"]
            elif event.type == "message:delta":
                text += event.data["text"]
            elif event.type == "message:replace":
                text = event.data["content"]
    return text


async def test_a_sent_message_is_whole_and_signed_by_the_app(stage: Stage, app: Registry) -> None:
    cl.describe(name="Parrot")

    @cl.on_message
    async def reply(message: cl.Message) -> None:
        await cl.Message(content=f"You said: {message.content}").send()

    talk = await stage.talk(app)
    await talk.say("hello")

    [answer] = await talk.answers()
    assert answer["content"] == "You said: hello"
    assert answer["author"] == {"id": "app", "name": "Parrot"}
    assert answer["role"] == "assistant"
    assert answer["streaming"] is False


async def test_streamed_text_is_the_sum_of_its_deltas_and_is_closed_with_its_digest(
    stage: Stage, app: Registry
) -> None:
    tokens = [f"t{n} é🙂 " for n in range(300)]

    @cl.on_message
    async def reply() -> None:
        answer = cl.Message(content="")
        for token in tokens:
            await answer.stream_token(token)
        await answer.send()

    talk = await stage.talk(app)
    await talk.say("go")

    [answer] = await talk.answers()
    events = await talk.events()
    [done] = of_type(events, "message:done")
    assert answer["content"] == "".join(tokens) == streamed(events, answer["id"])
    assert (done.data["length"], done.data["hash"]) == digest("".join(tokens))
    assert answer["streaming"] is False


async def test_a_message_sent_before_streaming_is_closed_by_update(
    stage: Stage, app: Registry
) -> None:
    @cl.on_message
    async def reply() -> None:
        answer = await cl.Message(content="Well: ").send()
        await answer.stream_token("first")
        await answer.stream_token(" second")
        await answer.update()

    talk = await stage.talk(app)
    await talk.say("go")

    [answer] = await talk.answers()
    [done] = of_type(await talk.events(), "message:done")
    assert answer["content"] == "Well: first second"
    assert done.data["length"] == len("Well: first second")


async def test_a_message_that_its_handler_left_open_is_closed_at_the_end(
    stage: Stage, app: Registry
) -> None:
    @cl.on_message
    async def reply() -> None:
        await cl.Message().stream_token("left open")

    talk = await stage.talk(app)
    await talk.say("go")

    types = [event.type for event in await talk.events()]
    assert types.index("message:done") < types.index("run:ended")
    assert (await talk.answers())[0]["streaming"] is False


async def test_a_stop_in_the_middle_keeps_the_text_so_far_and_closes_it(
    stage: Stage, app: Registry
) -> None:
    halfway = asyncio.Event()

    @cl.on_message
    async def reply() -> None:
        answer = cl.Message()
        await answer.stream_token("half ")
        await answer.stream_token("an answer")
        halfway.set()
        await asyncio.Event().wait()

    talk = await stage.talk(app)
    await talk.command("message:send", content="go")
    await halfway.wait()
    stopped = await talk.command("run:stop")

    events = await talk.events()
    [answer] = await talk.answers()
    [done] = of_type(events, "message:done")
    assert stopped["accepted"] is True
    assert answer["content"] == "half an answer" == streamed(events, answer["id"])
    assert (done.data["length"], done.data["hash"]) == digest("half an answer")
    assert await talk.outcome() == "stopped"


async def test_a_handler_that_fails_keeps_its_text_and_shows_no_trace(
    stage: Stage, app: Registry
) -> None:
    @cl.on_message
    async def reply() -> None:
        await cl.Message().stream_token("so far")
        raise RuntimeError("secret detail")

    talk = await stage.talk(app)
    await talk.say("go")

    answer, error = await talk.answers()
    assert answer["content"] == "so far"
    assert error["role"] == "error"
    assert "secret detail" not in error["content"]
    assert await talk.outcome() == "failed"


async def test_a_sequence_token_replaces_the_text(stage: Stage, app: Registry) -> None:
    @cl.on_message
    async def reply() -> None:
        answer = cl.Message()
        await answer.stream_token("draft one")
        await answer.stream_token("draft two", is_sequence=True)
        await answer.stream_token(", continued")
        await answer.send()

    talk = await stage.talk(app)
    await talk.say("go")

    [answer] = await talk.answers()
    assert answer["content"] == "draft two, continued"
    assert streamed(await talk.events(), answer["id"]) == "draft two, continued"


async def test_content_assigned_between_tokens_reaches_clients_in_order(
    stage: Stage, app: Registry
) -> None:
    @cl.on_message
    async def reply() -> None:
        answer = cl.Message()
        await answer.stream_token("one ")
        answer.content = "ONE "
        await answer.stream_token("two")
        answer.content += "!"
        await answer.send()

    talk = await stage.talk(app)
    await talk.say("go")

    [answer] = await talk.answers()
    [done] = of_type(await talk.events(), "message:done")
    assert answer["content"] == "ONE two!"
    assert streamed(await talk.events(), answer["id"]) == "ONE two!"
    assert (done.data["length"], done.data["hash"]) == digest("ONE two!")


async def test_update_sends_only_what_changed(stage: Stage, app: Registry) -> None:
    @cl.on_message
    async def reply() -> None:
        answer = await cl.Message(content="before").send()
        answer.content = "after"
        await answer.update()
        await answer.update()

    talk = await stage.talk(app)
    await talk.say("go")

    [answer] = await talk.answers()
    updates = of_type(await talk.events(), "message:update")
    assert [event.data for event in updates] == [{"id": answer["id"], "content": "after"}]


async def test_a_removed_message_is_gone_even_while_it_streams(stage: Stage, app: Registry) -> None:
    @cl.on_message
    async def reply() -> None:
        answer = cl.Message()
        await answer.stream_token("never mind")
        await answer.remove()

    talk = await stage.talk(app)
    await talk.say("go")

    types = [event.type for event in await talk.events()]
    assert await talk.answers() == []
    assert types.index("message:delta") < types.index("message:delete")
    assert "message:done" not in types


async def test_half_a_surrogate_pair_does_not_break_the_answer(stage: Stage, app: Registry) -> None:
    @cl.on_message
    async def reply() -> None:
        answer = cl.Message()
        await answer.stream_token("a\ud83d")
        await answer.stream_token("b")
        await answer.send()

    talk = await stage.talk(app)
    await talk.say("go")

    [answer] = await talk.answers()
    assert answer["content"] == "a\ufffdb"


async def test_values_and_code_are_shown_as_code_blocks(stage: Stage, app: Registry) -> None:
    @cl.on_message
    async def reply() -> None:
        await cl.Message(content={"a": [1, 2]}).send()
        await cl.Message(content="print('```')", language="python").send()

    talk = await stage.talk(app)
    await talk.say("go")

    value, code = [answer["content"] for answer in await talk.answers()]
    assert value.startswith("```json\n{")
    assert '"a"' in value
    assert code == "````python\nprint('```')\n````"


async def test_author_rename_changes_what_people_see(stage: Stage, app: Registry) -> None:
    @cl.author_rename
    def rename(author: str) -> str:
        return {"Bot": "Albert"}.get(author, author)

    @cl.on_message
    async def reply() -> None:
        await cl.Message(content="hi", author="Bot").send()

    talk = await stage.talk(app)
    await talk.say("go")

    assert (await talk.answers())[0]["author"]["name"] == "Albert"


async def test_an_error_message_does_not_end_the_run(stage: Stage, app: Registry) -> None:
    @cl.on_message
    async def reply() -> None:
        await cl.ErrorMessage("the printer is on fire").send()
        await cl.Message("but I go on").send()

    talk = await stage.talk(app)
    await talk.say("go")

    error, message = await talk.answers()
    assert (error["role"], message["content"]) == ("error", "but I go on")
    assert await talk.outcome() == "completed"


async def test_a_task_that_outlives_its_run_still_reaches_the_conversation(
    stage: Stage, app: Registry
) -> None:
    later = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def report() -> None:
        await later.wait()
        answer = cl.Message()
        await answer.stream_token("and ")
        await answer.stream_token("finally")
        await answer.send()

    @cl.on_message
    async def reply() -> None:
        tasks.append(asyncio.create_task(report()))

    talk = await stage.talk(app)
    await talk.say("go")
    later.set()
    await tasks[0]

    [answer] = await talk.answers()
    assert answer["content"] == "and finally"
    assert answer["streaming"] is False


async def test_a_task_of_a_stopped_run_stays_silent(stage: Stage, app: Registry) -> None:
    tasks: list[asyncio.Task[None]] = []
    later, running = asyncio.Event(), asyncio.Event()

    async def report() -> None:
        await later.wait()
        await cl.Message("nobody wants to hear this").send()

    @cl.on_message
    async def reply() -> None:
        tasks.append(asyncio.create_task(report()))
        running.set()
        await asyncio.Event().wait()

    talk = await stage.talk(app)
    await talk.command("message:send", content="go")
    await running.wait()
    await talk.command("run:stop")
    later.set()

    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert await talk.answers() == []


async def test_two_people_at_once_do_not_mix(stage: Stage, app: Registry) -> None:
    @cl.on_message
    async def reply(message: cl.Message) -> None:
        user = cl.context.session.user
        assert user is not None
        answer = cl.Message()
        for word in message.content.split():
            await answer.stream_token(f"{user.name}:{word} ")
        await answer.send()

    ann = await stage.talk(app)
    bob = Talk(ann.node, user=cl.User("bob", "Bob").to_core())
    await bob.open()
    await asyncio.gather(ann.say("one two three"), bob.say("four five six"))

    assert (await ann.answers())[0]["content"] == "Ann:one Ann:two Ann:three "
    assert (await bob.answers())[0]["content"] == "Bob:four Bob:five Bob:six "


async def test_two_tasks_that_begin_one_message_show_it_once(stage: Stage, app: Registry) -> None:
    @cl.on_message
    async def reply() -> None:
        answer = cl.Message()
        await asyncio.gather(answer.stream_token("a"), answer.stream_token("b"))
        await answer.send()

    talk = await stage.talk(app)
    await talk.say("go")

    [answer] = await talk.answers()
    shown = [e for e in of_type(await talk.events(), "message") if e.data["id"] == answer["id"]]
    assert sorted(answer["content"]) == ["a", "b"]
    assert len(shown) == 1


async def test_a_text_over_the_limit_is_refused_and_what_came_before_stays(
    stage: Stage, app: Registry
) -> None:
    @cl.on_message
    async def reply() -> None:
        answer = cl.Message()
        await answer.stream_token("begin")
        await answer.stream_token("x" * 1_000_000)

    talk = await stage.talk(app)
    await talk.say("go")

    answer, error = await talk.answers()
    assert answer["content"] == "begin"
    assert error["data"]["code"] == "too_large"


async def test_changing_a_persons_message_leaves_its_author(stage: Stage, app: Registry) -> None:
    @cl.author_rename
    def rename(author: str) -> str:
        return author + "!"

    @cl.on_message
    async def reply(message: cl.Message) -> None:
        message.metadata["checked"] = True
        await message.update()
        answer = await cl.Message("one").send()
        answer.content = "two"
        await answer.update()

    talk = await stage.talk(app)
    await talk.say("go")

    question, answer = (await talk.state()).messages.values()
    assert question["author"] == {"id": "ann", "name": "Ann"}
    assert question["data"]["metadata"] == {"checked": True}
    assert answer["author"]["name"] == "Assistant!"


async def test_a_handler_that_swallows_the_stop_cannot_stream_on(
    stage: Stage, app: Registry
) -> None:
    halfway = asyncio.Event()

    @cl.on_message
    async def reply() -> None:
        answer = cl.Message()
        await answer.stream_token("before")
        halfway.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await answer.stream_token(" and after")

    talk = await stage.talk(app)
    await talk.command("message:send", content="go")
    await halfway.wait()
    await talk.command("run:stop")

    assert [answer["content"] for answer in await talk.answers()] == ["before"]
    assert await talk.outcome() == "stopped"


async def test_a_handler_may_say_a_last_word_when_it_is_stopped(
    stage: Stage, app: Registry
) -> None:
    halfway = asyncio.Event()

    @cl.on_message
    async def reply() -> None:
        answer = cl.Message()
        try:
            await answer.stream_token("half")
            halfway.set()
            await asyncio.Event().wait()
        finally:
            answer.content += " (cut short)"
            await answer.update()

    talk = await stage.talk(app)
    await talk.command("message:send", content="go")
    await halfway.wait()
    await talk.command("run:stop")

    [answer] = await talk.answers()
    assert (answer["content"], answer["streaming"]) == ("half (cut short)", False)


async def test_a_message_closed_by_the_end_of_its_run_can_be_changed_later(
    stage: Stage, app: Registry
) -> None:
    kept: list[cl.Message] = []

    @cl.on_message
    async def reply(message: cl.Message) -> None:
        if not kept:
            kept.append(cl.Message())
            await kept[0].stream_token("first")
        elif message.content == "same":
            await kept[0].update()
        else:
            kept[0].content = "changed"
            await kept[0].update()

    talk = await stage.talk(app)
    await talk.say("go")
    await talk.say("same")
    updates_before = of_type(await talk.events(), "message:update")
    await talk.say("change")

    [answer] = await talk.answers()
    assert updates_before == []
    assert answer["content"] == "changed"
