"""Files in a bucket that speaks S3, through obstore (the extra `s3`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final
from urllib.parse import quote, unquote

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import S3Store

from parlour.agents.files.paths import check_prefix, normal_path
from parlour.errors import NotFound, Unavailable

TIMEOUT: Final = timedelta(seconds=60)
CONNECT: Final = timedelta(seconds=10)
RETRY: Final = timedelta(seconds=30)
RETRIES: Final = 3
NO_BUCKET: Final = "NoSuchBucket"
"""S3's word for it; its status is the one of a missing object."""


class S3FileStore:
    """See the `FileStore` port. A write replaces an object, which S3 does whole. `folder` is put before every
    path. Without `key` (id and secret) the machine's own credentials are looked for, as S3's tools do."""

    def __init__(
        self,
        bucket: str,
        *,
        folder: str = "",
        endpoint: str | None = None,
        region: str = "us-east-1",
        key: tuple[str, str] | None = None,
    ) -> None:
        given = {} if endpoint is None else {"endpoint": endpoint}
        if key is not None:
            given |= {"access_key_id": key[0], "secret_access_key": key[1]}
        folder = folder.strip("/")
        self._folder = f"{normal_path(folder)}/" if folder else ""
        self._store = S3Store(
            bucket,
            region=region,
            virtual_hosted_style_request=endpoint is None,
            client_options={
                "allow_http": (endpoint or "").startswith("http://"),
                "timeout": TIMEOUT,
                "connect_timeout": CONNECT,
            },
            retry_config={"max_retries": RETRIES, "retry_timeout": RETRY},
            **given,  # type: ignore[arg-type]
        )

    async def read(self, path: str) -> bytes:
        with _translated(path):
            found = await obstore.get_async(self._store, self._key(path))
            return bytes(await found.bytes_async())

    async def write(self, path: str, content: bytes) -> None:
        with _translated(path):
            await obstore.put_async(self._store, self._key(path), content)

    async def list(self, prefix: str) -> Sequence[str]:
        check_prefix(prefix)
        above = prefix.rpartition("/")[0]
        with _translated(prefix):
            found = await obstore.list(
                self._store, prefix=self._encode(self._folder + above) or None
            ).collect_async()
        paths = (unquote(one["path"]).removeprefix(self._folder) for one in found)
        return sorted(path for path in paths if path.startswith(prefix))

    async def delete(self, path: str) -> None:
        try:
            with _translated(path):
                await obstore.delete_async(self._store, self._key(path))
        except NotFound:
            return

    def _key(self, path: str) -> str:
        return self._encode(self._folder + normal_path(path))

    @staticmethod
    def _encode(path: str) -> str:
        """Letters, digits, `.`, `_`, `-` and `~` as they are: the rules for anything else differ between services."""
        return quote(path, safe="/")


@contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotFoundError) as error:
        if NO_BUCKET in str(error):
            raise Unavailable("The bucket of the store of files does not exist.") from error
        raise NotFound(f"{path} does not exist.") from error
    except (BaseError, OSError) as error:
        raise Unavailable("The store of files does not answer.") from error
