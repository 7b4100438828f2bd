"""The keeper's loop: the server on one side, the terminals on the other."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import signal
import struct
import time
from collections.abc import Callable
from typing import Any

from .console import Cell, Console, Shell, Surroundings
from .processes import Herd, exit_code, threads_of

READ = 1 << 16
OUTBOX_LIMIT = 1 << 18
"""Bytes waiting for the server at which the terminals are no longer read: the command then waits."""

FRAME_LIMIT = 1 << 26

Json = dict[str, Any]


class Keeper:
    """Everything of one workspace. `server` is the connection to it."""

    def __init__(self, server: int, config: Json, cell_source: str) -> None:
        self._server = server
        self._limits: dict[str, int] = config["limits"]
        if not config["alone"]:
            # The kernel counts all that this user runs, the server itself included.
            self._limits["RLIMIT_NPROC"] += threads_of(os.getuid())
        self._inbox = bytearray()
        self._outbox = bytearray()
        self._selector = selectors.DefaultSelector()
        self._watched: set[Console] = set()
        self._heard: set[Console] = set()
        self._closing = False
        self._herd = Herd(self._limits["RLIMIT_NPROC"], config["alone"], self._reap)
        around = self._surroundings(config)
        self._consoles: dict[str, Console] = {
            "shell": Shell(around),
            "cell": Cell(around, config["python"], cell_source),
        }
        self._running: Console | None = None

    def _surroundings(self, config: Json) -> Surroundings:
        return Surroundings(
            folder=config["workspace"],
            environment=config["environment"],
            output_limit=config["output_limit"],
            herd=self._herd,
            limit_child=self._limit_child,
            say=lambda text: self._send({"op": "output", "text": text}),
            ended=lambda code, truncated: self._send(
                {"op": "end", "code": code, "truncated": truncated}
            ),
            watch=self._watch,
            unwatch=self._unwatch,
            consoles=lambda: {console.pid for console in self._consoles.values()},
        )

    # -- the loop --------------------------------------------------------------------------------

    def serve(self) -> None:
        """Until the server hangs up; then nothing runs any more."""
        self._select(self._server, self._serve_server)
        os.set_blocking(self._server, False)
        wake = _wake_on_child()
        self._select(wake, lambda _: _drain(wake))
        self._send({"op": "ready"})
        while not self._closing:
            self._balance()
            for key, events in self._selector.select(self._patience()):
                key.data(events)
            self._reap()
            for console in self._consoles.values():
                console.tick(time.monotonic())
        self._herd.clear()

    def _select(self, fd: int, act: Callable[[int], None]) -> None:
        self._selector.register(fd, selectors.EVENT_READ, act)

    def _patience(self) -> float | None:
        deadlines = [one.deadline for one in self._consoles.values() if one.deadline is not None]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _balance(self) -> None:
        """Read terminals only while the server takes what they say."""
        full = len(self._outbox) > OUTBOX_LIMIT
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outbox else 0)
        self._selector.modify(self._server, events, self._serve_server)
        for console in self._watched:
            if full and console in self._heard:
                self._deafen(console)
            elif not full and console not in self._heard:
                self._hear(console)

    def _watch(self, console: Console) -> None:
        self._watched.add(console)
        self._hear(console)

    def _unwatch(self, console: Console) -> None:
        self._watched.discard(console)
        if console in self._heard:
            self._deafen(console)

    def _hear(self, console: Console) -> None:
        self._heard.add(console)
        self._select(console.master, lambda _: console.read())

    def _deafen(self, console: Console) -> None:
        self._heard.discard(console)
        self._selector.unregister(console.master)

    # -- the server ------------------------------------------------------------------------------

    def _serve_server(self, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE and self._outbox:
                del self._outbox[: os.write(self._server, self._outbox)]
            if events & selectors.EVENT_READ:
                data = os.read(self._server, READ)
                self._closing = not data
                self._inbox += data
        except BlockingIOError:
            return
        except OSError:
            self._closing = True
        self._take_frames()

    def _take_frames(self) -> None:
        while len(self._inbox) >= 4 and not self._closing:
            (length,) = struct.unpack_from("!I", self._inbox)
            if length > FRAME_LIMIT:
                self._closing = True
                return
            if len(self._inbox) < 4 + length:
                return
            frame = json.loads(bytes(self._inbox[4 : 4 + length]))
            del self._inbox[: 4 + length]
            self._obey(frame)

    def _obey(self, frame: Json) -> None:
        if frame["op"] == "run":
            self._running = self._consoles[frame["console"]]
            self._running.run(frame["text"])
        elif frame["op"] == "stop" and self._running is not None:
            self._running.stop()

    def _send(self, frame: Json) -> None:
        self._outbox += framed(frame)

    # -- children --------------------------------------------------------------------------------

    def _limit_child(self) -> None:
        """In a child, before its program starts: its limits, and those of all that it starts."""
        for name, value in self._limits.items():
            kind = getattr(resource, name)
            hard = resource.getrlimit(kind)[1]
            bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (bound, bound))
        # Out of memory, the kernel ends these before the server.
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")

    def _reap(self) -> bool:
        """Take leave of children that ended; returns whether there are others."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            for console in self._consoles.values():
                if console.pid == pid:
                    console.exited(exit_code(status))


def framed(frame: Json) -> bytes:
    data = json.dumps(frame).encode()
    return struct.pack("!I", len(data)) + data


def _wake_on_child() -> int:
    """A descriptor that can be read after a child ended."""
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    return read


def _drain(fd: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.read(fd, READ)
