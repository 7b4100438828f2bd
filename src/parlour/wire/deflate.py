"""permessage-deflate (RFC 7692), the server's side, without context takeover in either direction.

Each message is compressed by itself: so a broadcast is compressed once for everybody, a connection
keeps neither a window (32 KiB) nor a compressor (256 KiB), and what one message holds cannot be
guessed from the length of the next. That costs some compression of small messages, which are sent
as they are."""

from __future__ import annotations

import re
import zlib
from typing import Final

EXTENSION: Final = "permessage-deflate"
ACCEPTED: Final = f"{EXTENSION}; server_no_context_takeover; client_no_context_takeover"
"""The answer to an acceptable offer."""

WORTH_IT: Final = 256
"""Bytes below which a message is sent as it is."""

_WINDOW_BITS: Final = -15
"""Raw deflate, whole window."""

_TAIL: Final = b"\x00\x00\xff\xff"
_WORD: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PARAMETER: Final = re.compile(rf'({_WORD})(?:\s*=\s*(?:({_WORD})|"({_WORD})"))?\Z')
_FLAGS: Final = frozenset({"server_no_context_takeover", "client_no_context_takeover"})


def accepts(offers: str) -> bool:
    """Whether a `Sec-WebSocket-Extensions` header has an offer that `ACCEPTED` answers. An offer with
    anything that is not understood is declined, as the RFC wants it."""
    return any(_acceptable(offer) for offer in offers.split(","))


def _acceptable(offer: str) -> bool:
    name, *parameters = (part.strip() for part in offer.split(";"))
    if name.lower() != EXTENSION:
        return False
    seen: set[str] = set()
    for parameter in parameters:
        found = _PARAMETER.match(parameter)
        if found is None or found[1] in seen:
            return False
        seen.add(found[1])
        if not _known(found[1], found[2] or found[3]):
            return False
    return True


def _known(name: str, value: str | None) -> bool:
    if name in _FLAGS:
        return value is None
    if name == "client_max_window_bits":
        # What the client could do with less; it may go on using the whole window.
        return value is None or _bits(value)
    # A smaller window for us would need another compression of every broadcast.
    return name == "server_max_window_bits" and value == "15"


def _bits(value: str) -> bool:
    return value in {"8", "9", "10", "11", "12", "13", "14", "15"}


def compress(message: bytes) -> bytes:
    """The payload of a compressed message."""
    compressor = zlib.compressobj(wbits=_WINDOW_BITS)
    body = compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return body.removesuffix(_TAIL)


def decompress(payload: bytes, limit: int) -> bytes | None:
    """The message in a payload; None where it has more than `limit` bytes, of which no more are
    made. Raises ValueError for what is not deflate."""
    inflater = zlib.decompressobj(_WINDOW_BITS)
    try:
        message = inflater.decompress(payload + _TAIL, limit + 1)
    except zlib.error as error:
        raise ValueError("not deflate") from error
    return message if len(message) <= limit else None
