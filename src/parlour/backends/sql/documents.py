"""`ports.DocumentStore` on a database, also as the lasting store behind a fast one."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import structlog
from sqlalchemy import Connection, Row, delete, insert, select, update

from parlour.backends.packing import pack, unpack
from parlour.backends.sql.document_schema import (
    document_snapshots,
    document_updates,
    documents,
)
from parlour.backends.sql.engine import Database, upsert
from parlour.errors import NotFound, StaleGeneration
from parlour.ports import DocumentHead, DocumentLog

log = structlog.get_logger(__name__)


class SqlDocumentStore:
    """`ports.DocumentStore` on a database. `absorb` takes what a fast store writes behind."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, document_id: str) -> DocumentHead:
        return await self._database.write(lambda c: _create(c, document_id))

    async def head(self, document_id: str) -> DocumentHead:
        return await self._database.read(lambda c: _head(_row(c, document_id)))

    async def append(
        self, document_id: str, updates: Sequence[bytes], *, generation: int
    ) -> DocumentHead:
        return await self._database.write(lambda c: _append(c, document_id, updates, generation))

    async def absorb(
        self,
        document_id: str,
        updates: Sequence[bytes],
        *,
        generation: int,
        epoch: str,
        after: int,
    ) -> DocumentHead:
        """Append what a fast store numbered `after + 1 …` in `epoch`. What is held already is skipped; where
        another epoch has gone on from `after` meanwhile, they are appended behind that, so that
        nothing is lost: the head that is given back then has another epoch."""
        return await self._database.write(
            lambda c: _absorb(c, document_id, updates, generation, epoch, after)
        )

    async def read(
        self, document_id: str, *, after: int | None = None, limit: int = 1000
    ) -> DocumentLog:
        return await self._database.read(lambda c: _read(c, document_id, after, limit))

    async def compact(
        self,
        document_id: str,
        snapshot: bytes,
        *,
        generation: int,
        epoch: str,
        base: int,
        through: int,
    ) -> bool:
        packed = pack(snapshot)
        return await self._database.write(
            lambda c: _compact(
                c, document_id, packed, len(snapshot), generation, epoch, base, through
            )
        )

    async def renew(self, document_id: str, snapshot: bytes, *, generation: int) -> DocumentHead:
        packed = pack(snapshot)
        return await self._database.write(
            lambda c: _renew(c, document_id, packed, len(snapshot), generation)
        )

    async def delete(self, document_id: str) -> None:
        await self._database.write(lambda c: _delete(c, document_id))

    async def close(self) -> None:
        """The database is closed by whoever opened it."""


def _row(connection: Connection, document_id: str, *, lock: bool = False) -> Row[Any]:
    query = select(documents).where(documents.c.id == document_id, documents.c.deleted.is_(False))
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise NotFound("There is no such document.")
    return row


def _fenced(connection: Connection, document_id: str, generation: int) -> Row[Any]:
    row = _row(connection, document_id, lock=True)
    if row.generation != generation:
        raise StaleGeneration(generation=row.generation)
    return row


def _head(row: Row[Any], **changes: Any) -> DocumentHead:
    values = {
        "generation": row.generation,
        "epoch": row.epoch,
        "offset": row.head,
        "base": row.base,
        "log_bytes": row.log_bytes,
        "snapshot_bytes": row.snapshot_bytes,
    }
    return DocumentHead(**{**values, **changes})


def _fresh(document_id: str, *, deleted: bool) -> dict[str, Any]:
    return {
        "id": document_id,
        "generation": 1,
        "epoch": uuid.uuid4().hex[:16],
        "head": 0,
        "base": 0,
        "log_bytes": 0,
        "snapshot_bytes": 0,
        "deleted": deleted,
    }


def _create(connection: Connection, document_id: str) -> DocumentHead:
    values = _fresh(document_id, deleted=False)
    connection.execute(upsert(connection, documents).values(values).on_conflict_do_nothing())
    return _head(_row(connection, document_id))


def _append(
    connection: Connection, document_id: str, updates: Sequence[bytes], generation: int
) -> DocumentHead:
    row = _fenced(connection, document_id, generation)
    return _add(connection, row, row.epoch, updates)


