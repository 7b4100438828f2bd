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
        from parlour.backends.bucket import Bucket
    except ImportError:
        raise SettingsError(
            ["agent_files names a bucket, which needs obstore: install parlour[s3]."]
        ) from None
    key = settings.agent_files_key
    bucket, folder = Bucket.at(
        place,
        "agent_files",
        endpoint=settings.agent_files_endpoint,
        region=settings.agent_files_region,
        key=None if key is None else key.get_secret_value(),
    )
    return S3FileStore(bucket, folder)
