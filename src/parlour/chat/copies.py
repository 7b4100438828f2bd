"""Copies of stored files in a throw-away folder, for code that wants a path."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from parlour.chat.context import ParlourContext

_SUFFIX: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


KEPT_FILES: Final = 200
"""Newest files that `context.session.files` lists."""


def list_file(found: ParlourContext, reference: Mapping[str, Any]) -> None:
    """Put a file that came in into the session's list."""
    files = found.chat.files
    files.pop(str(reference["id"]), None)
    files[str(reference["id"])] = dict(reference)
    while len(files) > KEPT_FILES:
        del files[next(iter(files))]


async def copy_file(found: ParlourContext, reference: Mapping[str, Any]) -> str:
    """Copy a stored file into the activation's folder and give back its path; the session lists it.
    Raises `NotFound`."""
    list_file(found, reference)
    folder = await _folder(found)
    path = folder / f"{len(found.copies)}{_suffix(str(reference.get('name') or ''))}"
    found.copies.append(str(path))
    file = await asyncio.to_thread(path.open, "wb")
    try:
        async for chunk in found.node.files.open(str(reference["id"])):
            await asyncio.to_thread(_write, file, chunk)
    finally:
        await asyncio.to_thread(file.close)
    return str(path)


async def drop_copies(found: ParlourContext) -> None:
    """Remove the activation's folder."""
    folder, found.folder = found.folder, None
    if folder is not None:
        await asyncio.to_thread(folder.cleanup)


async def _folder(found: ParlourContext) -> Path:
    if found.folder is None:
        found.folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="parlour-")
    return Path(found.folder.name)


def _suffix(name: str) -> str:
    """The extension, which readers of files go by; nothing else of a name that a client chose."""
    suffix = PurePosixPath(name).suffix[1:17]
    return f".{suffix}" if suffix and set(suffix) <= _SUFFIX else ""


def _write(file: IO[bytes], chunk: bytes) -> None:
    file.write(chunk)
