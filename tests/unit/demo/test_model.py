"""The local model: deterministic, whole, and at the pace that was asked for."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parlour.demo.commands import find_command
from parlour.demo.model import STYLES, LocalModel, compose, ramble, tokenise
from parlour.demo.pace import Pace


class Hours:
    """A clock that moves only when somebody sleeps, or when told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds


@given(st.text())
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(tokenise(text)) == text


@pytest.mark.parametrize("style", STYLES.values())
@given(prompt=st.text())
def test_the_same_conversation_gets_the_same_answer(style: str, prompt: str) -> None:
    turns = [{"role": "user", "content": prompt}]

    assert compose(turns, style) == compose(turns, style) != ""


@pytest.mark.parametrize("tokens", [1, 2, 71, 72, 73, 400])
def test_a_long_answer_has_as_many_tokens_as_asked(tokens: int) -> None:
    pieces = list(ramble(tokens))

    text = "".join(pieces)
    assert len(pieces) == tokens == len(text.split())
    assert text.endswith(".")
    assert text == text.strip()


async def test_the_pace_is_held_and_lateness_is_not_added() -> None:
    hours = Hours()
    pace = Pace(10, hours.sleep, hours.monotonic)
    spoken = []
    async for token in pace.speak("abcde"):
        spoken.append(token)
        hours.now += 0.03 if token == "b" else 0

    assert spoken == list("abcde")
    assert hours.slept == [0.1, 0.07, 0.1, 0.1]


async def test_after_a_pause_nothing_comes_in_a_burst() -> None:
    hours = Hours()
    pace = Pace(10, hours.sleep, hours.monotonic)
    async for token in pace.speak("abcd"):
        hours.now += 60 if token == "a" else 0

    assert sum(hours.slept) >= 0.1


async def test_at_full_speed_nobody_sleeps() -> None:
    hours = Hours()
    model = LocalModel(Pace(0, hours.sleep, hours.monotonic))

    answer = "".join([token async for token in model.answer([{"role": "user", "content": "hi"}])])

    assert answer.startswith("Hello!")
    assert hours.slept == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("help", True),
        ("/HELP", True),
        (" long 50 ", True),
        ("count to 7", True),
        ("remember my name Ann", True),
        ("my name is Ann", True),
        ("please help me with my homework", False),
        ("longing", False),
        ("", False),
    ],
)
def test_commands_are_found_by_their_words(text: str, found: bool) -> None:
    assert (find_command(text, slash_only=False) is not None) is found


def test_beside_a_real_model_only_slash_commands_count() -> None:
    assert find_command("help", slash_only=True) is None
    assert find_command("/help", slash_only=True) is not None


def test_every_command_of_the_help_text_exists() -> None:
    from parlour.demo.texts import HELP

    words = [
        word
        for row in re.findall(r"^\| (`[^|]*) \|", HELP, re.M)
        for word in re.findall(r"`([^`]+)`", row)
    ]
    missing = [word for word in words if not find_command(word, slash_only=False)]

    assert len(words) >= 12
    assert missing == []
