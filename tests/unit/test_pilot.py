"""The pilot: what app authors test with."""

from __future__ import annotations

from pathlib import Path

import pytest

from parlour.chat.loading import AppLoadError
from parlour.errors import NotFound
from parlour.testing import pilot as module
from parlour.testing.pilot import pilot

EXAMPLES = Path(__file__).parents[2] / "examples"


async def test_saying_gives_back_what_the_app_answered() -> None:
    async with pilot(EXAMPLES / "streaming.py") as node:
        talk = await node.open("ann")
        first = await talk.say("one two")
        second = await talk.say("three")

    assert [len(first), len(second)] == [1, 1]
    assert second[0]["content"].startswith("You wrote 1 words.")


async def test_a_greeting_that_asks_is_answered_by_the_next_message() -> None:
    async with pilot(EXAMPLES / "names.py") as node:
        talk = await node.open("ann")
        asked = (await talk.question())["content"]
        [hello] = await talk.say("Ann")

    assert asked == "Hello! What's your name?"
    assert hello["content"] == "Nice to meet you, Ann!"


async def test_choices_buttons_and_unknown_buttons() -> None:
    async with pilot(EXAMPLES / "ask_actions.py") as node:
        talk = await node.open()
        assert await talk.say("tea") != []
        await talk.answer("order")
        await talk.press("again")
        contents = await talk.contents()
        with pytest.raises(NotFound, match="again"):
            await talk.press("again")

    assert contents[-2:] == ["Ordered: **tea**", "Ordered again: **tea**"]


async def test_settings_profiles_environment_and_two_people() -> None:
    async with pilot(EXAMPLES / "settings_and_profiles.py") as node:
        ann = await node.open("ann", chat_profile="Counter")
        bob = await node.open("bob")
        settings = await bob.change_settings(tone="Brisk")
        [to_ann] = await ann.say("hello")
        [to_bob] = await bob.say("hello")
    async with pilot(EXAMPLES / "session_context.py") as node:
        key = await node.open("ann", user_env={"OPENAI_API_KEY": "k"}, role="anonymous")
        answers = await key.say("hi")

    assert settings["tone"] == "Brisk"
    assert to_ann["content"] == "Dear friend, 5 letters"
    assert to_bob["content"] == "Hey, hello"
    assert "user Anonymous" in answers[0]["content"]
    assert answers[1]["content"] == "Found your API key!"


async def test_steps_outcome_and_stop(tmp_path: Path) -> None:
    async with pilot(EXAMPLES / "steps.py", folder=tmp_path) as node:
        talk = await node.open()
        with pytest.raises(NotFound):
            await talk.outcome()
        await talk.say("a question")
        steps = [step["name"] for step in await talk.steps()]
        stopped = await talk.stop()
        outcome = await talk.outcome()

    assert steps == ["Think", "Look it up", "Measure"]
    assert (stopped, outcome) == (False, "completed")


async def test_a_kept_folder_is_a_restart(tmp_path: Path) -> None:
    async with pilot(EXAMPLES / "names.py", folder=tmp_path) as node:
        before = await node.open("ann")
        await before.say("Ann")
    async with pilot(EXAMPLES / "names.py", folder=tmp_path) as node:
        after = await node.open("ann", thread_id=before.thread_id, session_id=before.session_id)
        [answer] = await after.say("hello")
        values = await after.session_values()

    assert answer["content"] == "Ann, you said: hello"
    assert values == {"user_name": "Ann"}


async def test_waiting_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async with pilot("parlour.demo.app") as node:
        talk = await node.open()
        monkeypatch.setattr(module, "PATIENCE", 0.05)
        with pytest.raises(TimeoutError):
            await talk.question()


async def test_an_app_that_cannot_be_loaded_says_so() -> None:
    with pytest.raises(AppLoadError):
        async with pilot("no_such_file.py"):
            pass
