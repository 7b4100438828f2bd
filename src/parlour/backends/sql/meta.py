"""The data folder: made, checked, and owned by one process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from parlour.errors import DataFolderBusy, Unavailable


class DataFolder:
    """A folder that this process owns while the lock is held.

    The lock is the kernel's (`flock`), so it ends with the process however that dies; the file
    itself stays. Opening raises `DataFolderBusy` when another process holds it and `Unavailable`
    when the folder cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def acquire(self) -> None:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(
                f"the data folder {self.path} cannot be used: {error.strerror}"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._close()
            raise DataFolderBusy(
                f"another process uses the data folder {self.path}: stop it, or choose another one"
            ) from error
        os.ftruncate(self._lock, 0)
        os.write(self._lock, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Idempotent."""
        self._close()

    def _close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
