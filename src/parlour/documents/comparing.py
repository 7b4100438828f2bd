"""What leads from one sequence to another, in bounded time.

`difflib` is quadratic and worse where much repeats. What both have at their beginning and at their end
is taken off first; what is left is compared closely only while it is small.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any, Final

Wire = dict[str, Any]
_WORDS: Final = re.compile(r"\s+|[^\s]+")

Change = tuple[str, int, int, int, int]
"""`(equal | replace | delete | insert, i, j, k, m)`: old[i:j] becomes new[k:m]."""

CELLS: Final = 250_000
"""Length times length up to which two sequences are compared closely."""


def changes_between(old: Sequence[Any], new: Sequence[Any]) -> list[Change]:
    """In order, and together all of both sequences."""
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    i, k = len(old) - end, len(new) - end
    found: list[Change] = [("equal", 0, start, 0, start)] if start else []
    found += _between(old, new, start, i, k)
    if end:
        found.append(("equal", i, len(old), k, len(new)))
    return found


def _between(old: Sequence[Any], new: Sequence[Any], start: int, i: int, k: int) -> list[Change]:
    """The part between what both begin and end with."""
    if start == i and start == k:
        return []
    if start == i:
        return [("insert", i, i, start, k)]
    if start == k:
        return [("delete", start, i, k, k)]
    if (i - start) * (k - start) > CELLS:
        return [("replace", start, i, start, k)]
    close = SequenceMatcher(None, old[start:i], new[start:k], autojunk=False)
    return [
        (kind, start + a, start + b, start + c, start + d)
        for kind, a, b, c, d in close.get_opcodes()
    ]


# -- texts -------------------------------------------------------------------------------------------


def compare_texts(old: str, new: str) -> list[Wire]:
    """`{op, text}` in order, by lines, and by words within lines that changed."""
    changes: list[Wire] = []
    old_lines, new_lines = old.splitlines(keepends=True), new.splitlines(keepends=True)
    for kind, i, j, k, m in changes_between(old_lines, new_lines):
        before, after = "".join(old_lines[i:j]), "".join(new_lines[k:m])
        if kind == "replace":
            changes += _compare_words(before, after)
        else:
            changes += _compared(kind, before, after)
    return _joined_changes(changes)


def _compare_words(old: str, new: str) -> list[Wire]:
    before, after = _WORDS.findall(old), _WORDS.findall(new)
    found: list[Wire] = []
    for kind, i, j, k, m in changes_between(before, after):
        found += _compared(kind, "".join(before[i:j]), "".join(after[k:m]))
    return found


def _compared(kind: str, before: str, after: str) -> list[Wire]:
    if kind == "equal":
        return [{"op": "equal", "text": before}]
    parts = [("delete", before), ("insert", after)]
    return [{"op": op, "text": text} for op, text in parts if text]


def _joined_changes(changes: list[Wire]) -> list[Wire]:
    found: list[Wire] = []
    for change in changes:
        if found and found[-1]["op"] == change["op"]:
            found[-1]["text"] += change["text"]
        else:
            found.append(dict(change))
    return found
