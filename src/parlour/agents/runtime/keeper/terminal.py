"""A pseudo-terminal from the side of its master."""

from __future__ import annotations

import os
import termios
import time

READ = 1 << 16
ROUNDS = 64
LINES, COLUMNS = 40, 120
PAUSE_S = 0.01


def make_plain(terminal: int) -> None:
    """No echo and no translation of line ends: what a command prints is what is read."""
    state = termios.tcgetattr(terminal)
    state[1] &= ~termios.OPOST
    state[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, state)
    termios.tcsetwinsize(terminal, (LINES, COLUMNS))


def read_terminal(master: int) -> tuple[bytes, bool]:
    """What it has, of which it gives 4 kB at a time, and whether nobody holds its other end."""
    parts = []
    for _ in range(ROUNDS):
        try:
            parts.append(os.read(master, READ))
        except BlockingIOError:
            break
        except OSError:
            return b"".join(parts), True
    return b"".join(parts), False


def write_all(fd: int, data: bytes) -> None:
    """A short text, or one whose reader is waiting for it. One that is gone is noticed elsewhere."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            time.sleep(PAUSE_S)
        except OSError:
            return
