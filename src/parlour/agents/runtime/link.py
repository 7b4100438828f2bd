"""The server's end of a keeper: starts it, gives it texts, hears what they print, and ends it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from parlour.agents.errors import RuntimeUnavailable
from parlour.agents.ports import CommandResult
from parlour.agents.runtime.limits import RuntimeLimits
from parlour.agents.runtime.sandbox import Sandbox
from parlour.agents.runtime.survivors import end_survivors

log = structlog.get_logger(__name__)

START_S: Final = 30.0
STOP_S: Final = 15.0
"""What the keeper has to end a command, which takes it two seconds at most, on a busy machine."""

CLOSE_S: Final = 10.0
FRAME_LIMIT: Final = 1 << 24
ERROR_BYTES: Final = 2_000
ALL_ENDED: Final = "\n[everything that ran in the workspace was ended]\n"
KILLED: Final = 137
"""A shell's code for a process that SIGKILL ended."""

OnOutput = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Place:
    """What a keeper is started with: `folder` as its processes see it, `mark` a word in their environment."""

    workspace: Path
    folder: str
    sandbox: Sandbox
    python: str
    cell_python: str
    user: int | None
    limits: RuntimeLimits
    mark: str
    environment: dict[str, str]

    def configuration(self) -> dict[str, Any]:
        """The keeper's first frame."""
        return {
            "workspace": self.folder,
            "environment": self.environment,
            "python": self.cell_python,
            "limits": self.limits.of_process(),
            "output_limit": self.limits.output_bytes,
            "uid": self.user,
            "alone": self.sandbox.confines or self.user is not None,
        }


@dataclass(slots=True)
class Call:
    """A text that runs now. `ended` is when the keeper says so, `failed` when the listener does; the keeper's
    next call may begin only after the first."""

    ended: asyncio.Future[tuple[int | None, bool]]
    failed: asyncio.Future[Exception]
    on_output: OnOutput | None
    pieces: list[str]
    size: int = 0

    def hear(self, text: str) -> None:
        self.pieces.append(text)
        self.size += len(text)
        if self.on_output is None:
            return
        try:
            self.on_output(text)
        except Exception as error:  # noqa: BLE001 - the listener's mistake belongs to the caller of run
            self.on_output = None
            self.failed.set_result(error)

    def end(self, code: int | None, truncated: bool) -> None:
        if not self.ended.done():
            self.ended.set_result((code, truncated))


