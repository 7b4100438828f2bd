"""Compressed records: what goes into Redis is smaller than what the log hands over.

A record begins with `[` when it is plain JSON and with the number of a dictionary when it is
compressed with that, so all of them can stand side by side while nodes of two versions run. The
figures are in docs/decisions/redis-records.md.
"""

from __future__ import annotations

import threading
from typing import Final

import zstandard

COMPRESS_FROM: Final = 80
"""Records of at least so many bytes are compressed; smaller ones gain nothing."""

DICTIONARY: Final = 1

# What every event repeats: envelopes and field names, the most frequent ones last. A published
# dictionary never changes; a better one gets the next number, and old ones stay readable.
_DICTIONARIES: Final = {
    1: (
        b'{"id":"","text":""},"app",null]'
        b'["message:done",{"id":"","length":,"hash":""},1763640["status",{"text":""}'
        b'["step",{"id":"","name":"","type":"","parent_id":null,"run_id":"","input":"","output":"",'
        b'"status":"running","started_at":17636,"ended_at":null}'
        b'["run:started",{"run_id":"","by":{"id":"","name":""},"handler":"on_message"}'
        b'["run:ended",{"run_id":"","outcome":"completed"}'
        b'["message",{"id":"","role":"user","author":{"id":"","name":""},"content":"",'
        b'"created_at":1763640,"parent_id":null,"reply_to_id":null,"run_id":"","streaming":true,'
        b'"actions":[],"files":[{"id":"","name":"","mime":"image/png","size":,'
        b'"url":"/api/files/"}],"data":{}},1763640,"user:,"role":"assistant","author":null,'
        b'"content":""["message:delta",{"id":"","text":" '
    )
}

_LEVEL: Final = 1
_MARK: Final = bytes([DICTIONARY])


class _Codec(threading.local):
    """Compressors must not be shared by threads, and making one costs more than using it."""

    def __init__(self) -> None:
        self.dictionaries = {
            number: zstandard.ZstdCompressionDict(text, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
            for number, text in _DICTIONARIES.items()
        }
        newest = self.dictionaries[DICTIONARY]
        newest.precompute_compress(level=_LEVEL)
        self.compressor = zstandard.ZstdCompressor(level=_LEVEL, dict_data=newest)
        self.decompressors = {
            number: zstandard.ZstdDecompressor(dict_data=dictionary)
            for number, dictionary in self.dictionaries.items()
        }


_codec = _Codec()


def pack(record: bytes) -> bytes:
    """Compress where it pays."""
    if len(record) < COMPRESS_FROM:
        return record
    packed = _MARK + _codec.compressor.compress(record)
    return packed if len(packed) < len(record) else record


def unpack(packed: bytes) -> bytes:
    """Undo `pack`. Raises ValueError for a damaged record."""
    if packed[:1] == b"[":
        return packed
    decompressor = _codec.decompressors.get(packed[0]) if packed else None
    if decompressor is None:
        raise ValueError("a record of an unknown kind")
    try:
        return decompressor.decompress(packed[1:])
    except zstandard.ZstdError as error:
        raise ValueError("a damaged record") from error
