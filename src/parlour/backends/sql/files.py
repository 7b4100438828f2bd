"""Files: bytes in a folder, their records in a table.

A name or an id from outside never becomes part of a path: each file has a random name of its own.
Bytes are written to a temporary file, flushed to the disk and renamed before the record appears,
so a record always has its bytes; a crash in between leaves bytes that nothing names.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.engine import Row
from sqlalchemy.exc import IntegrityError

from parlour.backends.sql.engine import Database
from parlour.backends.sql.errors import translate
from parlour.backends.sql.projections import plain
from parlour.backends.sql.schema import files as table
from parlour.errors import Conflict, NotFound, TooLarge
from parlour.ports import FileRecord

T = TypeVar("T")

CHUNK = 256 * 1024
"""Bytes that are read from the disk at once."""


class SqlFileStore:
    """`ports.FileStore`: a local folder and the table `files`."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder

    async def put(
        self, record: FileRecord, chunks: AsyncIterator[bytes], *, limit: int
    ) -> FileRecord:
        """Also raises `Conflict` where the id is taken."""
        blob = secrets.token_hex(16)
        path = self._path(blob)
        try:
            size = await self._receive(path, chunks, limit)
            stored = replace(record, size=size, name=plain(record.name))
            await self._database.write(lambda c: _add(c, stored, blob))
        except BaseException:  # whatever ended it, a cancellation too: nothing is kept
            await asyncio.shield(asyncio.to_thread(_remove, path))
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

    async def open(self, file_id: str) -> AsyncIterator[bytes]:
        row = await self._database.read(lambda c: _row(c, file_id))
        if row is None:
            raise NotFound("there is no such file")
        source = await self._open(self._path(row.blob))
        try:
            while chunk := await _on_disk(source.read, CHUNK):
                yield chunk
        finally:
            source.close()

    async def delete(self, file_id: str) -> None:
        """Idempotent."""
        gone = delete(table).where(table.c.id == file_id).returning(table.c.blob)
        blobs = await self._database.write(lambda c: list(c.scalars(gone)))
        await self.remove_blobs(blobs)

    async def remove_blobs(self, blobs: Iterable[str]) -> None:
        """Remove bytes whose records are gone."""
        for blob in blobs:
            await asyncio.to_thread(_remove, self._path(blob))

    def _path(self, blob: str) -> Path:
        return self._folder / blob[:2] / blob

    async def _open(self, path: Path) -> BinaryIO:
        try:
            return await asyncio.to_thread(path.open, "rb")
        except FileNotFoundError as error:
            raise NotFound("the file's bytes are gone") from error
        except OSError as error:
            raise translate(error) from error

    async def _receive(self, path: Path, chunks: AsyncIterator[bytes], limit: int) -> int:
        size = 0
        partial = path.with_suffix(".part")
        try:
            target = await _on_disk(_create, partial)
            with target:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > limit:
                        raise TooLarge(f"the file is larger than {limit} bytes", limit=limit)
                    await _on_disk(target.write, chunk)
                await _on_disk(_finish, target, partial, path)
        finally:
            await asyncio.shield(asyncio.to_thread(_remove, partial))
        return size


async def _on_disk(call: Callable[..., T], *values: Any) -> T:
    """Run a blocking call in a thread. Only its own errors are the disk's, not those of the
    sender."""
    try:
        return await asyncio.to_thread(call, *values)
    except OSError as error:
        raise translate(error) from error


def _create(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("xb")


def _finish(target: BinaryIO, partial: Path, path: Path) -> None:
    target.flush()
    os.fsync(target.fileno())
    partial.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


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
