"""Several processes on one port: `parlour run --workers N`. Each is a node of its own; Redis joins them."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import sys
from contextlib import closing
from typing import Final

import typer

from parlour.cli.console import err, run_async
from parlour.config import Settings
from parlour.telemetry import configure_logging, get_logger
from parlour.transports.listening import SIGNALS, open_port

HEALTHY_SECONDS: Final = 5.0
"""A worker that ends sooner has not started well: the pause before the next try grows."""
LONGEST_PAUSE: Final = 30.0
PR_SET_PDEATHSIG: Final = 1

log = get_logger(__name__)


def supervise(settings: Settings, arguments: list[str]) -> None:
    """Run `settings.workers` processes of the same command until a signal comes; a process that ends
    is started again, with growing pauses. Exit code 1 where none of them could start."""
    configure_logging(settings.log_format, settings.log_level)
    # Held, not listened on: it settles which port it is while no worker runs.
    with closing(open_port(settings.host, settings.port, shared=True, accept=False)) as held:
        port = held.getsockname()[1]
        command = [sys.executable, "-m", "parlour", *arguments]
        command += ["--workers", "1", "--port", str(port), "--shared-port"]
        err.print(f"{settings.workers} workers on port {port}. [dim]Ctrl+C stops them.[/]")
        grace = settings.shutdown_drain_seconds + settings.shutdown_runs_seconds * 2
        grace += settings.shutdown_flush_seconds + settings.shutdown_close_seconds * 2
        if not run_async(_Workers(command, settings.workers, grace).run()):
            raise typer.Exit(1)


def end_with_parent() -> None:
    """Let this worker be told to stop when its supervisor dies without a word (Linux; elsewhere a
    worker that was left alone goes on serving)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class _Workers:
    def __init__(self, command: list[str], count: int, grace: float) -> None:
        self._command = command
        self._count = count
        self._grace = grace
        self._stop = asyncio.Event()
        self._started_well = False
        self._failed = False

    async def run(self) -> bool:
        """Until a signal; False when the workers could not start."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._stop.set)
        async with asyncio.TaskGroup() as tasks:
            for index in range(self._count):
                tasks.create_task(self._keep(index))
        return not self._failed

    async def _keep(self, index: int) -> None:
        pause = 0.5
        while not self._stop.is_set():
            began = asyncio.get_running_loop().time()
            code = await self._run_one()
            if self._stop.is_set():
                return
            lived = asyncio.get_running_loop().time() - began
            if lived < HEALTHY_SECONDS and not self._started_well and code > 0:
                # The same mistake would stop it again: it has been told, once is enough. A worker that
                # a signal ended (a negative code) made no mistake.
                self._failed = True
                self._stop.set()
                return
            pause = 0.5 if lived >= HEALTHY_SECONDS else min(pause * 2, LONGEST_PAUSE)
            log.error("worker ended", worker=index, code=code, again_in_seconds=pause)
            await self._stopped_within(pause)

    async def _run_one(self) -> int:
        # A group of its own: Ctrl+C reaches it through us, once.
        process = await asyncio.create_subprocess_exec(*self._command, start_new_session=True)
        ended = asyncio.create_task(process.wait())
        try:
            if not await self._stopped_within(HEALTHY_SECONDS, ended):
                self._started_well = self._started_well or not ended.done()
            await self._stopped_within(None, ended)
            return await self._end(process, ended)
        finally:
            if not ended.done():
                process.kill()
                await ended

    async def _stopped_within(
        self, seconds: float | None, other: asyncio.Task[int] | None = None
    ) -> bool:
        """Whether the signal came; waits for it, or for `other`, or for the time."""
        stopping = asyncio.create_task(self._stop.wait())
        waiting: set[asyncio.Task[bool] | asyncio.Task[int]] = {stopping}
        if other is not None:
            waiting.add(other)
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        await asyncio.wait({stopping})
        return self._stop.is_set()

    async def _end(self, process: asyncio.subprocess.Process, ended: asyncio.Task[int]) -> int:
        if not ended.done():
            process.send_signal(signal.SIGTERM)
            await asyncio.wait({ended}, timeout=self._grace)
        if not ended.done():
            process.kill()
        return await ended
