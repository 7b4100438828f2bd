"""Which values survive a restart: those that JSON gives back exactly as they were."""

from __future__ import annotations

import hashlib
import math
from typing import Any, Final

import orjson

MAX_DEPTH: Final = 64
"""Deeper nesting (or a cycle) counts as not storable."""

_MAX_INTEGER: Final = 2**63


def is_storable(value: Any, depth: int = MAX_DEPTH) -> bool:
    """Whether JSON gives back exactly this value. A tuple, a date, NaN or a subclass of `dict`
    would come back as something else, so they are not; nothing ever turns to null silently."""
    kind = type(value)
    if value is None or kind is bool:
        return True
    if kind is str:
        return _is_unicode(value)
    if kind is int:
        return bool(-_MAX_INTEGER <= value < _MAX_INTEGER)
    if kind is float:
        return math.isfinite(value)
    if depth == 0:
        return False
    if kind is list:
        return all(is_storable(item, depth - 1) for item in value)
    if kind is dict:
        return all(
            type(name) is str and is_storable(name) and is_storable(item, depth - 1)
            for name, item in value.items()
        )
    return False


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def fingerprint(value: Any) -> str | None:
    """Changes when a storable value changes; None for one that is not storable."""
    if not is_storable(value):
        return None
    return hashlib.blake2b(orjson.dumps(value), digest_size=16).hexdigest()
