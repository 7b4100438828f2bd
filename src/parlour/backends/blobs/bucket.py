"""Blobs in a bucket.

An upload is received on this machine's disk first, and sent when it is whole: a sender that goes away in the
middle costs the bucket nothing, and what was counted is what is sent. The bucket shows an object when all of
it is there; of a large one that was cut off while it was sent it keeps parts that only its own rules for
incomplete uploads remove."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import BinaryIO, Final, cast

import obstore
import structlog

from parlour.backends.blobs.folder import on_disk, receive
from parlour.backends.bucket import Bucket, encode_key, translated
from parlour.errors import NotFound, Unavailable

log = structlog.get_logger(__name__)

CHUNK: Final = 256 * 1024
"""Bytes that are given on at once, at least."""

PARTS_AT_ONCE: Final = 4
"""Of 5 MB each, of a large file."""


class BucketBlobs:
    """See `Blobs`. `folder` is put before every name."""

    def __init__(self, bucket: Bucket, folder: str = "") -> None:
        self._store = bucket.connect()
        folder = folder.strip("/")
        self._folder = f"{encode_key(folder)}/" if folder else ""

    async def put(self, name: str, chunks: AsyncIterator[bytes], limit: int) -> int:
        target = await on_disk(_temporary)
        try:
            size = await receive(cast(BinaryIO, target), chunks, limit)
            await on_disk(target.flush)
            with translated(name):
                await obstore.put_async(
                    self._store, self._key(name), Path(target.name), max_concurrency=PARTS_AT_ONCE
                )
        finally:
            await asyncio.shield(asyncio.to_thread(target.close))
        return size

    async def open(self, name: str, start: int, size: int) -> AsyncGenerator[bytes]:
        if size <= 0:
            return
        with translated("The file"):
            found = await obstore.get_async(
                self._store, self._key(name), options={"range": (start, start + size)}
            )
            stream = found.stream(min_chunk_size=CHUNK)
        while True:
            with translated("The file"):
                chunk = await anext(stream, None)
            if chunk is None:
                return
            yield bytes(chunk)

    async def discard(self, name: str) -> None:
        try:
            with translated(name):
                await obstore.delete_async(self._store, self._key(name))
        except NotFound:
            return
        except Unavailable as error:
            log.warning("a file's bytes are left behind", blob=name, error=str(error))

    def _key(self, name: str) -> str:
        return f"{self._folder}{name[:2]}/{name}"


def _temporary() -> tempfile._TemporaryFileWrapper[bytes]:
    return tempfile.NamedTemporaryFile(prefix="parlour-")