class KeeperLink:
    """One keeper from its start to its end. One call at a time; the caller sees to that."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = -1
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None
        self._call: Call | None = None
        self.closing = False

    @property
    def alive(self) -> bool:
        """Whether it takes another text."""
        return self._listening is not None and not self._listening.done() and not self.closing

    async def start(self) -> None:
        """Raises `RuntimeUnavailable` with the reason where the keeper does not come up."""
        ours, theirs = socket.socketpair()
        try:
            self._spawn(theirs)
        except OSError as error:
            ours.close()
            raise RuntimeUnavailable(f"The workspace cannot be started: {error}.") from error
        finally:
            theirs.close()
        try:
            async with asyncio.timeout(START_S):
                self._reader, self._writer = await asyncio.open_unix_connection(sock=ours)
                await self._send(self._place.configuration())
                hello = await self._frame()
        except (OSError, TimeoutError, EOFError) as error:
            await self._fail_start(str(error), error)
        except asyncio.CancelledError:
            if self._writer is None:
                ours.close()
            await self.close()
            raise
        if hello["op"] != "ready":
            await self._fail_start(str(hello.get("reason")), None)
        self._listening = asyncio.create_task(self._listen(), name="runtime keeper")

    async def run(
        self, console: str, text: str, *, timeout_s: float, on_output: OnOutput | None
    ) -> CommandResult:
        """Run a text to its end. Cancelling ends it, and waits until it has ended; so does a listener that
        raises, whose mistake is raised here."""
        loop = asyncio.get_running_loop()
        call = Call(loop.create_future(), loop.create_future(), on_output, [])
        self._call = call
        timed_out = False
        try:
            async with asyncio.timeout(timeout_s) as limit:
                await self._tell({"op": "run", "console": console, "text": text})
                first = asyncio.FIRST_COMPLETED
                await asyncio.wait((call.ended, call.failed), return_when=first)
            code, truncated = await self._stop(call)
        except TimeoutError:
            if not limit.expired():
                raise
            timed_out = True
            code, truncated = await self._stop(call)
        except asyncio.CancelledError:
            await self._stop(call)
            raise
        finally:
            self._call = None
        if call.failed.done():
            raise call.failed.result()
        return CommandResult(
            None if timed_out else code, "".join(call.pieces), truncated, timed_out
        )

    async def close(self) -> None:
        """End every process of the workspace. Idempotent; not cut short by cancellation."""
        self.closing = True
        if self._writer is not None and not self._writer.is_closing():
            with contextlib.suppress(OSError):
                self._writer.write_eof()
        if self._process is not None:
            await asyncio.shield(asyncio.to_thread(self._finish, self._process))
        if self._listening is not None:
            await self._listening
        if self._writer is not None:
            self._writer.close()
        if self._errors >= 0:
            os.close(self._errors)
            self._errors = -1

    def kill(self) -> None:
        """End it without being asked twice; `close` sees to what is left."""
        self.closing = True
        if self._process is not None:
            self._process.kill()

    # -- the process -----------------------------------------------------------------------------

    def _spawn(self, theirs: socket.socket) -> None:
        self._errors = os.memfd_create("errors")
        place = self._place
        with ExitStack() as stack:
            made = {
                path: stack.enter_context(_memory_file(text))
                for path, text in place.sandbox.made_files(place.user).items()
            }
            self._process = subprocess.Popen(
                place.sandbox.command(
                    place.workspace, place.python, made, place.limits.temporary_bytes
                ),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=tuple(made.values()),
                env=place.environment,
                cwd="/",
                start_new_session=True,
            )

    def _finish(self, process: subprocess.Popen[bytes]) -> None:
        """In a thread: its end of file makes the keeper end everything and itself; one that does not is
        killed, and then what it left behind."""
        clean = True
        try:
            clean = process.wait(CLOSE_S) == 0
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            clean = False
        if not clean and not self._place.sandbox.confines:
            end_survivors(self._place.user, self._place.mark)

    async def _fail_start(self, reason: str, cause: BaseException | None) -> None:
        said = os.pread(self._errors, ERROR_BYTES, 0).decode(errors="replace").strip()
        await self.close()
        log.error("a workspace did not start", reason=reason, said=said)
        raise RuntimeUnavailable("The workspace's processes cannot be started.") from cause

    # -- frames ----------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Hear the keeper until it hangs up. What it says is bounded here too: it shares its machine with
        what it keeps."""
        try:
            while True:
                self._take(await self._frame())
        except (EOFError, OSError):
            pass
        except (ValueError, KeyError, TypeError):
            log.warning("a workspace's keeper talks nonsense and is ended", exc_info=True)
        self.kill()
        if self._call is not None:
            self._call.hear(ALL_ENDED)
            self._call.end(KILLED, False)

    def _take(self, frame: dict[str, Any]) -> None:
        call = self._call
        if call is None:
            return
        if frame["op"] == "end":
            call.end(int(frame["code"]), bool(frame["truncated"]))
        elif frame["op"] == "output":
            if call.size > 2 * self._place.limits.output_bytes:
                raise ValueError("more output than was allowed")
            call.hear(str(frame["text"]))

    async def _frame(self) -> dict[str, Any]:
        assert self._reader is not None
        (length,) = struct.unpack("!I", await self._reader.readexactly(4))
        if length > FRAME_LIMIT:
            raise ValueError("a frame is too large")
        frame = json.loads(await self._reader.readexactly(length))
        if not isinstance(frame, dict):
            raise TypeError("a frame is no object")
        return frame

    async def _send(self, frame: dict[str, Any]) -> None:
        assert self._writer is not None
        data = json.dumps(frame).encode()
        self._writer.write(struct.pack("!I", len(data)) + data)
        await self._writer.drain()

    async def _tell(self, frame: dict[str, Any]) -> None:
        # A keeper that is gone is noticed by the listener, which ends the call.
        with contextlib.suppress(OSError):
            await self._send(frame)

    async def _stop(self, call: Call) -> tuple[int | None, bool]:
        """End what runs, where it has not ended. A keeper that does not manage goes with everything it
        keeps."""
        if call.ended.done():
            return call.ended.result()
        try:
            async with asyncio.timeout(STOP_S):
                await self._tell({"op": "stop"})
                return await asyncio.shield(call.ended)
        except TimeoutError:
            log.warning("a command could not be ended; its workspace's processes are killed")
            self.kill()
            return await asyncio.shield(call.ended)
        except asyncio.CancelledError:
            self.kill()
            raise


@contextmanager
def _memory_file(text: str) -> Iterator[int]:
    fd = os.memfd_create("file")
    try:
        os.write(fd, text.encode())
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)
