"""Compressed records: what goes into Redis is smaller than what the log hands over.

A record begins with `[` when it is plain JSON and with zstd's magic number when it is compressed,
so both can stand side by side. The figures behind the threshold are in
docs/decisions/redis-records.md.
"""

from __future__ import annotations

import threading

import zstandard

COMPRESS_FROM = 400
"""Records of at least so many bytes are compressed; smaller ones gain nothing."""

_LEVEL = 3
_MAGIC = b"\x28\xb5\x2f\xfd"
_local = threading.local()


def pack(record: bytes) -> bytes:
    """Compress where it pays."""
    if len(record) < COMPRESS_FROM:
        return record
    packed = _compressor().compress(record)
    return packed if len(packed) < len(record) else record


def unpack(packed: bytes) -> bytes:
    """Undo `pack`. Raises `zstandard.ZstdError` for a damaged record."""
    if not packed.startswith(_MAGIC):
        return packed
    return _decompressor().decompress(packed)


def _compressor() -> zstandard.ZstdCompressor:
    # A compressor must not be shared by threads; making one costs more than using it.
    if not hasattr(_local, "compressor"):
        _local.compressor = zstandard.ZstdCompressor(level=_LEVEL)
    found: zstandard.ZstdCompressor = _local.compressor
    return found


def _decompressor() -> zstandard.ZstdDecompressor:
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    found: zstandard.ZstdDecompressor = _local.decompressor
    return found
