"""Files: bytes among the blobs, their records in a table.

A name or an id from outside never becomes part of a path: each file has a random name of its own.
The bytes are stored before the record appears, so a record always has its bytes; a crash in between
leaves bytes that nothing names.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.engine import Row
from sqlalchemy.exc import IntegrityError

from parlour.backends.blobs import Blobs
from parlour.backends.sql.engine import Database
from parlour.backends.sql.projections import plain
from parlour.backends.sql.schema import files as table
from parlour.errors import Conflict, NotFound
from parlour.ports import FileRecord


class SqlFileStore:
    """`ports.FileStore`: blobs and the table `files`."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs

    async def put(
        self, record: FileRecord, chunks: AsyncIterator[bytes], *, limit: int
    ) -> FileRecord:
        """Also raises `Conflict` where the id is taken."""
        blob = secrets.token_hex(16)
        try:
            size = await self._blobs.put(blob, chunks, limit)
            stored = replace(record, size=size, name=plain(record.name))
            await self._database.write(lambda c: _add(c, stored, blob))
        except BaseException:  # whatever ended it, a cancellation too: nothing is kept
            await asyncio.shield(self._blobs.discard(blob))
            raise
        return stored

    async def file(self, file_id: str) -> FileRecord | None:
        row = await self._database.read(lambda c: _row(c, file_id))
        return None if row is None else _record(row)

    async def place(self, file_ids: Sequence[str], thread_id: str) -> None:
        loose = (table.c.id.in_(list(file_ids)), table.c.thread_id.is_(None))
        await self._database.write(
            lambda c: c.execute(update(table).where(*loose).values(thread_id=thread_id)) and None
        )

    async def open(
        self, file_id: str, start: int = 0, size: int | None = None
    ) -> AsyncIterator[bytes]:
        row = await self._database.read(lambda c: _row(c, file_id))
        if row is None:
            raise NotFound("there is no such file")
        rest = max(0, row.size - start)
        wanted = rest if size is None else min(size, rest)
        async with aclosing(self._blobs.open(row.blob, start, wanted)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def delete(self, file_id: str) -> None:
        """Idempotent."""
        gone = delete(table).where(table.c.id == file_id).returning(table.c.blob)
        blobs = await self._database.write(lambda c: list(c.scalars(gone)))
        await self.remove_blobs(blobs)

    async def remove_blobs(self, blobs: Iterable[str]) -> None:
        """Remove bytes whose records are gone."""
        for blob in blobs:
            await self._blobs.discard(blob)


def _row(connection: Connection, file_id: str) -> Row[Any] | None:
    return connection.execute(select(table).where(table.c.id == file_id)).one_or_none()


def _record(row: Row[Any]) -> FileRecord:
    values = dict(row._mapping)
    del values["blob"]
    return FileRecord(**values)


def _add(connection: Connection, record: FileRecord, blob: str) -> None:
    try:
        with connection.begin_nested():
            connection.execute(insert(table), {**asdict(record), "blob": blob})
    except IntegrityError as error:
        raise Conflict("a file with this id exists already") from error
