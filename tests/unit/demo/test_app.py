"""The demo's conversation, command by command, through real runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import parlour as cl
from parlour.chat.registry import MODULE_REGISTRY
from parlour.demo import app as demo
from parlour.testing.pilot import Talk
from tests.model_endpoint import endpoint, piece
from tests.unit.chat.conftest import Stage


async def demo_talk(stage: Stage, **settings: Any) -> Talk:
    return await stage.talk(getattr(demo, MODULE_REGISTRY), **settings)


async def test_it_greets_nobody_and_answers_in_words(stage: Stage) -> None:
    talk = await demo_talk(stage)
    assert await talk.contents() == []

    await talk.say("What a <b>fine</b> day")

    [answer] = await talk.answers()
    assert "> What a <b>fine</b> day" in answer["content"]
    assert "6 words" in answer["content"]


async def test_each_showing_command_answers(stage: Stage) -> None:
    talk = await demo_talk(stage)
    for command in ("help", "table", "code", "markdown", "steps", "status", "file", "actions"):
        await talk.say(command)
        assert await talk.outcome() == "completed", command

    state = await talk.state()
    answers = await talk.answers()
    assert len(answers) == 8
    assert {step["status"] for step in state.steps.values()} == {"done"}
    assert [file["name"] for file in answers[-2]["files"]] == ["notes.md"]
    assert len(answers[-1]["actions"]) == 2


async def test_it_asks_offers_choices_and_reads_files(stage: Stage) -> None:
    talk = await demo_talk(stage)
    for command, answer in (
        ("ask", "blue"),
        ("choose", "tea"),
        ("upload", {"files": [await talk.upload("a.txt", b"first line\nsecond line")]}),
    ):
        await talk.command("message:send", content=command)
        ask = await talk.question()
        await talk.command("ask:answer", ask_id=ask["ask_id"], answer=answer)
        await talk.settle()

    contents = await talk.contents()
    assert "**Blue** it is, Ann." in contents
    assert "You chose **Tea**. It takes 4 minutes." in contents
    assert "first line\nsecond line" in contents[-1]
    assert "22 bytes" in contents[-1]


async def test_it_counts_and_talks_at_length(stage: Stage) -> None:
    talk = await demo_talk(stage)
    await talk.say("count to 5")
    await talk.say("long 100")

    count, long = await talk.answers()
    assert count["content"] == "1 2 3 4 5"
    assert len(long["content"].split()) == 100


async def test_it_remembers_a_name_per_conversation(stage: Stage) -> None:
    talk = await demo_talk(stage)
    await talk.say("my name is Grace Hopper.")
    await talk.say("who am I?")
    other = Talk(talk.node, talk.user, talk.session_id)
    await other.open()
    await other.say("who am I?")

    assert "**Grace Hopper**" in (await talk.contents())[-1]
    assert "no name yet" in (await other.contents())[-1]


async def test_an_error_is_shown_with_a_reference(stage: Stage) -> None:
    talk = await demo_talk(stage)
    await talk.say("error")

    said, error = await talk.answers()
    assert said["content"].startswith("I am about to fail.")
    assert error["role"] == "error"
    assert error["data"]["reference"] in error["content"]


async def test_the_chosen_style_and_name_are_used(stage: Stage) -> None:
    talk = await demo_talk(stage)
    await talk.command("settings:update", settings={"style": "Headlines only", "name": "Ann"})
    await talk.settle()
    await talk.say("one two three")
    await talk.say("hello")

    short, greeting = await talk.answers()
    assert short["content"].startswith("**3 words, message 1.**")
    assert greeting["content"].startswith("Hello, Ann!")


async def test_buttons_act_and_go_away(stage: Stage) -> None:
    talk = await demo_talk(stage)
    await talk.say("actions")
    [message] = await talk.answers()
    again, dismiss = message["actions"]
    await talk.command("action:call", action=again, message_id=message["id"])
    await talk.command("action:call", action=dismiss, message_id=message["id"])
    await talk.settle()

    first, second = await talk.answers()
    assert [action["name"] for action in first["actions"]] == ["demo_again"]
    assert second["actions"][0]["label"] == "Again (2)"


async def test_profiles_and_starters_are_offered() -> None:
    app = cl.load_app("parlour.demo.app")

    assert [profile["name"] for profile in await app.profiles(None)] == ["Everyday", "Concise"]
    assert len(await app.starters(None, None)) == 4


async def test_a_real_endpoint_is_streamed_with_the_history(stage: Stage) -> None:
    async with endpoint("200 OK", piece("Hel"), piece("lo"), "data: [DONE]\n\n") as (url, requests):
        talk = await demo_talk(stage, openai_base_url=url, openai_api_key="k", openai_model="m")
        await talk.say("first")
        await talk.say("second")

    assert [answer["content"] for answer in await talk.answers()] == ["Hello", "Hello"]
    assert b'"content":"first"' in requests[1]
    assert b'"content":"Hello"' in requests[1]
    assert b"Bearer k" in requests[0] or b"bearer k" in requests[0].lower()


async def test_an_endpoint_that_refuses_is_explained(stage: Stage) -> None:
    async with endpoint("401 Unauthorized", '{"error":{"message":"leaky detail"}}') as (url, _):
        talk = await demo_talk(stage, openai_base_url=url, openai_api_key="wrong")
        await talk.say("hello")

    [error] = await talk.answers()
    assert error["role"] == "error"
    assert "refused the key" in error["content"]
    assert "leaky" not in error["content"]


async def test_an_answer_that_breaks_off_keeps_what_came(stage: Stage) -> None:
    half = piece("half") + 'data: {"error":{"message":"overloaded"}}\n\n'
    async with endpoint("200 OK", half) as (url, _):
        talk = await demo_talk(stage, openai_base_url=url)
        await talk.say("hello")

    said, error = await talk.answers()
    assert (said["content"], said["streaming"]) == ("half", False)
    assert error["role"] == "error"


async def test_commands_still_work_beside_a_real_model(stage: Stage, tmp_path: Path) -> None:
    talk = await demo_talk(stage, openai_base_url="http://127.0.0.1:9/v1")
    await talk.say("/count to 3")

    assert (await talk.contents())[-1] == "1 2 3"
