"""One stream in memory: its newest records, what the archive lacks, and what an append would do.

Everything here is synchronous; `now` is an argument.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from orjson import loads

from parlour.backends.records import decode_record, encode_record, encode_records, right_sized
from parlour.backends.sinks import Sinks
from parlour.backends.window import MESSAGE, WindowLimits
from parlour.core.streams import Appended, Batch, Dedupe, Event, NewEvent, Page, Position
from parlour.core.values import value
from parlour.errors import ExpectationFailed, LeaseLost, PositionLost
from parlour.ports import Entry, Opening

RECEIPT_MS = 24 * 60 * 60 * 1000
"""How long a dedupe key is remembered."""


@value
class Draft:
    """An append whose events are encoded but not numbered."""

    stream: str
    events: Sequence[NewEvent]
    records: Sequence[bytes]
    expected: int | None = None
    fence: int | None = None
    dedupe: Dedupe | None = None

    def entry(self, appended: Appended) -> Entry:
        """What the archive gets for it."""
        numbered = [
            decode_record(self.stream, appended.epoch, offset, record)
            for offset, record in enumerate(self.records, appended.first)
        ]
        receipt = None if self.dedupe is None else (self.dedupe.key, appended)
        return Entry(self.stream, appended.epoch, numbered, self.fence, receipt)


def draft(
    stream: str,
    events: Sequence[NewEvent],
    limit: int,
    *,
    expected: int | None = None,
    fence: int | None = None,
    dedupe: Dedupe | None = None,
) -> Draft:
    """Encode an append. Raises ValueError for no events, `InvalidPayload` and `TooLarge`."""
    return Draft(stream, tuple(events), encode_records(events, limit), expected, fence, dedupe)


@value
class _Append:
    """One unsynchronised append: its last offset and what the archive needs besides the events."""

    last: int
    fence: int | None
    receipt: tuple[str, Appended] | None

    @property
    def marks(self) -> tuple[int | None, tuple[str, Appended] | None]:
        return self.fence, self.receipt


_COUNTED: Final = b'["%b",' % MESSAGE.encode()
"""How the record begins of an event that counts as a message."""

_NO_RECORDS: Final[deque[bytes]] = deque()
_NO_APPENDS: Final[deque[_Append | int]] = deque()
"""Those of every stream that nobody has written to yet: an empty deque takes 0.6 KiB. Never written."""


class HeldStream:
    """The newest part of a stream: the events `base` + 1 … `head` are held."""

    __slots__ = (
        "_appends",
        "_messages",
        "_receipts",
        "_records",
        "base",
        "bytes",
        "epoch",
        "fence",
        "head",
        "leaving",
        "name",
        "pending",
        "sinks",
        "synced",
        "touched",
        "trimmed",
        "uncertain",
    )

    def __init__(self, name: str, opening: Opening, now: int) -> None:
        self.name = name
        self.epoch, self.head = opening.position
        self.base = self.synced = self.trimmed = self.head
        self.fence = opening.fence
        self.touched = now
        self.bytes = 0
        self.pending = 0
        self.uncertain = False
        self.leaving: asyncio.Event | None = None
        self.sinks = Sinks()
        self._messages = 0
        self._records: deque[bytes] = _NO_RECORDS
        self._receipts = {key: (first, now) for key, first in opening.receipts.items()}
        # Most appends have neither fence nor receipt: their last offset says it all.
        self._appends: deque[_Append | int] = _NO_APPENDS

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.head)

    @property
    def floor(self) -> int:
        """Readers must stand here or later."""
        return max(self.base, self.trimmed)

    def receipt(self, key: str, now: int) -> Appended | None:
        held = self._receipts.get(key)
        return held[0] if held is not None and held[1] > now - RECEIPT_MS else None

    # -- appending -------------------------------------------------------------------------------

    def decide(self, draft: Draft, now: int) -> Appended:
        """What the append does if it happens now. Raises where it is refused."""
        return Stage(self).take(draft, now)

    def apply(self, draft: Draft, appended: Appended, now: int) -> Batch:
        """Store a checked append. The caller announces the batch."""
        if self._appends is _NO_APPENDS:
            self._appends = deque()
        if draft.dedupe is None and draft.fence is None:
            self._appends.append(appended.last)
        else:
            self._appends.append(self._marked(draft, draft.dedupe, appended, now))
        return self._extend(draft.events, draft.records, now)

    def extend(self, events: Sequence[NewEvent], records: Sequence[bytes], now: int) -> Batch:
        """Store an append that needs no check, and of which nothing is noted but its end."""
        if self._appends is _NO_APPENDS:
            self._appends = deque()
        self._appends.append(self.head + len(records))
        return self._extend(events, records, now)

    def _marked(self, draft: Draft, dedupe: Dedupe | None, appended: Appended, now: int) -> _Append:
        """An append with a fence or a receipt, which are noted."""
        self.fence = max(self.fence, draft.fence or 0)
        if dedupe is None:
            return _Append(appended.last, draft.fence, None)
        receipt = (dedupe.key, replace(appended, receipt=right_sized(dedupe.receipt)))
        self._note(receipt, now)
        return _Append(appended.last, draft.fence, receipt)

    def adopt(self, events: Sequence[Event], now: int) -> Batch:
        """Store events that are numbered and in the archive already."""
        fresh = [NewEvent(one.type, one.data, one.at, one.source, one.cause) for one in events]
        return self._extend(fresh, [encode_record(one, 2**62) for one in fresh], now)

    def restore(self, opening: Opening, now: int) -> None:
        """Take over a fence and receipts that the archive knows."""
        self.fence = max(self.fence, opening.fence)
        for receipt in opening.receipts.items():
            self._note(receipt, now)

    def _note(self, receipt: tuple[str, Appended], now: int) -> None:
        """Remember a first result; forget those that are too old. Kept in the order of their
        age."""
        key, first = receipt
        self._receipts.pop(key, None)
        self._receipts[key] = (first, now)
        for old, (_, at) in tuple(islice(self._receipts.items(), 4)):
            if at <= now - RECEIPT_MS:
                del self._receipts[old]

    def _extend(self, events: Sequence[NewEvent], records: Sequence[bytes], now: int) -> Batch:
        since = offset = self.head
        if self._records is _NO_RECORDS:
            self._records = deque()
        name, epoch = self.name, self.epoch
        self._records.extend(records)
        self.bytes += sum(map(len, records))
        numbered = []
        for event, record in zip(events, records, strict=True):
            if event.type == MESSAGE:
                self._messages += 1
            offset += 1
            # Read back, not handed on: followers get a copy that the writer cannot change any more,
            # of the values that JSON made of it. What was written just now is not damaged.
            numbered.append(Event(name, epoch, offset, *loads(record)))
        self.head = offset
        self.touched = now
        return Batch(name, epoch, since, tuple(numbered))

    # -- reading ---------------------------------------------------------------------------------

    def read(self, after: Position | None, limit: int) -> Page:
        start = Position(self.epoch, self.floor) if after is None else after
        if start.epoch != self.epoch or not self.floor <= start.offset <= self.head:
            raise PositionLost(stream=self.name)
        found = self._events(start.offset, start.offset + limit)
        reached = found[-1].position if found else start
        return Page(found, reached, self.position)

    def _events(self, after: int, through: int) -> tuple[Event, ...]:
        return tuple(
            decode_record(self.name, self.epoch, offset, record)
            for offset, record in enumerate(self._held(after, through), after + 1)
        )

    def _held(self, after: int, through: int) -> list[bytes]:
        """The records of a range, walked to from the nearer end: most readers want the newest."""
        through = min(through, self.head)
        if after - self.base <= self.head - through:
            return list(islice(self._records, after - self.base, through - self.base))
        found = islice(reversed(self._records), self.head - through, self.head - after)
        return list(found)[::-1]

    # -- leaving the window ----------------------------------------------------------------------

    def shrink(self, limits: WindowLimits) -> None:
        """Let go of the oldest synchronised events beyond the limits."""
        while self.base < self.synced and (
            self._messages > limits.messages
            or len(self._records) > limits.events
            or self.bytes > limits.bytes
        ):
            self._drop_oldest()

    def trim(self, through: int) -> None:
        """Readers never get these again; what the archive lacks of them is still held for it."""
        self.trimmed = max(self.trimmed, min(through, self.head))
        while self.base < min(self.trimmed, self.synced):
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        record = self._records.popleft()
        self.bytes -= len(record)
        self._messages -= record.startswith(_COUNTED)
        self.base += 1

    # -- write-behind ----------------------------------------------------------------------------

    def unsynced(self, limit: int) -> list[Entry]:
        """Appends of which nothing is noted but their end are one entry together."""
        taken: list[_Append | int] = []
        reached = self.synced
        for append in self._appends:
            if reached - self.synced >= limit:
                break
            if type(append) is int and taken and type(taken[-1]) is int:
                taken[-1] = append
            else:
                taken.append(append)
            reached = _last(append)
        # Walked to once: what waits may stand deep in the window.
        events = self._events(self.synced, reached)
        entries: list[Entry] = []
        start = self.synced
        for append in taken:
            last = _last(append)
            run = events[start - self.synced : last - self.synced]
            fence, receipt = (None, None) if isinstance(append, int) else append.marks
            entries.append(Entry(self.name, self.epoch, run, fence, receipt))
            start = last
        return entries

    def mark_synced(self, through: int) -> tuple[int, int]:
        """Give how many events and bytes became synchronised by this."""
        through = max(self.synced, min(through, self.head))
        size = sum(map(len, self._held(self.synced, through)))
        count, self.synced = through - self.synced, through
        while self._appends and _last(self._appends[0]) <= through:
            self._appends.popleft()
        self.trim(self.trimmed)
        return count, size


def _last(append: _Append | int) -> int:
    return append if isinstance(append, int) else append.last


class Stage:
    """How a stream would stand after some appends; nothing of it has happened."""

    __slots__ = ("_fence", "_head", "_receipts", "stream")

    def __init__(self, stream: HeldStream) -> None:
        self.stream = stream
        self._head = stream.head
        self._fence = stream.fence
        self._receipts: dict[str, Appended] = {}

    def take(self, draft: Draft, now: int) -> Appended:
        """What the append does on top of the earlier ones. Raises where it is refused."""
        if draft.dedupe is not None:
            key = draft.dedupe.key
            first = self._receipts.get(key) or self.stream.receipt(key, now)
            if first is not None:
                return replace(first, duplicate=True)
        if draft.fence is not None and draft.fence < self._fence:
            raise LeaseLost("a newer owner has written to this stream", stream=draft.stream)
        if draft.expected is not None and draft.expected != self._head:
            raise ExpectationFailed(stream=draft.stream, head=self._head)
        return self._number(draft)

    def _number(self, draft: Draft) -> Appended:
        appended = Appended(self.stream.epoch, self._head + 1, self._head + len(draft.records))
        self._head = appended.last
        self._fence = max(self._fence, draft.fence or 0)
        if draft.dedupe is not None:
            self._receipts[draft.dedupe.key] = replace(appended, receipt=draft.dedupe.receipt)
        return appended
