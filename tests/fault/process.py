"""A server process under fault: started as people start it, killed, stopped, starved of disk."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx

from parlour.testing.servers import free_port

APP = Path(__file__).with_name("app.py")
PROGRAM = str(Path(sys.executable).with_name("parlour"))
START_LIMIT_S = 120.0


class ServerProcess:
    """`parlour run` with the fault run's app, or another; `prefix` is a command that runs it."""

    def __init__(
        self,
        folder: Path,
        environment: dict[str, str],
        *,
        prefix: Sequence[str] = (),
        app: Path = APP,
    ) -> None:
        self.port = free_port()
        self.folder = folder
        self._environment = {
            **os.environ,
            "PARLOUR_DATA_FOLDER": str(folder),
            "PARLOUR_PING_INTERVAL_SECONDS": "1",
            "PARLOUR_PING_TIMEOUT_SECONDS": "1",
            "PARLOUR_LOG_LEVEL": os.environ.get("FAULT_LOG_LEVEL", "warning"),
            "PARLOUR_COMMANDS_PER_SECOND": "1000",
            "PARLOUR_SHUTDOWN_RUNS_SECONDS": "1",
            **environment,
        }
        self._prefix = list(prefix)
        self._app = app
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def token(self, name: str) -> str:
        """A user's token, by the command that operators use. The user is made the first time."""
        self._command("user", "add", name, given="correct horse battery\n")
        return self._command("token", name).strip().splitlines()[-1].strip()

    def _command(self, *words: str, given: str = "") -> str:
        done = subprocess.run(
            [PROGRAM, *words],
            env=self._environment,
            capture_output=True,
            input=given,
            text=True,
            check=False,
            timeout=START_LIMIT_S,
        )
        if done.returncode != 0:
            raise RuntimeError(f"parlour {words[0]}: {done.stdout}{done.stderr}")
        return done.stdout

    async def start(self) -> None:
        """Start and wait until it is ready."""
        self._process = process = self._launch()
        async with asyncio.timeout(START_LIMIT_S), httpx.AsyncClient(trust_env=False) as http:
            while not await self._ready(http):
                if process.poll() is not None:
                    raise RuntimeError((self.folder / "server.log").read_text()[-3000:])
                await asyncio.sleep(0.03)

    def _launch(self) -> subprocess.Popen[bytes]:
        with (self.folder / "server.log").open("ab") as log:
            return subprocess.Popen(
                [*self._prefix, PROGRAM, "run", str(self._app), "--port", str(self.port)],
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    async def _ready(self, http: httpx.AsyncClient) -> bool:
        try:
            answer = await http.get(f"http://127.0.0.1:{self.port}/health/ready")
        except httpx.TransportError:
            return False
        return answer.status_code == 200

    def kill(self) -> None:
        """kill -9."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def terminate(self) -> None:
        """As an operator stops it."""
        self._signal(signal.SIGTERM)
        assert self._process is not None
        self._process.wait(START_LIMIT_S)

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def fill_disk(self) -> None:
        """No file of the process may grow: what a full disk does to a writer."""
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))

    def empty_disk(self) -> None:
        free = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, free)

    def stop(self) -> None:
        if self.running:
            self._signal(signal.SIGCONT)
            self.kill()

    def _signal(self, number: int) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
