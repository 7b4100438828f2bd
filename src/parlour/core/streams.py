"""Positions and events: the words of the one primitive, an append-only numbered stream.

A stream's history is numbered without gaps from 1 within an *epoch*. The epoch changes when some of the
history may have been lost or was reset (a store restarted without its data, a fail-over), so that a
reader never mistakes a new event 96 for the old event 96 (the idea of offset plus epoch is
Centrifugo's StreamPosition).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Final, NamedTuple

from parlour.core.values import value

MAX_OFFSET: Final = 2**53 - 1
"""Largest integer that a JavaScript number holds exactly."""

_POSITION = re.compile(r"([A-Za-z0-9_-]{1,32}):([0-9]{1,16})\Z")
_STREAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,199}\Z")


class Position(NamedTuple):
    """Where a reader stands: everything up to and including `offset` of `epoch` was seen.

    `offset` 0 is the beginning. Written `epoch:offset`, as in `?after=` and `Last-Event-ID`.
    """

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read `epoch:offset`. Raises ValueError on anything else."""
        found = _POSITION.match(text)
        if found is None or int(found[2]) > MAX_OFFSET:
            raise ValueError(f"not a position: {text[:60]!r}")
        return cls(found[1], int(found[2]))

    def to_wire(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "offset": self.offset}


@value
class NewEvent:
    """An event that has no position yet.

    `source` is who caused it: `user:{id}`, `app`, `agent:{id}` or `system`. `cause` is the id of the
    command, run or event that led to it. `at` is milliseconds since 1970 UTC, set by the writer.
    """

    type: str
    data: Mapping[str, Any]
    at: int
    source: str = "app"
    cause: str | None = None


@value
class Event:
    """One immutable record of a stream."""

    stream: str
    epoch: str
    offset: int
    type: str
    data: Mapping[str, Any]
    at: int
    source: str = "app"
    cause: str | None = None

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.offset)

    @property
    def id(self) -> str:
        """Unique within the stream, and the idempotency key of the archive."""
        return f"{self.epoch}:{self.offset}"


class Dedupe(NamedTuple):
    """Makes an append idempotent: the same `key` on the same stream within 24 hours appends nothing and
    gives back the first `receipt`. `receipt` is opaque to the log (the command's answer as JSON)."""

    key: str
    receipt: bytes = b""


@value
class Appended:
    """What an append did: the events' offsets are `first` … `last` of `epoch`.

    `duplicate` says that the dedupe key was known: then nothing was appended, the offsets are those of
    the first time and `receipt` is what was stored with it."""

    epoch: str
    first: int
    last: int
    duplicate: bool = False
    receipt: bytes = b""

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.last)


@value
class Page:
    """Contiguous events after a position. `position` is where the reader now stands, `head` the newest
    position at the time of the read; the reader is current when they are equal."""

    events: Sequence[Event]
    position: Position
    head: Position


@value
class Batch:
    """Events of one stream that were appended together, as followers hear of them.

    `since` is the offset before the first one: a follower that stands elsewhere has missed something."""

    stream: str
    epoch: str
    since: int
    events: Sequence[Event] = field(default_factory=tuple)

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.since + len(self.events))


def check_stream_name(name: str) -> str:
    """Give back a valid stream name: 1 to 200 of `A-Z a-z 0-9 _ . : @ -`. Raises ValueError."""
    if not _STREAM.match(name):
        raise ValueError(f"not a stream name: {name[:60]!r}")
    return name
