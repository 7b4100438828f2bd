"""A terminal with one long-lived program, which is given one text at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from .capture import Capture
from .processes import Herd, Processes, below, kill
from .terminal import make_plain, read_terminal, write_all

MARK = b"\x1b]parlour;"
MARK_END = b"\x07"
MARK_LIMIT = 200

INTERRUPT_S = 1.0
"""What a command has after Ctrl-C to end by itself."""

AGAIN_S = 0.05

DRAIN_S = 0.1
"""How long the terminal of a program that is gone is read on, where a child holds it open."""

IDLE_BYTES = 4096
"""What is kept of output between two commands; it is shown before that of the next one."""

HIGH = 200
"""The first descriptor that is the keeper's in a shell."""

CLEARED = b"[the limit of processes was reached: everything that ran here was ended]\n"


@dataclass(frozen=True)
class Surroundings:
    """What a console needs of its keeper."""

    folder: str
    environment: dict[str, str]
    output_limit: int
    herd: Herd
    limit_child: Callable[[], None]
    say: Callable[[str], None]
    ended: Callable[[int, bool], None]
    watch: Callable[[Console], None]
    unwatch: Callable[[Console], None]
    consoles: Callable[[], set[int]]


class Console:
    """Terminal and program; subclasses say which program, and how a text reaches it."""

    note = b""
    """Said by a program that took another one's place."""

    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self.folder = around.folder
        self.pid = 0
        self.master = self.input = -1
        self.mark = ""
        self.deadline: float | None = None
        self._lives = 0
        self._hung_up = False
        self._exited: int | None = None
        self._carry = self._idle = b""
        self._capture: Capture | None = None
        self._known: Processes = {}
        self._stopping = False
        self._interrupted: set[tuple[int, str]] = set()
        self._kill_at = 0.0

    def open_input(self) -> tuple[tuple[int, ...], int]:
        """The descriptors that the program inherits, and the one that texts are written to."""
        raise NotImplementedError

    def arguments(self, *inherited: int) -> list[str]:
        raise NotImplementedError

    def give(self, text: str) -> None:
        raise NotImplementedError

    def asked_again(self, program: str) -> bool:
        """Whether this program is interrupted more than once."""
        return False

    # -- the program -----------------------------------------------------------------------------

    def start(self) -> None:
        self._lives += 1
        self._exited, self._hung_up, self._carry = None, False, b""
        master, slave = os.openpty()
        make_plain(slave)
        inherited, own = self.open_input()
        pid = os.fork()
        if pid == 0:
            self._become(slave, inherited)
        for fd in {slave, *inherited} - {own}:
            os.close(fd)
        os.set_blocking(master, False)
        self.pid, self.master, self.input = pid, master, own
        self.around.watch(self)

    def _become(self, slave: int, inherited: tuple[int, ...]) -> NoReturn:
        """In the child."""
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            os.login_tty(slave)
            for fd in inherited:
                os.set_inheritable(fd, True)
            with contextlib.suppress(OSError):
                os.chdir(self.folder)
            self.around.limit_child()
            arguments = self.arguments(*inherited)
            os.execvpe(arguments[0], arguments, self.around.environment)
        except BaseException as error:  # noqa: BLE001 - a forked child must never return
            os.write(2, f"cannot start: {error}\n".encode())
        finally:
            os._exit(127)

    def exited(self, code: int) -> None:
        """The program ended: its terminal is read empty, then its command is over too."""
        self._exited = code
        if self._hung_up:
            self._end(code)
        else:
            self.deadline = time.monotonic() + DRAIN_S

    def _let_go(self) -> None:
        self.around.unwatch(self)
        os.close(self.master)
        os.close(self.input)
        self.master = self.input = -1
        self.pid, self._exited, self.deadline = 0, None, None

    # -- one text --------------------------------------------------------------------------------

    def run(self, text: str) -> None:
        self.mark = secrets.token_hex(16)
        self._capture = Capture(self.around.say, self.around.output_limit)
        self._stopping, self.deadline = False, None
        if self.around.herd.crowded():
            self.around.herd.clear()
            self._capture.feed(CLEARED)
        if self.pid and self._exited is not None:
            self._let_go()
        if not self.pid:
            self.start()
            if self._lives > 1:
                self._capture.feed(self.note)
        self._capture.feed(self._idle)
        self._idle = b""
        self._known = below(os.getpid())
        self.give(text)

    def stop(self) -> None:
        """Ctrl-C; what is left a moment later is killed."""
        if not self.mark or self._stopping:
            return
        self._stopping = True
        self._interrupted = set()
        self._kill_at = time.monotonic() + INTERRUPT_S
        self._interrupt()

    def _interrupt(self) -> None:
        """What runs in front. A shell that is just starting a program passes Ctrl-C over, also in the
        child that becomes it, so both are asked again; a program once, since it may be tidying up."""
        with contextlib.suppress(OSError):
            group = os.tcgetpgrp(self.master)
            what = (group, os.readlink(f"/proc/{group}/exe"))
            if self.asked_again(what[1]) or what not in self._interrupted:
                self._interrupted.add(what)
                os.killpg(group, signal.SIGINT)
        self.deadline = min(time.monotonic() + AGAIN_S, self._kill_at)

    def tick(self, now: float) -> None:
        """Act where a deadline has passed."""
        if self.deadline is None or now < self.deadline:
            return
        self.deadline = None
        if self._exited is not None:
            self._end(self._exited)
        elif now < self._kill_at:
            self._interrupt()
        else:
            # The program goes with its children: a shell whose child was killed would do the next line
            # of the text, which is what was to be stopped.
            kill(self.pid)

    def _end(self, code: int) -> None:
        if self._exited is not None:
            self._let_go()
        if self._capture is None:
            return
        if self._stopping:
            self.around.herd.end_new(self._known, self.around.consoles())
        truncated = self._capture.finish()
        self.mark, self._capture, self.deadline = "", None, None
        if self.pid:
            with contextlib.suppress(OSError):
                self.folder = os.readlink(f"/proc/{self.pid}/cwd")
        self.around.ended(code, truncated)

    # -- what the terminal says ------------------------------------------------------------------

    def read(self) -> None:
        if self.master < 0:
            return  # let go of in the same round
        data, hung_up = read_terminal(self.master)
        if data:
            self._take(self._carry + data)
        if hung_up and self.master >= 0:
            self._hung_up = True
            self.around.unwatch(self)
            if self._exited is not None:
                self._end(self._exited)

    def _take(self, data: bytes) -> None:
        self._carry = b""
        expected = MARK + self.mark.encode() + b";"
        found = data.find(expected) if self.mark else -1
        if found < 0:
            self._print(self._hold_beginning_of(expected, data))
            return
        end = data.find(MARK_END, found)
        self._print(data[:found])
        if end < 0 and len(data) - found < MARK_LIMIT:
            self._carry = data[found:]
            return
        code = data[found + len(expected) : end]
        self._end(int(code) if code.isdigit() else 1)
        self._print(data[end + 1 :] if end >= 0 else b"")

    def _hold_beginning_of(self, expected: bytes, data: bytes) -> bytes:
        """What may be the first part of the mark waits for the rest."""
        start = data.rfind(b"\x1b", max(0, len(data) - len(expected)))
        if start < 0 or not expected.startswith(data[start:]):
            return data
        self._carry = data[start:]
        return data[:start]

    def _print(self, data: bytes) -> None:
        if self._capture is not None:
            self._capture.feed(data)
        elif data:
            self._idle = (self._idle + data)[-IDLE_BYTES:]


