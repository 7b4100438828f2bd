"""Secrets are masked in everything that leaves an agent: stored events, what is derived from them, signals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

MASK: Final = "<secret>"

SHORTEST: Final = 3
"""Values below this length are not masked: they stand in ordinary text everywhere."""


class Secrets:
    """A set of values that nobody may read."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.longest = 0
        self.add(values)

    def add(self, values: Iterable[str]) -> None:
        self._values |= {value for value in values if len(value) >= SHORTEST}
        # The longest first: a secret that is part of another one must not leave the rest of it in sight.
        ordered = sorted(self._values, key=len, reverse=True)
        self.longest = len(ordered[0]) if ordered else 0
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def mask_text(self, text: str) -> str:
        return text if self._pattern is None else self._pattern.sub(MASK, text)

    def mask(self, value: Any) -> Any:
        """The value with every text in it masked: in lists, in objects, also in their keys."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self.mask_text(value)
        if isinstance(value, Mapping):
            return {self.mask(key): self.mask(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.mask(item) for item in value]
        return value


class MaskedText:
    """Masks a text that comes in pieces: what may be the beginning of a secret waits for the next piece."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._held = ""

    def feed(self, piece: str) -> str:
        """What can be shown now."""
        keep = max(0, self._secrets.longest - 1)
        text = self._secrets.mask_text(self._held + piece)
        if keep == 0:
            return text
        shown = text[:-keep]
        self._held = text[-keep:]
        return shown

    def rest(self) -> str:
        """What was held back; nothing comes after it."""
        held, self._held = self._secrets.mask_text(self._held), ""
        return held
