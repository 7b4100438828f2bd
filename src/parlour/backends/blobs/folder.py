"""Blobs in a folder.

Bytes are written to a temporary file, flushed to the disk and renamed, so a name always stands for all of
its bytes; a crash in between leaves a file that nothing names."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import structlog

from parlour.errors import NotFound, TooLarge, Unavailable

log = structlog.get_logger(__name__)

T = TypeVar("T")

CHUNK: Final = 256 * 1024
"""Bytes that are read from the disk at once."""


class FolderBlobs:
    """See `Blobs`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, name: str, chunks: AsyncIterator[bytes], limit: int) -> int:
        path = self._path(name)
        partial = path.with_suffix(".part")
        try:
            target = await on_disk(_create, partial)
            with target:
                size = await receive(target, chunks, limit)
                await on_disk(_finish, target, partial, path)
        finally:
            await asyncio.shield(asyncio.to_thread(_remove, partial))
        return size

    async def open(self, name: str, start: int, size: int) -> AsyncGenerator[bytes]:
        source = await self._source(name)
        try:
            await on_disk(source.seek, start)
            while size > 0 and (chunk := await on_disk(source.read, min(CHUNK, size))):
                size -= len(chunk)
                yield chunk
        finally:
            source.close()

    async def discard(self, name: str) -> None:
        try:
            await asyncio.to_thread(_remove, self._path(name))
        except OSError as error:
            log.warning("a file's bytes are left behind", blob=name, error=str(error))

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name

    async def _source(self, name: str) -> BinaryIO:
        try:
            return await asyncio.to_thread(self._path(name).open, "rb")
        except FileNotFoundError as error:
            raise NotFound("the file's bytes are gone") from error
        except OSError as error:
            raise unavailable(error) from error


async def receive(target: BinaryIO, chunks: AsyncIterator[bytes], limit: int) -> int:
    """Write the chunks; gives how many bytes. Raises `TooLarge` past `limit`, `Unavailable`, and what the
    chunks raise."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"the file is larger than {limit} bytes", limit=limit)
        await on_disk(target.write, chunk)
    return size


async def on_disk(call: Callable[..., T], *values: Any) -> T:
    """Run a blocking call in a thread. Only its own errors are the disk's, not those of the
    sender."""
    try:
        return await asyncio.to_thread(call, *values)
    except OSError as error:
        raise unavailable(error) from error


def unavailable(error: OSError) -> Unavailable:
    """For the caller to raise; no path is told."""
    reason = error.strerror or type(error).__name__
    return Unavailable(f"the disk with the uploaded files does not serve: {reason.lower()}")


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
