"""The local model: deterministic, needs no key and no network, and speaks token by token.

It does not think. It answers in whole sentences about what was written to it, which is enough to
see how streaming, stopping and resuming behave.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from parlour.demo.pace import Pace

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

    def answer(self, turns: Sequence[Turn]) -> AsyncIterator[str]:
        """The answer to the last turn, in pieces."""
        ...


@dataclass(frozen=True, slots=True)
class LocalModel:
    """The model that is built in."""

    pace: Pace
    style: str = "sentences"
    name: str | None = None

    def answer(self, turns: Sequence[Turn]) -> AsyncIterator[str]:
        return self.say(compose(turns, self.style, self.name))

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

_PROSE: Final = (
    "a stream is a numbered sequence of events and a reader who comes back continues where it stood "
    "every token that you see was appended first and sent second so nothing shown can vanish "
    "close this page in the middle of an answer and open it again the answer will be there "
    "and go on from the very next word press stop and what was said until then stays "
    "while the rest is never made"
)
_VOCABULARY: Final = _PROSE.split()

SENTENCE: Final = 12
"""Words."""

PARAGRAPH: Final = 72
"""Words; whole sentences."""


def ramble(tokens: int) -> Iterator[str]:
    """A long text of exactly `tokens` tokens, in sentences and paragraphs, the same each time."""
    for index in range(tokens):
        last = index == tokens - 1
        word = _VOCABULARY[(index * 7 + index // len(_VOCABULARY)) % len(_VOCABULARY)]
        text = word.capitalize() if index % SENTENCE == 0 else word
        if last or index % SENTENCE == SENTENCE - 1:
            text += "."
        yield text if last else text + ("\n\n" if index % PARAGRAPH == PARAGRAPH - 1 else " ")
