"""The archive of streams: events, dedupe receipts and the stored projection.

Origin (`open`): a stream that was closed properly (`sealed`) goes on in its epoch; one that was
open in a hot log when that went away gets a new epoch, because events may have died with the hot
log. A log that writes through (`writes_through=True`) leaves its streams sealed, so their epochs
never change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, insert, select, update
from sqlalchemy.engine import Row

from parlour.backends.epochs import first_epoch, next_epoch
from parlour.backends.records import unreadable
from parlour.backends.sql import projections
from parlour.backends.sql.engine import Database, upsert
from parlour.backends.sql.schema import DAMAGED, events, receipts, streams
from parlour.core.streams import Appended, Event, Page, Position
from parlour.errors import ExpectationFailed, LeaseLost, PositionLost
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
        row = await self._database.read(lambda c: _row(c, stream))
        return None if row is None else Position(row.epoch, row.head)

    async def seal(self, stream: str, position: Position) -> bool:
        here = _at(stream, position)
        return await self._database.write(
            lambda c: c.execute(update(streams).where(here).values(sealed=True)).rowcount == 1
        )

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


def _open(connection: Connection, stream: str, writes_through: bool, since: int) -> Opening:
    _create_missing(connection, {stream: first_epoch()}, sealed=True)
    row = _locked(connection, [stream])[stream]
    epoch = row.epoch if row.sealed else next_epoch(row.epoch)
    if epoch != row.epoch or row.sealed != writes_through:
        connection.execute(
            update(streams)
            .where(streams.c.stream == stream)
            .values(epoch=epoch, sealed=writes_through)
        )
    return Opening(Position(epoch, row.head), row.fence, _receipts(connection, stream, since))


def _receipts(connection: Connection, stream: str, since: int) -> dict[str, Appended]:
    rows = connection.execute(
        select(receipts).where(receipts.c.stream == stream, receipts.c.at >= since)
    )
    return {
        row.key: Appended(row.epoch, row.first, row.last, receipt=bytes(row.receipt))
        for row in rows
    }


def _row(connection: Connection, stream: str) -> Row[Any] | None:
    return connection.execute(select(streams).where(streams.c.stream == stream)).one_or_none()


def _at(stream: str, position: Position) -> Any:
    return and_(
        streams.c.stream == stream,
        streams.c.epoch == position.epoch,
        streams.c.head == position.offset,
    )


def _create_missing(connection: Connection, epochs: Mapping[str, str], *, sealed: bool) -> None:
    fresh = {
        "head": 0,
        "floor": 0,
        "fence": 0,
        "sealed": sealed,
        "erased": False,
        "projected": 0,
        "active_runs": 0,
    }
    rows = [{"stream": stream, "epoch": epochs[stream], **fresh} for stream in sorted(epochs)]
    connection.execute(upsert(connection, streams).on_conflict_do_nothing(), rows)


_LOCKED = select(streams).where(streams.c.stream == bindparam("name")).with_for_update()


def _locked(connection: Connection, names: Sequence[str]) -> dict[str, Row[Any]]:
    """Rows by name, locked in one order so that two writers cannot wait for each other."""
    if len(names) == 1:
        row = connection.execute(_LOCKED, {"name": names[0]}).one_or_none()
        return {} if row is None else {names[0]: row}
    found = connection.execute(
        select(streams)
        .where(streams.c.stream.in_(names))
        .order_by(streams.c.stream)
        .with_for_update()
    )
    return {row.stream: row for row in found}


class _Tail:
    """How a stream stands while a group of entries is checked against it."""

    __slots__ = ("epoch", "erased", "fence", "floor", "head", "projected")

    def __init__(self, row: Row[Any]) -> None:
        self.epoch: str = row.epoch
        self.head: int = row.head
        self.fence: int = row.fence
        self.erased: bool = row.erased
        self.floor: int = row.floor
        self.projected: int = row.projected

    def take(self, entry: Entry) -> Sequence[Event]:
        """Move on by what is new of an entry and give that. Raises where it does not fit."""
        new = [event for event in entry.events if event.offset > self.head]
        if entry.events and not new:
            return ()  # held already: a repeated write must not fail for a fence that rose since
        if entry.fence is not None and entry.fence < self.fence:
            raise LeaseLost("a newer owner has written to this stream", stream=entry.stream)
        if entry.epoch != self.epoch:
            raise ExpectationFailed("the stream is in another epoch", stream=entry.stream)
        if [event.offset for event in new] != list(range(self.head + 1, self.head + 1 + len(new))):
            raise ExpectationFailed("the events leave a gap after the head", stream=entry.stream)
        self.head += len(new)
        self.fence = max(self.fence, entry.fence or 0)
        return new

    def row(self, stream: str) -> dict[str, Any]:
        """The columns that a write moves. Of an erased stream nothing is kept, so all of it is
        past."""
        return {
            "of": stream,
            "new_head": self.head,
            "new_fence": self.fence,
            "new_floor": self.head if self.erased else self.floor,
            "new_projected": self.head if self.erased else self.projected,
        }


_INSERT_EVENTS = insert(events)


def _write(connection: Connection, entries: Sequence[Entry], now: int) -> None:
    tails = _tails(connection, entries)
    rows: list[dict[str, Any]] = []
    noted: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in entries:
        tail = tails[entry.stream]
        taken = tail.take(entry)
        if tail.erased:
            continue
        rows.extend(_event_row(event) for event in taken)
        if entry.receipt is not None:
            row = _receipt_row(entry.stream, *entry.receipt, now)
            noted.setdefault((row["stream"], row["key"]), row)
    if rows:
        connection.execute(_INSERT_EVENTS, rows)
    if noted:
        _note_receipts(connection, list(noted.values()), now)
    _move_heads(connection, tails)


def _tails(connection: Connection, entries: Sequence[Entry]) -> dict[str, _Tail]:
    epochs = {entry.stream: entry.epoch for entry in reversed(entries)}
    found = _locked(connection, list(epochs))
    missing = {stream: epoch for stream, epoch in epochs.items() if stream not in found}
    if missing:
        _create_missing(connection, missing, sealed=False)
        found |= _locked(connection, list(missing))
    return {stream: _Tail(row) for stream, row in found.items()}


def _event_row(event: Event) -> dict[str, Any]:
    return {
        "stream": event.stream,
        "offset": event.offset,
        "type": event.type,
        "data": event.data,
        "at": event.at,
        "source": event.source,
        "cause": event.cause,
    }


def _receipt_row(stream: str, key: str, first: Appended, now: int) -> dict[str, Any]:
    return {
        "stream": stream,
        "key": key,
        "epoch": first.epoch,
        "first": first.first,
        "last": first.last,
        "receipt": first.receipt,
        "at": now,
    }


def _note_receipts(connection: Connection, rows: list[dict[str, Any]], now: int) -> None:
    """The first receipt of a key stands for 24 hours, however often it is written again."""
    statement = upsert(connection, receipts)
    fields = ("epoch", "first", "last", "receipt", "at")
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[receipts.c.stream, receipts.c.key],
            set_={name: statement.excluded[name] for name in fields},
            where=receipts.c.at < now - RECEIPT_MS,
        ),
        rows,
    )


_MOVE_HEAD = (
    update(streams)
    .where(streams.c.stream == bindparam("of"))
    .values({name: bindparam(f"new_{name}") for name in ("head", "fence", "floor", "projected")})
)


def _move_heads(connection: Connection, tails: Mapping[str, _Tail]) -> None:
    """All in one round trip."""
    connection.execute(_MOVE_HEAD, [tail.row(stream) for stream, tail in tails.items()])


def _read(connection: Connection, stream: str, after: Position | None, limit: int) -> Page:
    row = _row(connection, stream)
    if row is None:
        if after not in (None, UNKNOWN):
            raise PositionLost("the stream holds nothing", stream=stream)
        return Page((), UNKNOWN, UNKNOWN)
    if after is None:
        after = Position(row.epoch, row.floor)
    if after.epoch != row.epoch or not row.floor <= after.offset <= row.head:
        raise PositionLost(stream=stream)
    found = [
        _event(row.epoch, one) for one in connection.execute(_after(stream, after.offset, limit))
    ]
    reached = found[-1].position if found else after
    return Page(found, reached, Position(row.epoch, row.head))


def _event(epoch: str, row: Row[Any]) -> Event:
    if row.data is DAMAGED:
        return unreadable(row.stream, epoch, row.offset, ValueError("the data are not JSON"))
    return Event(row.stream, epoch, row.offset, row.type, row.data, row.at, row.source, row.cause)


def _after(stream: str, offset: int, limit: int) -> Any:
    return (
        select(events)
        .where(events.c.stream == stream, events.c.offset > offset)
        .order_by(events.c.offset)
        .limit(limit)
    )


def _compact(connection: Connection, stream: str, through: int) -> None:
    row = _locked(connection, [stream]).get(stream)
    if row is None:
        return
    floor = max(row.floor, min(through, row.head))
    connection.execute(delete(events).where(events.c.stream == stream, events.c.offset <= floor))
    connection.execute(update(streams).where(streams.c.stream == stream).values(floor=floor))
