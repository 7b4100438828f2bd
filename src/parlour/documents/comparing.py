"""What leads from one sequence to another, in bounded time.

`difflib` is quadratic and worse where much repeats. What both have at their beginning and at their end
is taken off first; what is left is compared closely only while it is small.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any, Final

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
