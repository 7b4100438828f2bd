"""An event as bytes in a hot log: a JSON array without the stream, epoch and offset.

Every log stores and gives back events through this, so a reader of history and a follower see the
same JSON values, whatever Python objects the writer used.

A damaged record must not make a whole conversation unreadable: it is reported, and stands in its
place as an event of type `unreadable`, so that the offsets around it stay contiguous.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson

from parlour.core.streams import Event, NewEvent
from parlour.errors import InvalidPayload, TooLarge

log = logging.getLogger(__name__)

UNREADABLE: Final = "unreadable"
"""The type of an event whose record is damaged; its data are empty."""


def encode_record(event: NewEvent, limit: int) -> bytes:
    """Raises `InvalidPayload` for data that JSON cannot hold and `TooLarge` past `limit` bytes."""
    try:
        record = orjson.dumps([event.type, event.data, event.at, event.source, event.cause])
    except TypeError as error:
        raise InvalidPayload(f"an event's data must be JSON: {error}") from error
    if len(record) > limit:
        raise TooLarge(f"an event is larger than {limit} bytes", limit=limit)
    # As `right_sized`, without the call.
    return memoryview(record).tobytes()


def encode_records(events: Sequence[NewEvent], limit: int) -> Sequence[bytes]:
    """Of one append. Also raises ValueError for no events."""
    if not events:
        raise ValueError("an append needs at least one event")
    if len(events) == 1:
        return (encode_record(events[0], limit),)
    return [encode_record(event, limit) for event in events]


def right_sized(data: bytes) -> bytes:
    """A copy that takes no more memory than it has bytes. What orjson writes sits at the beginning of a
    buffer of a kibibyte or more, which stays allocated as long as the result is kept."""
    return memoryview(data).tobytes()


def decode_record(
    stream: str,
    epoch: str,
    offset: int,
    record: bytes,
    unpack: Callable[[bytes], bytes] | None = None,
) -> Event:
    """The event in a record, `unpack`ed first where that is given."""
    try:
        fields: list[Any] = orjson.loads(record if unpack is None else unpack(record))
        return Event(stream, epoch, offset, *fields)
    except (ValueError, TypeError) as error:
        return unreadable(stream, epoch, offset, error)


def unreadable(stream: str, epoch: str, offset: int, error: Exception) -> Event:
    """What stands in the place of a damaged record."""
    log.error("event %s of %s is damaged: %s", offset, stream, error)
    return Event(stream, epoch, offset, UNREADABLE, {}, 0, "system")
