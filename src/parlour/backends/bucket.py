"""A bucket that speaks S3, through obstore (the extra `s3`): its address, its keys and its errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from urllib.parse import quote

from obstore.exceptions import BaseError, NotFoundError
from obstore.store import S3Store

from parlour.errors import NotFound, SettingsError, Unavailable

S3: Final = "s3://"
TIMEOUT: Final = timedelta(seconds=60)
CONNECT: Final = timedelta(seconds=10)
RETRY: Final = timedelta(seconds=30)
RETRIES: Final = 3
NO_BUCKET: Final = "NoSuchBucket"
"""S3's word for it; its status is the one of a missing object."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where a bucket is. `key` is id and secret; without it the machine's own credentials are looked for, as
    S3's tools do. `endpoint` is the address of a service that is not Amazon's."""

    name: str
    endpoint: str | None = None
    region: str = "us-east-1"
    key: tuple[str, str] | None = field(default=None, repr=False)

    @classmethod
    def at(
        cls, place: str, setting: str, *, endpoint: str | None, region: str, key: str | None
    ) -> tuple[Bucket, str]:
        """The bucket and the folder in it of `s3://bucket/folder`; `key` is `id:secret`. Raises `SettingsError`,
        which names the setting."""
        name, _, folder = place.removeprefix(S3).partition("/")
        pair = None
        if key is not None:
            user, found, secret = key.partition(":")
            if not found:
                raise SettingsError([f"{setting}_key must be id:secret, with a colon between."])
            pair = (user, secret)
        return cls(name, endpoint, region, pair), folder

    def connect(self) -> S3Store:
        """Says nothing to the service yet."""
        given = {} if self.endpoint is None else {"endpoint": self.endpoint}
        if self.key is not None:
            given |= {"access_key_id": self.key[0], "secret_access_key": self.key[1]}
        return S3Store(
            self.name,
            region=self.region,
            virtual_hosted_style_request=self.endpoint is None,
            client_options={
                "allow_http": (self.endpoint or "").startswith("http://"),
                "timeout": TIMEOUT,
                "connect_timeout": CONNECT,
            },
            retry_config={"max_retries": RETRIES, "retry_timeout": RETRY},
            **given,  # type: ignore[arg-type]
        )


def encode_key(path: str) -> str:
    """Letters, digits, `.`, `_`, `-` and `~` as they are: the rules for anything else differ between services."""
    return quote(path, safe="/")


@contextmanager
def translated(what: str) -> Iterator[None]:
    """What a bucket raises, as `NotFound` of `what`, or `Unavailable`."""
    try:
        yield
    except (FileNotFoundError, NotFoundError) as error:
        if NO_BUCKET in str(error):
            raise Unavailable("The bucket of the store of files does not exist.") from error
        raise NotFound(f"{what} does not exist.") from error
    except (BaseError, OSError) as error:
        raise Unavailable("The store of files does not answer.") from error
