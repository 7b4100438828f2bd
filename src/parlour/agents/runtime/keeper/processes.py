"""What runs below the keeper, and its end."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

SWEEPS = 60
PAUSE_S = 0.01
CROWDED = 0.9
"""Share of the limit at which a workspace is cleared before its next command."""


class Process(NamedTuple):
    """`began` tells two processes with one number apart; in ticks since the machine started."""

    parent: int
    began: int


Processes = Mapping[int, Process]


class Herd:
    """All processes of the workspace. `alone`: no other process has this user, as far as this one sees."""

    def __init__(self, bound: int, alone: bool, reap: Callable[[], bool]) -> None:
        self._bound = bound
        self._alone = alone
        self._reap = reap

    def crowded(self) -> bool:
        # The keeper is one of those that the kernel counts.
        return self._alone and 1 + len(below(os.getpid())) >= self._bound * CROWDED

    def end_new(self, known: Processes, consoles: Collection[int]) -> None:
        """End what is not in `known`, except what a process of before has started since (a development
        server's new worker is not part of the command that is stopped)."""
        for _ in range(SWEEPS):
            now = below(os.getpid())
            old = {
                pid for pid, one in now.items() if known.get(pid) and known[pid].began == one.began
            }
            spared = old - set(consoles)
            victims = [pid for pid in now if pid not in old and not _descends(pid, now, spared)]
            if not victims:
                return
            for pid in victims:
                kill(pid)
            time.sleep(PAUSE_S)
            self._reap()
        self.clear()

    def clear(self) -> None:
        """End everything, and leave no zombie for an init that may not look after them. Where nobody
        else's process can be meant, in one step of the kernel, which no fork is faster than."""
        for _ in range(SWEEPS):
            alive = below(os.getpid())
            if not alive and not self._reap():
                return
            if self._alone and os.getuid() != 0:
                with contextlib.suppress(OSError):
                    os.kill(-1, signal.SIGKILL)
            else:
                self._kill_each(alive)
            time.sleep(PAUSE_S)
            self._reap()

    def _kill_each(self, alive: Processes) -> None:
        # Stopped first, so that none forks while the next is killed.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in alive:
                kill(pid, number)


def below(root: int) -> dict[int, Process]:
    """All living descendants of a process. An orphan is found too: its reaper is its parent."""
    every: dict[int, Process] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                state, process = _stat(name)
                if state not in "ZX":
                    every[int(name)] = process
    mine = {root}
    grown = True
    while grown:
        more = {pid for pid, one in every.items() if one.parent in mine} - mine
        grown = bool(more)
        mine |= more
    return {pid: every[pid] for pid in mine if pid != root}


def threads_of(user: int) -> int:
    """How many threads a user runs, which is what the kernel's limit counts."""
    count = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{name}").st_uid == user:
                    count += len(os.listdir(f"/proc/{name}/task"))
    return count


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def exit_code(status: int) -> int:
    """As a shell tells it: 128 and the number of the signal."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _stat(pid: str) -> tuple[str, Process]:
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return fields[0].decode(), Process(int(fields[1]), int(fields[19]))


def _descends(pid: int, processes: Processes, roots: Collection[int]) -> bool:
    while pid in processes:
        pid = processes[pid].parent
        if pid in roots:
            return True
    return False
