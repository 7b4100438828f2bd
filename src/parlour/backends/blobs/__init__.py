"""Where the bytes of uploaded files are: a folder of this machine, or a bucket that all nodes share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Final, Protocol

from parlour.backends.blobs.folder import FolderBlobs
from parlour.errors import SettingsError

__all__ = ["Blobs", "FolderBlobs", "open_blobs"]

S3: Final = "s3://"


class Blobs(Protocol):
    """Bytes by a name that the caller has made up: letters and digits, never used twice."""

    async def put(self, name: str, chunks: AsyncIterator[bytes], limit: int) -> int:
        """Store; gives how many bytes. Raises `TooLarge` past `limit`, `Unavailable`, and what the chunks
        raise; then the name means nothing."""
        ...

    def open(self, name: str, start: int, size: int) -> AsyncGenerator[bytes]:
        """`size` bytes from `start` on, in chunks. Raises `NotFound` or `Unavailable`."""
        ...

    async def discard(self, name: str) -> None:
        """Remove the bytes, whose name is forgotten. Never raises: what cannot be removed now stays where it
        is, and a log entry says so."""
        ...


def open_blobs(
    place: str,
    data_folder: Path,
    *,
    endpoint: str | None = None,
    region: str = "us-east-1",
    key: str | None = None,
) -> Blobs:
    """`place` is a folder, `s3://bucket/prefix`, or nothing for the data folder's own. `key` is `id:secret`.
    Raises `SettingsError` where that cannot be, or the extra that a bucket needs is not installed."""
    if not place.startswith(S3):
        return FolderBlobs(Path(place) if place else data_folder / "files")
    try:
        from parlour.backends.blobs.bucket import BucketBlobs
        from parlour.backends.bucket import Bucket
    except ImportError:
        raise SettingsError(
            ["uploads names a bucket, which needs obstore: install parlour[s3]."]
        ) from None
    bucket, folder = Bucket.at(place, "uploads", endpoint=endpoint, region=region, key=key)
    return BucketBlobs(bucket, folder)