def _absorb(
    connection: Connection,
    document_id: str,
    updates: Sequence[bytes],
    generation: int,
    epoch: str,
    after: int,
) -> DocumentHead:
    row = _fenced(connection, document_id, generation)
    if row.epoch == epoch and row.head >= after:
        updates = updates[row.head - after :]
    elif row.head != after:
        epoch = uuid.uuid4().hex[:16]
        log.warning("a document's updates were numbered twice", document=document_id)
    if not updates and row.epoch == epoch:
        return _head(row)
    return _add(connection, row, epoch, updates)


def _add(
    connection: Connection, row: Row[Any], epoch: str, updates: Sequence[bytes]
) -> DocumentHead:
    head = row.head + len(updates)
    log_bytes = row.log_bytes + sum(map(len, updates))
    if updates:
        connection.execute(
            insert(document_updates),
            [
                {"document_id": row.id, "offset": offset, "data": data}
                for offset, data in enumerate(updates, row.head + 1)
            ],
        )
    connection.execute(
        update(documents)
        .where(documents.c.id == row.id)
        .values(head=head, epoch=epoch, log_bytes=log_bytes)
    )
    return _head(row, offset=head, epoch=epoch, log_bytes=log_bytes)


def _read(connection: Connection, document_id: str, after: int | None, limit: int) -> DocumentLog:
    row = _row(connection, document_id)
    snapshot = None
    if after is None or after < row.base:
        snapshot, after = _snapshot(connection, document_id), row.base
    query = (
        select(document_updates.c.offset, document_updates.c.data)
        .where(document_updates.c.document_id == document_id, document_updates.c.offset > after)
        .order_by(document_updates.c.offset)
        .limit(limit)
    )
    rows = connection.execute(query).all()
    through = rows[-1].offset if rows else max(after, row.head)
    return DocumentLog(_head(row), snapshot, [bytes(one.data) for one in rows], through)


def _snapshot(connection: Connection, document_id: str) -> bytes | None:
    packed = connection.scalar(
        select(document_snapshots.c.data).where(document_snapshots.c.document_id == document_id)
    )
    return None if packed is None else unpack(bytes(packed))


def _compact(
    connection: Connection,
    document_id: str,
    packed: bytes,
    size: int,
    generation: int,
    epoch: str,
    base: int,
    through: int,
) -> bool:
    row = _fenced(connection, document_id, generation)
    if (row.epoch, row.base) != (epoch, base) or not base < through <= row.head:
        return False
    held = (document_updates.c.document_id == document_id) & (document_updates.c.offset <= through)
    sizes = connection.scalars(select(document_updates.c.data).where(held))
    gone = sum(len(data) for data in sizes)
    connection.execute(delete(document_updates).where(held))
    _put_snapshot(connection, document_id, packed)
    connection.execute(
        update(documents)
        .where(documents.c.id == document_id)
        .values(base=through, log_bytes=row.log_bytes - gone, snapshot_bytes=size)
    )
    return True


def _put_snapshot(connection: Connection, document_id: str, packed: bytes) -> None:
    statement = upsert(connection, document_snapshots).values(document_id=document_id, data=packed)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["document_id"], set_={"data": packed})
    )


def _renew(
    connection: Connection, document_id: str, packed: bytes, size: int, generation: int
) -> DocumentHead:
    row = _fenced(connection, document_id, generation)
    _erase(connection, document_id)
    _put_snapshot(connection, document_id, packed)
    changed = {
        "generation": generation + 1,
        "base": row.head + 1,
        "log_bytes": 0,
        "snapshot_bytes": size,
    }
    connection.execute(
        update(documents).where(documents.c.id == document_id).values(head=row.head + 1, **changed)
    )
    return _head(row, offset=row.head + 1, **changed)


def _delete(connection: Connection, document_id: str) -> None:
    _erase(connection, document_id)
    statement = upsert(connection, documents).values(_fresh(document_id, deleted=True))
    connection.execute(
        statement.on_conflict_do_update(index_elements=["id"], set_={"deleted": True})
    )


def _erase(connection: Connection, document_id: str) -> None:
    connection.execute(
        delete(document_updates).where(document_updates.c.document_id == document_id)
    )
    connection.execute(
        delete(document_snapshots).where(document_snapshots.c.document_id == document_id)
    )
