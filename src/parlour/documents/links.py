"""Which addresses may stand in a rendered note."""

from __future__ import annotations

import re
from typing import Final

_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_LINKS: Final = frozenset({"http", "https", "mailto", "tel"})
_IMAGES: Final = frozenset({"http", "https"})
_IGNORED: Final = re.compile(r"[\x00-\x20\x7f-\x9f\u200b-\u200f\u2028-\u202e\ufeff]")
"""What browsers leave out when they look for the scheme, and what only hides it."""


def safe_link(address: object) -> str | None:
    """An address that may be followed; None for one that could run something."""
    return _safe(address, _LINKS)


def safe_image(address: object) -> str | None:
    """An address that may be shown as a picture: by reference, never the data itself."""
    return _safe(address, _IMAGES)


def _safe(address: object, schemes: frozenset[str]) -> str | None:
    if not isinstance(address, str) or len(address) > 4000:
        return None
    address = _IGNORED.sub("", address)
    found = _SCHEME.match(address)
    if found is not None and found[1].lower() not in schemes:
        return None
    return address or None
