"""`parlour run` and `parlour demo` as processes: start, what is told, signals, what stands in the way."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.serving import Client

APP = """
import parlour as cl

@cl.on_message
async def reply(message: cl.Message):
    await cl.Message(content="VERSION " + message.content).send()
"""
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")


@dataclass
class Process:
    """A command that runs, and what it has told so far."""

    handle: asyncio.subprocess.Process
    told: str = ""

    async def until(self, pattern: re.Pattern[str], seconds: float = 60) -> str:
        """Read its stderr up to a match."""
        assert self.handle.stderr is not None
        async with asyncio.timeout(seconds):
            while (found := pattern.search(self.told)) is None:
                chunk = await self.handle.stderr.read(4096)
                assert chunk, f"it ended: {self.told}"
                self.told += chunk.decode()
        return found[0]

    async def ends(self, seconds: float = 60) -> int:
        """Its exit code."""
        async with asyncio.timeout(seconds):
            _, rest = await self.handle.communicate()
        self.told += rest.decode()
        return self.handle.returncode or 0

    def signal(self, number: signal.Signals) -> None:
        self.handle.send_signal(number)


@asynccontextmanager
async def parlour(folder: Path, *arguments: str, **environ: str) -> AsyncIterator[Process]:
    """Run a command; it is ended with the block."""
    handle = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "parlour",
        *arguments,
        cwd=folder,
        env={**os.environ, "COLUMNS": "200", "PARLOUR_SHUTDOWN_DRAIN_SECONDS": "1", **environ},
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield Process(handle)
    finally:
        if handle.returncode is None:
            handle.kill()
            await handle.wait()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


async def test_the_demo_tells_how_to_sign_in_and_remembers_it(folder: Path) -> None:
    kept = folder / ".parlour" / "demo-password"
    async with parlour(folder, "demo", "--port", "0") as demo:
        address = await demo.until(ADDRESS)
        await demo.until(re.compile("Ctrl"))
        password = kept.read_text().strip()
        async with httpx.AsyncClient(base_url=address) as client:
            body = {"login": "demo", "password": password}
            signed_in = await client.post("/api/auth/sign-in", json=body)
            config = (await client.get("/api/auth/config")).json()
        demo.signal(signal.SIGTERM)
        code = await demo.ends()
    async with parlour(folder, "demo", "--port", "0") as again:
        await again.until(re.compile(re.escape(password)))
        again.signal(signal.SIGINT)
        code_again = await again.ends()

    assert signed_in.status_code == 200
    assert config["sign_up"]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert password in demo.told
    assert (code, code_again) == (0, 0)


async def test_the_demo_takes_a_given_password(folder: Path) -> None:
    async with parlour(folder, "demo", "--port", "0", "--password", "open sesame") as demo:
        address = await demo.until(ADDRESS)
        async with httpx.AsyncClient(base_url=address) as client:
            body = {"login": "demo", "password": "open sesame"}
            signed_in = await client.post("/api/auth/sign-in", json=body)

    assert signed_in.status_code == 200
    assert not (folder / ".parlour" / "demo-password").exists()


@pytest.mark.parametrize("transport", ["fast", "asgi"])
async def test_run_serves_an_app_and_tells_clients_before_it_stops(
    folder: Path, transport: str
) -> None:
    async with parlour(
        folder, "run", "app.py", "--port", "0", "--transport", transport, PARLOUR_SIGN_UP="true"
    ) as running:
        address = await running.until(ADDRESS)
        async with httpx.AsyncClient(base_url=address) as client:
            body = {"name": "Ann", "password": "long enough"}
            token = (await client.post("/api/auth/sign-up", json=body)).json()["token"]
        socket_client = Client()
        await socket_client.connect(address, token=token)
        await socket_client.call(
            "message:send", thread_id="thread-0001", content="hello", command_id="c1"
        )

        running.signal(signal.SIGTERM)

        told = await socket_client.until(lambda event, _: event == "reconnect")
        code = await running.ends()

    assert told["reason"] == "drain"
    assert code == 0
    assert "Traceback" not in running.told


async def test_disabling_a_user_by_command_closes_live_connections(folder: Path) -> None:
    async with parlour(folder, "run", "app.py", "--port", "0", PARLOUR_SIGN_UP="1") as running:
        address = await running.until(ADDRESS)
        async with httpx.AsyncClient(base_url=address) as client:
            body = {"name": "Ann", "password": "long enough"}
            token = (await client.post("/api/auth/sign-up", json=body)).json()["token"]
        connection = Client()
        await connection.connect(address, token=token)
        async with parlour(folder, "user", "disable", "Ann") as command:
            code = await command.ends()

        told = await connection.until(lambda event, _: event == "reconnect")

    assert code == 0
    assert told["reason"] == "token_revoked"


async def test_nobody_can_sign_in_yet_is_told(folder: Path) -> None:
    async with parlour(folder, "run", "app.py", "--port", "0") as running:
        told = await running.until(re.compile("parlour user add NAME --admin"))

    assert told


async def test_a_second_process_on_the_same_data_folder_is_refused(folder: Path) -> None:
    async with parlour(folder, "run", "app.py", "--port", "0") as first:
        await first.until(ADDRESS)
        async with parlour(folder, "run", "app.py", "--port", "0") as second:
            code = await second.ends()

    assert code == 1
    assert "another process uses the data folder" in second.told
    assert "Traceback" not in second.told


async def test_a_taken_port_is_told_with_a_remedy(folder: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        async with parlour(folder, "run", "app.py", "--port", port) as running:
            code = await running.ends()

    assert code == 1
    assert f"port {port} on 127.0.0.1 cannot be used" in running.told
    assert "choose another port" in running.told


async def test_a_data_folder_that_cannot_be_used_is_told(folder: Path) -> None:
    # A file in the way: permissions would not stop root, who runs the tests in containers.
    (folder / "file").write_text("")

    async with parlour(folder, "run", "app.py", "--port", "0", "--data", "file/data") as running:
        code = await running.ends()

    assert code == 1
    assert "file/data cannot be used" in running.told
    assert "Traceback" not in running.told


async def test_more_than_one_process_needs_redis_and_postgresql(folder: Path) -> None:
    async with parlour(folder, "run", "app.py", "--workers", "2") as running:
        code = await running.ends()

    assert code == 1
    assert "needs Redis" in running.told
    assert "needs PostgreSQL" in running.told


async def test_watch_serves_the_changed_app(folder: Path) -> None:
    started = re.compile(r"Ctrl\+C stops it.*\n", re.DOTALL)
    async with parlour(folder, "run", "app.py", "--port", "0", "--watch") as running:
        await running.until(started)
        running.told = ""

        (folder / "app.py").write_text(APP.replace("VERSION", "CHANGED"))

        await running.until(re.compile("changed; restarting"))
        await running.until(started)
        running.signal(signal.SIGTERM)
        code = await running.ends()

    assert code == 0
