"""The local model: deterministic, needs no key and no network, and speaks token by token.

It does not think. It answers in whole sentences about what was written to it, which is enough to
see how streaming, stopping and resuming behave.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from parlour.demo.pace import Pace
from parlour.demo.texts import PROSE

Turn = Mapping[str, str]
"""`{"role": …, "content": …}`, as chat completions take it."""

_TOKEN = re.compile(r"\s*\S{1,6}|\s+\Z")
_WORD = re.compile(r"\w+")
_GREETING = re.compile(r"(hi|hello|hey|good (morning|afternoon|evening))\b", re.IGNORECASE)
_THANKS = re.compile(r"(thanks|thank you|cheers)\b", re.IGNORECASE)

STYLES: Final = {
    "Full sentences": "sentences",
    "Bullet points": "bullets",
    "Headlines only": "headlines",
}


class Model(Protocol):
    """Something that continues a conversation."""

    @property
    def label(self) -> str:
        """What the model is called where models in use are listed."""
        ...

    def answer(self, turns: Sequence[Turn]) -> AsyncIterator[str]:
        """The answer to the last turn, in pieces."""
        ...


@dataclass(frozen=True, slots=True)
class LocalModel:
    """The model that is built in."""

    pace: Pace
    style: str = "sentences"
    name: str | None = None
    label: str = "built-in"

    def answer(self, turns: Sequence[Turn]) -> AsyncIterator[str]:
        return self.say(compose(turns, self.style, self.name))

    def faster(self, times: float) -> LocalModel:
        """The same model at a multiple of its pace."""
        pace = replace(self.pace, tokens_per_second=self.pace.tokens_per_second * times)
        return replace(self, pace=pace)

    def say(self, text: str) -> AsyncIterator[str]:
        """Speak a text that is already written."""
        return self.pace.speak(tokenise(text))


def tokenise(text: str) -> Iterator[str]:
    """Cut a text into pieces of a few letters; joined again they are the text."""
    end = 0
    for match in _TOKEN.finditer(text):
        end = match.end()
        yield match[0]
    if end < len(text):
        yield text[end:]


def compose(turns: Sequence[Turn], style: str = "sentences", name: str | None = None) -> str:
    """What the model answers to the last turn; the same for the same conversation."""
    said = [turn["content"] for turn in turns if turn["role"] == "user"] or [""]
    prompt = said[-1].strip()
    address = f", {name}" if name else ""
    if _GREETING.match(prompt):
        return f"Hello{address}! Type `help` to see what I can show you, or just write something."
    if _THANKS.match(prompt):
        return f"You are welcome{address}."
    return _STYLE[style](Remark(prompt, len(said), address))


@dataclass(frozen=True, slots=True)
class Remark:
    """What there is to say about a message."""

    prompt: str
    number: int
    address: str
    words: list[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", _WORD.findall(self.prompt))

    @property
    def quote(self) -> str:
        """The message as a Markdown quotation, shortened."""
        text = self.prompt if len(self.prompt) <= 400 else self.prompt[:400].rstrip() + " …"
        return "\n".join(f"> {line}" for line in text.splitlines() or [""])

    @property
    def longest(self) -> str:
        return max(self.words, key=len, default="")

    @property
    def count(self) -> str:
        return f"{len(self.words)} word{'' if len(self.words) == 1 else 's'}"


_ABOUT: Final = (
    "I am the small model inside Parlour: I follow a few commands and otherwise talk about what you "
    "write. Start the demo with `OPENAI_API_KEY` or `OPENAI_BASE_URL` set, and a real model answers here."
)


def _sentences(remark: Remark) -> str:
    detail = f" The longest one is *{remark.longest}*." if len(remark.words) > 1 else ""
    return (
        f"You wrote{remark.address}:\n\n{remark.quote}\n\n"
        f"That is {remark.count}, in message {remark.number} of yours in this conversation.{detail}"
        f"\n\n{_ABOUT} Type `help` for the commands."
    )


def _bullets(remark: Remark) -> str:
    return (
        f"{remark.quote}\n\n- {remark.count}\n- message {remark.number} of this conversation\n"
        f"- longest word: *{remark.longest or '–'}*\n- commands: `help`"
    )


def _headlines(remark: Remark) -> str:
    return f"**{remark.count}, message {remark.number}.** Type `help` for the commands."


_STYLE: Final = {"sentences": _sentences, "bullets": _bullets, "headlines": _headlines}


def ramble(tokens: int) -> Iterator[str]:
    """A long text of exactly `tokens` words, each a token; the same each time."""
    words = [word for word in _WORDS if word]
    for index in range(tokens):
        word = words[index % len(words)]
        if index == tokens - 1:
            yield word.rstrip(".,:;\n") + "."
        else:
            yield word if word.endswith("\n") else word + " "


_WORDS: Final = PROSE.replace("\n\n", "\n\n ").replace(" \n", "\n").split(" ")
"""The words of the prose; the last one of a paragraph carries the break."""
