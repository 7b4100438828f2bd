"""What is left of a workspace whose keeper was killed: found by its user, or by a word in its environment.

Only where there is no sandbox, whose processes the kernel ends with it. A process that hides, by emptying
its environment, is found only where workspaces have users of their own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

MARK: Final = "PARLOUR_WORKSPACE"
SWEEPS: Final = 100
PAUSE_S: Final = 0.01


def end_survivors(user: int | None, mark: str) -> None:
    """Kill until none is left. Blocks; call it in a thread."""
    belongs = _of_user(user) if user is not None else _marked(mark)
    for _ in range(SWEEPS):
        alive = list(survivors(belongs))
        if not alive:
            return
        # Stopped first, so that none forks while the next is killed.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in alive:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
        time.sleep(PAUSE_S)


def survivors(belongs: Callable[[Path], bool]) -> Iterator[int]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                if belongs(folder) and not _dead(folder):
                    yield int(folder.name)


def _of_user(user: int) -> Callable[[Path], bool]:
    return lambda folder: folder.stat().st_uid == user


def _marked(mark: str) -> Callable[[Path], bool]:
    word = f"{MARK}={mark}".encode()
    return lambda folder: word in (folder / "environ").read_bytes().split(b"\0")


def _dead(folder: Path) -> bool:
    return (folder / "stat").read_bytes().rpartition(b")")[2].split()[0] in (b"Z", b"X")
