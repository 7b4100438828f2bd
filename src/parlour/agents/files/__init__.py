"""Bytes by path: in a folder, or in a bucket that speaks S3."""

from parlour.agents.files.local import LocalFileStore
from parlour.agents.files.settings import file_store_of

__all__ = ["LocalFileStore", "file_store_of"]
