"""The file store that the settings name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from parlour.agents.files.local import LocalFileStore
from parlour.agents.ports import FileStore
from parlour.errors import SettingsError

if TYPE_CHECKING:
    from parlour.config import Settings

S3: Final = "s3://"


def file_store_of(settings: Settings) -> FileStore:
    """A folder, or a bucket where `agent_files` is `s3://bucket/prefix`. Raises `SettingsError` where the extra
    that a bucket needs is not installed."""
    place = settings.agent_files
    if not place.startswith(S3):
        return LocalFileStore(Path(place) if place else settings.data_folder / "agents")
    try:
        from parlour.agents.files.s3 import S3FileStore
    except ImportError:
        raise SettingsError(
            ["agent_files names a bucket, which needs obstore: install parlour[s3]."]
        ) from None
    bucket, _, folder = place.removeprefix(S3).partition("/")
    return S3FileStore(
        bucket,
        folder=folder,
        endpoint=settings.agent_files_endpoint,
        region=settings.agent_files_region,
        key=_key(settings),
    )


def _key(settings: Settings) -> tuple[str, str] | None:
    if settings.agent_files_key is None:
        return None
    name, found, secret = settings.agent_files_key.get_secret_value().partition(":")
    if not found:
        raise SettingsError(["agent_files_key must be id:secret, with a colon between."])
    return name, secret
