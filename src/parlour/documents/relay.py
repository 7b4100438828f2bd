"""What nodes tell each other of a document: a JSON head and bytes behind it, on one topic each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson


def topic_of(document_id: str) -> str:
    """The bus topic of a document."""
    return f"doc:{document_id}"


def pack(head: dict[str, Any], blobs: Sequence[bytes] = ()) -> bytes:
    """One message."""
    text = orjson.dumps({**head, "sizes": [len(blob) for blob in blobs]})
    return b"".join([len(text).to_bytes(4, "big"), text, *blobs])


def unpack(message: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """What `pack` was given. Raises ValueError for anything else."""
    size = int.from_bytes(message[:4], "big")
    head = orjson.loads(message[4 : 4 + size])
    at, blobs = 4 + size, []
    for length in head.pop("sizes"):
        blobs.append(message[at : at + length])
        at += length
    if at != len(message):
        raise ValueError("a message of another node is damaged")
    return head, blobs