class Shell(Console):
    """bash, interactive, so that Ctrl-C means what people expect and jobs have groups of their own."""

    note = b"[the shell is a new one: variables of earlier commands are gone]\n"

    def open_input(self) -> tuple[tuple[int, ...], int]:
        """A text goes through a file in memory that is shared with the shell, which is only told to read
        it: a typed line ends at 4,095 bytes, and control characters in it act."""
        start, text = _memory_file("start"), _memory_file("text")
        os.write(start, SHELL_START.replace("{file}", str(start)).encode())
        return (start, text), text

    def arguments(self, *inherited: int) -> list[str]:
        return ["bash", "--noprofile", "--rcfile", f"/dev/fd/{inherited[0]}", "--noediting", "-i"]

    def asked_again(self, program: str) -> bool:
        return program.endswith("/bash")

    def give(self, text: str) -> None:
        os.ftruncate(self.input, 0)
        os.pwrite(self.input, text.encode("utf-8", "replace") + b"\n", 0)
        file = f"/dev/fd/{self.input}"
        # A shell that closed the file can be told nothing any more: it goes, and the next one is a new one.
        line = (
            f"[ -r {file} ] || exit 1; PROMPT_COMMAND=__parlour_end; "
            f"__parlour_mark={self.mark}; . {file} < /dev/null\n"
        )
        write_all(self.master, line.encode())


def _memory_file(name: str) -> int:
    """Far above the numbers that scripts use."""
    low = os.memfd_create(name)
    try:
        return fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, HIGH)
    finally:
        os.close(low)


SHELL_START = r"""
exec {file}<&-
set +o history
unset HISTFILE MAIL MAILPATH
PS1= PS2=
__parlour_end() {
    local code=$?
    if [ -n "${__parlour_mark:-}" ]; then
        printf '\033]parlour;%s;%d\007' "$__parlour_mark" "$code" > /dev/tty
        __parlour_mark=
    fi
    return "$code"
}
readonly -f __parlour_end
"""


class Cell(Console):
    """Python that keeps its names; `program` is the path of the interpreter, `source` what it runs."""

    note = b"[the interpreter is a new one: names of earlier cells are gone]\n"

    def __init__(self, around: Surroundings, program: str, source: str) -> None:
        super().__init__(around)
        self._program = program
        self._source = source

    def open_input(self) -> tuple[tuple[int, ...], int]:
        read, write = os.pipe()
        return (read,), write

    def arguments(self, *inherited: int) -> list[str]:
        return [self._program, "-u", "-c", self._source, str(inherited[0])]

    def give(self, text: str) -> None:
        write_all(self.input, json.dumps({"mark": self.mark, "code": text}).encode() + b"\n")
