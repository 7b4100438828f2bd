"""An event as bytes in a hot log: a JSON array without the stream, epoch and offset.

Every log stores and gives back events through this, so a reader of history and a follower see the
same JSON values, whatever Python objects the writer used.
"""

from __future__ import annotations

from typing import Any

import orjson

from parlour.core.streams import Event, NewEvent
from parlour.errors import InvalidPayload, TooLarge


def encode_record(event: NewEvent, limit: int) -> bytes:
    """Raises `InvalidPayload` for data that JSON cannot hold and `TooLarge` past `limit` bytes."""
    try:
        record = orjson.dumps([event.type, event.data, event.at, event.source, event.cause])
    except TypeError as error:
        raise InvalidPayload(f"an event's data must be JSON: {error}") from error
    if len(record) > limit:
        raise TooLarge(f"an event is larger than {limit} bytes", limit=limit)
    return record


def decode_record(stream: str, epoch: str, offset: int, record: bytes) -> Event:
    fields: list[Any] = orjson.loads(record)
    return Event(stream, epoch, offset, *fields)
