"""The demo's agent: a real task in its workspace, with a model that says what it was told beforehand.

It writes a small program and a test for it, runs the test, which fails, mends the program and runs the test again.
The commands are carried out; only the words are prepared. What somebody says in between goes into a note.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from parlour.agents import ToolAgent, register_agent, register_model
from parlour.agents.ports import Json, ModelAnswer, TokenUsage, ToolCall
from parlour.config import Settings
from parlour.demo.pace import Pace

NAME: Final = "demo"

PROGRAM: Final = '''\
"""Counts words."""


def count_words(text):
    """How often each word occurs, in lower case."""
    counts = {}
    for word in text.split(" "):
        counts[word] = counts.get(word, 0) + 1
    return counts
'''

TEST: Final = """\
import unittest

from words import count_words


class CountWords(unittest.TestCase):
    def test_words_are_counted_in_any_case(self):
        self.assertEqual(count_words("the cat and The dog")["the"], 2)

    def test_spaces_and_lines_do_not_count(self):
        self.assertEqual(count_words("  one\\n two  "), {"one": 1, "two": 1})


if __name__ == "__main__":
    unittest.main()
"""

CHECK: Final = "python3 -m unittest -v test_words"

STEPS: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    (
        "I begin with the program: a function that counts words.",
        "write",
        {"path": "words.py", "content": PROGRAM},
    ),
    (
        "Now a test that says what it should do.",
        "write",
        {"path": "test_words.py", "content": TEST},
    ),
    ("Let me see whether it does.", "run", {"command": CHECK}),
    (
        "It fails: case matters and empty pieces are counted. Lower-casing the text and splitting at any space mends "
        "both.",
        "edit",
        {
            "path": "words.py",
            "old": 'for word in text.split(" "):',
            "new": "for word in text.lower().split():",
        },
    ),
    ("The same test again.", "run", {"command": CHECK}),
)

REPORT: Final = (
    "`words.py` counts words in any case and at any space, and its two tests pass. The first version failed them; the "
    "difference is in the edit above."
)


@dataclass(frozen=True, slots=True)
class DemoModel:
    """Deterministic: what it says next follows from how many steps of the task have been done."""

    pace: Pace

    async def complete(
        self,
        messages: Sequence[Json],
        tools: Sequence[Json] = (),
        *,
        on_delta: Callable[[str], None] | None = None,
    ) -> ModelAnswer:
        text, name, arguments = _next(messages)
        async for piece in self.pace.speak(_pieces(text)):
            if on_delta is not None:
                on_delta(piece)
        usage = TokenUsage(sum(len(str(m.get("content"))) for m in messages) // 4, len(text) // 4)
        done = sum(1 for message in messages if message["role"] == "tool")
        call = ToolCall(f"demo-{done}", name, {"thought": text, **arguments})
        if name == "finish":
            call = ToolCall(f"demo-{done}", name, arguments)
        return ModelAnswer(text, (call,), usage, usage.completion * 1e-6)


def _pieces(text: str) -> list[str]:
    return [f"{word} " for word in text.split()]


def _next(messages: Sequence[Json]) -> tuple[str, str, dict[str, Any]]:
    """The next step: something that a person said since the last one comes first."""
    called = [_called(message) for message in messages if message.get("tool_calls")]
    said = [str(m["content"]) for m in messages if m["role"] == "user"]
    noted = sum(1 for name, path in called if (name, path) == ("write", "NOTES.md"))
    if len(said) - 1 > noted:
        notes = "".join(f"- {text}\n" for text in said[1:])
        return "I keep in mind what you said.", "write", {"path": "NOTES.md", "content": notes}
    done = len(called) - noted - sum(1 for name, _ in called if name == "finish")
    if done < len(STEPS):
        return STEPS[done]
    return (
        REPORT,
        "finish",
        {"content": REPORT, "outputs": {"files": ["words.py", "test_words.py"]}},
    )


def _called(message: Json) -> tuple[str, str]:

    function = message["tool_calls"][0]["function"]
    arguments = function["arguments"]
    given = orjson.loads(arguments) if isinstance(arguments, str) else arguments
    return str(function["name"]), str(given.get("path", ""))


def _make(settings: Settings) -> DemoModel:
    return DemoModel(Pace(settings.demo_tokens_per_second))


def install() -> None:
    """Make the agent and its model known."""
    register_agent(NAME, ToolAgent())
    register_model(NAME, _make)
