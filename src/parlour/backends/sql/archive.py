"""The archive of streams: events, dedupe receipts and the stored projection.

Origin (`open`): a stream that was closed properly (`sealed`) goes on in its epoch; one that was
open in a hot log when that went away gets a new epoch, because events may have died with the hot
log. A log that writes through (`writes_through=True`) leaves its streams sealed, so their epochs
never change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Connection,
    bindparam,
    delete,
    func,
    literal_column,
    select,
    update,
)

from parlour.backends.epochs import first_epoch, next_epoch
from parlour.backends.records import unreadable
from parlour.backends.sql import projections
from parlour.backends.sql.engine import Database
from parlour.backends.sql.schema import DAMAGED, decode_json, encode_json, events, receipts, streams
from parlour.backends.sql.statements import Insertion, Statement, Values
from parlour.core.streams import Appended, Event, Page, Position
from parlour.errors import ExpectationFailed, LeaseLost, ParlourError, PositionLost
from parlour.ports import Clock, Entry, Opening, Origin, Projection, ProjectionChange

RECEIPT_MS = 24 * 60 * 60 * 1000
"""How long a dedupe key is remembered."""

PURGE_EVERY_MS = 10 * 60 * 1000

UNKNOWN = Position("0", 0)
"""Where a reader of a stream stands that was never written."""


class SqlArchive:
    """`ports.Archive` on a database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._next_purge = 0

    def origin(self, *, writes_through: bool) -> Origin:
        return SqlOrigin(self._database, self._clock, writes_through=writes_through)

    async def write(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        now = self._clock.now_ms()
        purge = now >= self._next_purge

        def unit(connection: Connection) -> None:
            _write(connection, entries, now)
            if purge:
                connection.execute(delete(receipts).where(receipts.c.at < now - RECEIPT_MS))

        await self._database.write(unit)
        if purge:
            self._next_purge = now + PURGE_EVERY_MS

    async def read(self, stream: str, after: Position | None, limit: int) -> Page:
        return await self._database.read(lambda c: _read(c, stream, after, limit))

    async def head(self, stream: str) -> Position | None:
        stand = await self._database.read(lambda c: _stand(c, stream))
        return None if stand is None else Position(stand.epoch, stand.head)

    async def seal(self, stream: str, position: Position) -> bool:
        values = (stream, position.epoch, position.offset, True)
        return await self._database.write(lambda c: _SEAL.change(c, *values) == 1)

    async def compact(self, stream: str, through: int) -> None:
        await self._database.write(lambda c: _compact(c, stream, through))

    async def projection(self, stream: str, window: int) -> Projection | None:
        return await self._database.read(lambda c: projections.load(c, stream, window))

    async def project(self, change: ProjectionChange) -> bool:
        return await self._database.write(lambda c: projections.store(c, change))

    async def lagging(self, limit: int) -> Sequence[str]:
        return await self._database.read(lambda c: projections.lagging(c, limit))

    async def messages(
        self, stream: str, *, before: int | None, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        return await self._database.read(lambda c: projections.messages(c, stream, before, limit))

    async def close(self) -> None:
        """The database belongs to `SqlStore`, which closes it."""


class SqlOrigin:
    """`ports.Origin`: how a stream goes on."""

    def __init__(self, database: Database, clock: Clock, *, writes_through: bool) -> None:
        self._database = database
        self._clock = clock
        self._writes_through = writes_through

    async def open(self, stream: str) -> Opening:
        since = self._clock.now_ms() - RECEIPT_MS
        return await self._database.write(lambda c: _open(c, stream, self._writes_through, since))


# -- the rows of streams ---------------------------------------------------------------------------


class _Stand(NamedTuple):
    """How a stream stands: its row without the state, which is large and which no append needs."""

    stream: str
    epoch: str
    head: int
    floor: int
    fence: int
    sealed: bool
    erased: bool
    projected: int


_STAND = select(*(streams.c[name] for name in _Stand._fields))
_NAMED = streams.c.stream == bindparam("name")
_OF = streams.c.stream == bindparam("of")
_ONE = Statement(["name"], lambda insert: _STAND.where(_NAMED))
_ONE_LOCKED = Statement(["name"], lambda insert: _STAND.where(_NAMED).with_for_update())
_SOME_LOCKED = (
    _STAND.where(streams.c.stream.in_(bindparam("names", expanding=True)))
    .order_by(streams.c.stream)
    .with_for_update()
)


def _stand(connection: Connection, stream: str, *, locked: bool = False) -> _Stand | None:
    row = (_ONE_LOCKED if locked else _ONE).find(connection, stream)
    return None if row is None else _Stand(*row)


def _locked(connection: Connection, names: Sequence[str]) -> dict[str, _Stand]:
    """How streams stand, by name, locked in one order so that two writers cannot wait for each
    other."""
    if len(names) == 1:
        found = _stand(connection, names[0], locked=True)
        return {} if found is None else {names[0]: found}
    rows = connection.execute(_SOME_LOCKED, {"names": names})
    return {row.stream: _Stand(*row) for row in rows}


_CREATE = Insertion(
    ["stream", "epoch", "sealed", "head", "floor", "fence", "erased", "projected", "active_runs"],
    lambda insert: insert(streams).on_conflict_do_nothing(),
)


def _create_missing(connection: Connection, epochs: Mapping[str, str], *, sealed: bool) -> None:
    _CREATE.run(
        connection,
        [(stream, epochs[stream], sealed, 0, 0, 0, False, 0, 0) for stream in sorted(epochs)],
    )


# -- how a stream goes on --------------------------------------------------------------------------

_GO_ON = Statement(
    ["of", "new_epoch", "new_sealed"],
    lambda insert: (
        update(streams)
        .where(_OF)
        .values(epoch=bindparam("new_epoch"), sealed=bindparam("new_sealed"))
    ),
)
_SEAL = Statement(
    ["of", "at_epoch", "at_head", "new_sealed"],
    lambda insert: (
        update(streams)
        .where(
            _OF,
            streams.c.epoch == bindparam("at_epoch"),
            streams.c.head == bindparam("at_head"),
        )
        .values(sealed=bindparam("new_sealed"))
    ),
)
_RECEIPTS = select(receipts).where(
    receipts.c.stream == bindparam("name"), receipts.c.at >= bindparam("since")
)


def _open(connection: Connection, stream: str, writes_through: bool, since: int) -> Opening:
    _create_missing(connection, {stream: first_epoch()}, sealed=True)
    found = _locked(connection, [stream])[stream]
    epoch = found.epoch if found.sealed else next_epoch(found.epoch)
    if epoch != found.epoch or found.sealed != writes_through:
        _GO_ON.change(connection, stream, epoch, writes_through)
    held = _receipts(connection, stream, since)
    return Opening(Position(epoch, found.head), found.fence, held)


def _receipts(connection: Connection, stream: str, since: int) -> dict[str, Appended]:
    rows = connection.execute(_RECEIPTS, {"name": stream, "since": since})
    return {
        row.key: Appended(row.epoch, row.first, row.last, receipt=bytes(row.receipt))
        for row in rows
    }


# -- writing ---------------------------------------------------------------------------------------

_Taken = list[tuple[Entry, Sequence[Event]]]
"""Entries, each with those of its events that are to be kept."""


class _Tail:
    """How a stream stands while a group of entries is checked against it."""

    __slots__ = ("epoch", "erased", "fence", "floor", "head", "projected")

    def __init__(self, stand: _Stand) -> None:
        self.epoch = stand.epoch
        self.head = stand.head
        self.fence = stand.fence
        self.erased = bool(stand.erased)
        self.floor = stand.floor
        self.projected = stand.projected

    def take(self, entry: Entry) -> Sequence[Event]:
        """Move on by what is new of an entry and give that. Raises where it does not fit."""
        new = entry.events
        if new and new[0].offset <= self.head:
            new = [event for event in new if event.offset > self.head]
            if not new:
                return ()  # held already: a repeated write must not fail for a fence that rose since
        if entry.fence is not None and entry.fence < self.fence:
            raise LeaseLost("a newer owner has written to this stream", stream=entry.stream)
        if entry.epoch != self.epoch:
            raise ExpectationFailed("the stream is in another epoch", stream=entry.stream)
        for expected, event in enumerate(new, self.head + 1):
            if event.offset != expected:
                raise ExpectationFailed(
                    "the events leave a gap after the head", stream=entry.stream
                )
        self.head += len(new)
        self.fence = max(self.fence, entry.fence or 0)
        return new

    def values(self, stream: str) -> Values:
        """The columns that a write moves, for `_MOVE_HEAD`. Of an erased stream nothing is kept, so
        all of it is past."""
        floor, projected = (self.head, self.head) if self.erased else (self.floor, self.projected)
        return stream, self.head, self.fence, floor, projected


_MOVE_HEAD = Statement(
    ["of", "new_head", "new_fence", "new_floor", "new_projected"],
    lambda insert: (
        update(streams)
        .where(_OF)
        .values(
            {name: bindparam(f"new_{name}") for name in ("head", "fence", "floor", "projected")}
        )
    ),
)

_MOVE_ON = Statement(
    ["of", "at_epoch", "at_head", "highest_fence", "new_head", "new_fence"],
    lambda insert: (
        update(streams)
        .where(
            _OF,
            streams.c.epoch == bindparam("at_epoch"),
            streams.c.head == bindparam("at_head"),
            streams.c.fence <= bindparam("highest_fence"),
            ~streams.c.erased,
        )
        .values(
            head=bindparam("new_head"),
            fence=func.coalesce(bindparam("new_fence", type_=BigInteger), streams.c.fence),
        )
    ),
)
"""Moves a stream that stands where an append believes it to stand, and changes nothing otherwise."""

_ANY_FENCE = 2**63 - 1

_INSERT_EVENTS = Insertion([column.key for column in events.c], lambda insert: insert(events))


def _write(connection: Connection, entries: Sequence[Entry], now: int) -> None:
    taken = _taken_as_expected(connection, entries)
    if taken is None:
        taken = _taken_as_found(connection, entries)
    _INSERT_EVENTS.run(connection, [_event_values(event) for _, kept in taken for event in kept])
    noted: dict[tuple[str, str], Values] = {}
    for entry, _ in taken:
        if entry.receipt is not None:
            key, first = entry.receipt
            noted.setdefault((entry.stream, key), _receipt_values(entry.stream, key, first, now))
    _NOTE_RECEIPTS.run(connection, list(noted.values()))


def _taken_as_expected(connection: Connection, entries: Sequence[Entry]) -> _Taken | None:
    """Move the one stream of all entries from where they begin, without a look at it first: that is
    how nearly every append goes. None, and nothing happened, where it is another case."""
    first = entries[0]
    if not first.events or any(entry.stream != first.stream for entry in entries):
        return None
    fences = [entry.fence for entry in entries if entry.fence is not None]
    since, lowest = first.events[0].offset - 1, fences[0] if fences else 0
    tail = _Tail(_Stand(first.stream, first.epoch, since, 0, lowest, False, False, 0))
    try:
        taken = [(entry, tail.take(entry)) for entry in entries]
    except ParlourError:
        return None  # what is wrong is told by a comparison with what is stored
    moved = _MOVE_ON.change(
        connection,
        first.stream,
        first.epoch,
        since,
        lowest if fences else _ANY_FENCE,
        tail.head,
        tail.fence if fences else None,
    )
    return taken if moved else None


def _taken_as_found(connection: Connection, entries: Sequence[Entry]) -> _Taken:
    """Compare entries of any streams with what is stored, and move the streams. Raises where one
    does not fit."""
    tails = _tails(connection, entries)
    taken = [(entry, tails[entry.stream].take(entry)) for entry in entries]
    _MOVE_HEAD.run(connection, [tail.values(stream) for stream, tail in tails.items()])
    return [(entry, kept) for entry, kept in taken if not tails[entry.stream].erased]


def _tails(connection: Connection, entries: Sequence[Entry]) -> dict[str, _Tail]:
    epochs = {entry.stream: entry.epoch for entry in reversed(entries)}
    found = _locked(connection, list(epochs))
    missing = {stream: epoch for stream, epoch in epochs.items() if stream not in found}
    if missing:
        _create_missing(connection, missing, sealed=False)
        found |= _locked(connection, list(missing))
    return {stream: _Tail(stand) for stream, stand in found.items()}


def _event_values(event: Event) -> Values:
    return (
        event.stream,
        event.offset,
        event.type,
        encode_json(event.data),
        event.at,
        event.source,
        event.cause,
    )


def _receipt_values(stream: str, key: str, first: Appended, now: int) -> Values:
    return stream, key, first.epoch, first.first, first.last, first.receipt, now


def _insert_receipt(insert: Any) -> Any:
    """The first receipt of a key stands for 24 hours, however often it is written again."""
    statement = insert(receipts)
    fields = ("epoch", "first", "last", "receipt", "at")
    return statement.on_conflict_do_update(
        index_elements=[receipts.c.stream, receipts.c.key],
        set_={name: statement.excluded[name] for name in fields},
        where=receipts.c.at < statement.excluded.at - literal_column(str(RECEIPT_MS)),
    )


_NOTE_RECEIPTS = Insertion([column.key for column in receipts.c], _insert_receipt)


# -- reading ---------------------------------------------------------------------------------------


def _read(connection: Connection, stream: str, after: Position | None, limit: int) -> Page:
    stand = _stand(connection, stream)
    if stand is None:
        if after not in (None, UNKNOWN):
            raise PositionLost("the stream holds nothing", stream=stream)
        return Page((), UNKNOWN, UNKNOWN)
    if after is None:
        after = Position(stand.epoch, stand.floor)
    if after.epoch != stand.epoch or not stand.floor <= after.offset <= stand.head:
        raise PositionLost(stream=stream)
    rows = _EVENTS_AFTER.find_all(connection, stream, after.offset, limit)
    found = [_event(stream, stand.epoch, row) for row in rows]
    reached = found[-1].position if found else after
    return Page(found, reached, Position(stand.epoch, stand.head))


_EVENTS_AFTER = Statement(
    ["name", "after", "most"],
    lambda insert: (
        select(
            events.c.offset,
            events.c.type,
            events.c.data,
            events.c.at,
            events.c.source,
            events.c.cause,
        )
        .where(events.c.stream == bindparam("name"), events.c.offset > bindparam("after"))
        .order_by(events.c.offset)
        .limit(bindparam("most", type_=BigInteger))
        .offset(literal_column("0"))  # SQLAlchemy writes a parameter of its own where there is none
    ),
)


def _event(stream: str, epoch: str, row: Values) -> Event:
    offset, kind, text, at, source, cause = row
    data = decode_json(text)
    if data is DAMAGED:
        return unreadable(stream, epoch, offset, ValueError("the data are not JSON"))
    return Event(stream, epoch, offset, kind, data, at, source, cause)


def _compact(connection: Connection, stream: str, through: int) -> None:
    stand = _stand(connection, stream, locked=True)
    if stand is None:
        return
    floor = max(stand.floor, min(through, stand.head))
    connection.execute(delete(events).where(events.c.stream == stream, events.c.offset <= floor))
    connection.execute(update(streams).where(streams.c.stream == stream).values(floor=floor))
