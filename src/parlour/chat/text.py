"""Making any value readable, within bounds."""

from __future__ import annotations

from typing import Any, Final

import orjson

MAX_CHARACTERS: Final = 20_000
"""Longest input or output of a step that is kept; the rest belongs into a file."""

_OPTIONS = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY


def clean(text: str) -> str:
    """Text that UTF-8 can carry: half of a surrogate pair becomes U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def bound(text: str, limit: int = MAX_CHARACTERS) -> str:
    """At most `limit` characters and a note of how many are missing."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n… ({len(text) - limit} more characters)"


def as_json(value: Any) -> str:
    """Indented JSON; what JSON does not know is shown by `repr`, deep or circular values as a
    whole."""
    try:
        return orjson.dumps(value, default=repr, option=_OPTIONS).decode()
    except (TypeError, ValueError, RecursionError):
        return repr(value)


def readable(value: Any) -> tuple[str, str | None]:
    """A value as text and, where it is not plain text, its language (`json`)."""
    if value is None:
        return "", None
    if isinstance(value, str):
        return clean(value), None
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>", None
    return clean(as_json(value)), "json"


def fenced(code: str, language: str) -> str:
    """A Markdown code block; the fence is longer than any inside."""
    fence = "```"
    while fence in code:
        fence += "`"
    return f"{fence}{language}\n{code}\n{fence}"
