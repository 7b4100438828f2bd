"""Files below one folder of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from parlour.agents.files.paths import check_prefix
from parlour.agents.runtime.workspace import Workspace

FILE_BYTES: Final = 1_000_000_000
FILES: Final = 1_000_000


class LocalFileStore:
    """See the `FileStore` port. What `write` has returned for is on the disk."""

    def __init__(self, folder: Path) -> None:
        self._files = Workspace(
            folder.absolute(),
            read_bytes=FILE_BYTES,
            listed_files=FILES,
            durable=True,
            closed=frozenset(),
        )

    async def read(self, path: str) -> bytes:
        return await asyncio.to_thread(self._files.read, path)

    async def write(self, path: str, content: bytes) -> None:
        await asyncio.to_thread(self._write, path, content)

    async def list(self, prefix: str) -> Sequence[str]:
        check_prefix(prefix)
        return await asyncio.to_thread(self._list, prefix)

    async def delete(self, path: str) -> None:
        await asyncio.to_thread(self._files.delete, path)

    def _write(self, path: str, content: bytes) -> None:
        self._files.create()
        self._files.write(path, content)

    def _list(self, prefix: str) -> Sequence[str]:
        return [
            entry.path
            for entry in self._files.entries(prefix.rpartition("/")[0])
            if not entry.folder and entry.path.startswith(prefix)
        ]
