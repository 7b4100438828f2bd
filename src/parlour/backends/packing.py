"""Bytes that are kept for long, compressed where that helps."""

from __future__ import annotations

from typing import Final

import zstandard

_PLAIN: Final = b"\0"
_ZSTD: Final = b"\1"
_LEVEL: Final = 3
_SMALL: Final = 200
"""Below this many bytes nothing is gained."""


def pack(data: bytes) -> bytes:
    """What `unpack` gives back; the first byte says how."""
    if len(data) >= _SMALL:
        packed = zstandard.ZstdCompressor(level=_LEVEL).compress(data)
        if len(packed) < len(data):
            return _ZSTD + packed
    return _PLAIN + data


def unpack(packed: bytes) -> bytes:
    """Raises ValueError for what `pack` did not make."""
    if packed[:1] == _PLAIN:
        return packed[1:]
    if packed[:1] != _ZSTD:
        raise ValueError("unknown packing")
    try:
        return zstandard.ZstdDecompressor().decompress(packed[1:])
    except zstandard.ZstdError as error:
        raise ValueError("damaged") from error
