"""Files in a bucket that speaks S3, through obstore (the extra `s3`)."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

import obstore

from parlour.agents.files.paths import check_prefix, normal_path
from parlour.backends.bucket import Bucket, encode_key, translated
from parlour.errors import NotFound


class S3FileStore:
    """See the `FileStore` port. A write replaces an object, which S3 does whole. `folder` is put before every
    path."""

    def __init__(self, bucket: Bucket, folder: str = "") -> None:
        folder = folder.strip("/")
        self._folder = f"{normal_path(folder)}/" if folder else ""
        self._store = bucket.connect()

    async def read(self, path: str) -> bytes:
        with translated(path):
            found = await obstore.get_async(self._store, self._key(path))
            return bytes(await found.bytes_async())

    async def write(self, path: str, content: bytes) -> None:
        with translated(path):
            await obstore.put_async(self._store, self._key(path), content)

    async def list(self, prefix: str) -> Sequence[str]:
        check_prefix(prefix)
        above = prefix.rpartition("/")[0]
        with translated(prefix):
            found = await obstore.list(
                self._store, prefix=encode_key(self._folder + above) or None
            ).collect_async()
        paths = (unquote(one["path"]).removeprefix(self._folder) for one in found)
        return sorted(path for path in paths if path.startswith(prefix))

    async def delete(self, path: str) -> None:
        try:
            with translated(path):
                await obstore.delete_async(self._store, self._key(path))
        except NotFound:
            return

    def _key(self, path: str) -> str:
        return encode_key(self._folder + normal_path(path))
