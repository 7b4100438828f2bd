"""How many tokens a text has, roughly.

Each service counts with a tokeniser of its own, so this is an estimate for budgets: never far too small for
code, prose in European languages or Chinese, which is what matters, since a budget that is passed costs a refused
request.
"""

from __future__ import annotations

import json
from typing import Final

from parlour.agents.ports import Json

LETTERS_PER_TOKEN: Final = 3.5
"""Of ASCII text; English prose has about 4.5, code about 3."""

PER_MESSAGE: Final = 6
"""Role and separators."""


def count_tokens(text: str) -> int:
    """An estimate; letters beyond ASCII count as a token each."""
    if text.isascii():
        return int(len(text) / LETTERS_PER_TOKEN) + (1 if text else 0)
    plain = sum(letter < "\x80" for letter in text)
    return int(plain / LETTERS_PER_TOKEN) + (len(text) - plain) + 1


def count_message(message: Json) -> int:
    """An estimate for one message of a conversation, with its calls."""
    content = message.get("content") or ""
    tokens = PER_MESSAGE + count_tokens(
        content if isinstance(content, str) else json.dumps(content)
    )
    for call in message.get("tool_calls") or ():
        function = call["function"]
        tokens += PER_MESSAGE + count_tokens(function["name"]) + count_tokens(function["arguments"])
    return tokens
