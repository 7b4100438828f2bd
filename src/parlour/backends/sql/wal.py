"""The file of a write-ahead log, as far as its length is concerned.

SQLite tells how long its WAL is only while it makes a checkpoint, and the size of the file is that of the
longest WAL so far. So we look whether a frame belongs to the present one: its salts are those of the
header. The format is fixed (https://www.sqlite.org/fileformat2.html#walformat), and SQLite locks nothing
in this file, so that opening and closing it takes nobody's lock away.
"""

from __future__ import annotations

import os

_HEADER = 32
_SALTS = slice(16, 24)
_FRAME_HEADER = 24


class Wal:
    """The WAL of the database at `path`. What cannot be read is as if it were not there: whoever asks
    will ask again."""

    def __init__(self, path: str) -> None:
        self._path = f"{path}-wal"
        self._file: int | None = None

    def generation(self) -> bytes:
        """Changes when the WAL begins anew; empty where there is none."""
        return self._read(0, _HEADER)

    def holds(self, frame: int, generation: bytes | None = None) -> bool:
        """Whether the WAL has at least so many frames (pages of the database, counted from 1)."""
        header = self.generation() if generation is None else generation
        if len(header) < _HEADER:
            return False
        size = _FRAME_HEADER + int.from_bytes(header[8:12], "big")
        # The salts stand behind a frame's number of its page and the database's size.
        return self._read(_HEADER + (frame - 1) * size + 8, 8) == header[_SALTS]

    def close(self) -> None:
        """Idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _read(self, at: int, size: int) -> bytes:
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(self._file, size, at)
        except OSError:
            return b""
