"""`parlour run --workers`: several processes on one port, joined by real Redis and PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from parlour.testing.servers import ServerMissing, running_postgres, running_redis
from tests.integration.test_cli_serving import APP, Process, parlour

THREAD = "thread-over-workers"


@pytest.fixture(scope="module")
def stores() -> Iterator[dict[str, str]]:
    """The environment that names both servers."""
    try:
        with running_redis() as redis, running_postgres() as postgres:
            yield {"PARLOUR_REDIS_URL": redis.url, "PARLOUR_DATABASE_URL": postgres.url}
    except ServerMissing as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture
async def workers(tmp_path: Path, stores: dict[str, str]) -> AsyncIterator[tuple[Process, str]]:
    """Two workers and their address."""
    (tmp_path / "app.py").write_text(APP)
    command = ("run", "app.py", "--port", "0", "--workers", "2")
    async with parlour(tmp_path, *command, PARLOUR_SIGN_UP="true", **stores) as running:
        told = await running.until(re.compile(r"2 workers on port \d+"))
        await running.until(re.compile(r"(node started.*?){2}Ctrl\+C", re.DOTALL))
        yield running, f"http://127.0.0.1:{told.rpartition(' ')[2]}"
        if running.handle.returncode is None:
            running.signal(signal.SIGTERM)
            await running.ends()


async def token_of(address: str, name: str) -> str:
    async with httpx.AsyncClient(base_url=address) as client:
        body = {"name": name, "password": "long enough"}
        answer = await client.post("/api/auth/sign-up", json=body)
        return str(answer.json()["token"])


class Wire:
    """A Socket.IO connection by hand: the CONNECT answer names the worker, which libraries hide."""

    def __init__(self, socket: ClientConnection, node: str) -> None:
        self.node = node
        self._socket = socket

    @classmethod
    async def open(cls, stack: AsyncExitStack, address: str, token: str) -> Wire:
        url = f"{address.replace('http', 'ws')}/ws/socket.io/?EIO=4&transport=websocket"
        socket = await stack.enter_async_context(connect(url))
        await socket.recv()
        await socket.send("40" + json.dumps({"token": token}))
        answer = await socket.recv(decode=True)
        assert isinstance(answer, str)
        return cls(socket, json.loads(answer[2:])["node"])

    async def call(self, event: str, **payload: Any) -> None:
        """Emit, and wait for the acknowledgement."""
        await self._socket.send("420" + json.dumps([event, payload]))
        await self._read(lambda packet: packet.startswith("430"))

    async def until(self, wanted: Callable[[str, Any], bool]) -> Any:
        """The payload of the next event that is wanted."""

        def check(packet: str) -> bool:
            return packet.startswith("42") and wanted(*json.loads(packet[2:]))

        return json.loads((await self._read(check))[2:])[1]

    async def _read(self, wanted: Callable[[str], bool]) -> str:
        async with asyncio.timeout(30):
            while True:
                packet = await self._socket.recv()
                if isinstance(packet, str) and wanted(packet):
                    return packet


def is_answer(event: str, payload: Any) -> bool:
    data = payload["data"] if event == "events" else {}
    return data.get("type") == "message" and data["data"]["role"] == "assistant"


async def one_on_each(stack: AsyncExitStack, address: str, token: str) -> list[Wire]:
    """Connections until both workers have one: the kernel deals them out by chance."""
    found: dict[str, Wire] = {}
    for _ in range(60):
        wire = await Wire.open(stack, address, token)
        found.setdefault(wire.node, wire)
        if len(found) == 2:
            break
    return list(found.values())


async def test_people_on_different_workers_share_a_conversation_and_all_workers_end_in_order(
    workers: tuple[Process, str],
) -> None:
    running, address = workers
    token = await token_of(address, "Ann")
    async with AsyncExitStack() as stack:
        one, other = await one_on_each(stack, address, token)
        for wire in (one, other):
            await wire.call("subscribe", stream=f"thread:{THREAD}")

        await one.call("message:send", thread_id=THREAD, content="hello", command_id="c1")

        answer = await other.until(is_answer)
        running.signal(signal.SIGTERM)
        told = [await wire.until(lambda event, _: event == "reconnect") for wire in (one, other)]
        code = await running.ends()

    assert answer["data"]["data"]["content"] == "VERSION hello"
    assert [payload["reason"] for payload in told] == ["drain", "drain"]
    assert code == 0
    assert "Traceback" not in running.told


def children_of(process: Process) -> list[int]:
    pid = process.handle.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def test_a_worker_that_dies_is_replaced(workers: tuple[Process, str]) -> None:
    running, address = workers
    before = children_of(running)
    running.told = ""

    os.kill(before[0], signal.SIGKILL)

    await running.until(re.compile(r"worker ended.*?Ctrl\+C", re.DOTALL))
    async with asyncio.timeout(30):
        # The words may be those of the other worker, which was still starting.
        while True:
            after = children_of(running)
            if len(after) == 2:
                break
            await asyncio.sleep(0.05)
    async with httpx.AsyncClient(base_url=address) as client:
        answers = [await client.get("/health/ready") for _ in range(4)]
    assert len(after) == 2
    assert before[1] in after
    assert [answer.status_code for answer in answers] == [200] * 4


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def test_workers_end_with_their_supervisor(workers: tuple[Process, str]) -> None:
    running, _ = workers
    left = [os.pidfd_open(pid) for pid in children_of(running)]
    loop = asyncio.get_running_loop()
    ended: list[asyncio.Future[None]] = [loop.create_future() for _ in left]
    for descriptor, future in zip(left, ended, strict=True):
        loop.add_reader(descriptor, _settle, future)

    running.signal(signal.SIGKILL)

    async with asyncio.timeout(60):
        await asyncio.gather(*ended)
    for descriptor in left:
        loop.remove_reader(descriptor)
        os.close(descriptor)
