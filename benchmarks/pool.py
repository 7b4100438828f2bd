"""What one more session costs when there are 1,000, 5,000 or 20,000: in the pool and on a node.

    python -m benchmarks.pool [--sizes 1000,5000,20000] [--json FILE] [--only memory,redis]

A real node holds the sessions (one user each, 100 to a channel), with links that send nowhere. At
each size the same number of operations is measured: `connect` and `disconnect` (until every node can
see it), `join` and `leave` (a room, likewise), `heartbeat` (with writing it down), `presence` (the
status of 50 users), `route` (who of 50 users is on which node). Figures are microseconds of the
whole operation, median of all; Redis is a real one on the loopback interface, on the same cores.

`stall` is the longest turn of the event loop while the sessions came and while everything was
measured, in milliseconds: of processor time of this thread without the garbage collector (`cpu`;
other programs on the machine do not count) and of the clock (`wall`). `collector` is the longest
pause of Python's garbage collector meanwhile, set up as the server sets it up
(`parlour.transports.collector`); `full` is what it takes at this size to walk everything, which a
server does at most every ten minutes, and only when its memory may have doubled.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
import uvloop

from parlour.chat.application import ChatApp
from parlour.chat.registry import Registry
from parlour.config import Settings
from parlour.core.users import User
from parlour.ports import SessionRecord
from parlour.server.connections import Connection
from parlour.server.endpoint import Handshake
from parlour.server.node import Node, run_node
from parlour.testing.servers import running_redis
from parlour.transports.collector import Collector

MEASURED = 300
PER_CHANNEL = 100
ASKED = 50
ARRIVING = 250
"""Sessions that come at the same time while the node fills."""

HANDSHAKE = Handshake("/", {}, {}, {}, "127.0.0.1", False)


class SilentLink:
    """A link whose client hears nothing."""

    transport = "websocket"
    buffered = 0
    handshake = HANDSHAKE

    def __init__(self, sid: str) -> None:
        self.sid = sid

    def send(self, encoded: Any) -> None:
        return None

    def call(self, event: str, args: Any, done: Any) -> Callable[[], None]:
        return lambda: None

    def close(self, reason: str = "server") -> None:
        return None


class Stalls:
    """The longest turn of the loop, measured from turn to turn."""

    def __init__(self) -> None:
        self.cpu_ms = 0.0
        self.wall_ms = 0.0
        self.collector_ms = 0.0
        self._collecting = 0.0
        self._paused = 0.0
        self._running: asyncio.Task[None] | None = None

    async def _watch(self) -> None:
        while True:
            self._paused = 0.0
            cpu, wall = time.thread_time(), time.perf_counter()
            await asyncio.sleep(0)
            own = (time.thread_time() - cpu) * 1000 - self._paused
            self.cpu_ms = max(self.cpu_ms, own)
            self.wall_ms = max(self.wall_ms, (time.perf_counter() - wall) * 1000)

    def _collect(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._collecting = time.thread_time()
            return
        pause = (time.thread_time() - self._collecting) * 1000
        self._paused += pause
        self.collector_ms = max(self.collector_ms, pause)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        self._running = asyncio.create_task(self._watch())
        gc.callbacks.append(self._collect)
        try:
            yield
        finally:
            gc.callbacks.remove(self._collect)
            self._running.cancel()
            await asyncio.wait({self._running})


class Crowd:
    """Sessions on one node."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.there: list[Connection] = []

    async def fill(self, size: int) -> None:
        while len(self.there) < size:
            for number in range(min(ARRIVING, size - len(self.there))):
                if number % 10 == 0:
                    await asyncio.sleep(0)
                connection = self.connect()
                self.node.rooms.enter(connection, f"doc_{len(self.there) // PER_CHANNEL}")
            await self.node.registrar.settled()

    def connect(self) -> Connection:
        """As the gateway does for a client that may come in."""
        number = f"{len(self.there):06d}-{time.monotonic_ns()}"
        user = User(f"user-{len(self.there):06d}", "Somebody")
        record = SessionRecord(f"session-{number}", user.id)
        connection = Connection(SilentLink(f"sid-{number}"), user, record, None, None)
        self.node.hub.add(connection)
        for home in connection.homes:
            self.node.hub.join(home, connection)
        self.node.registrar.changed(connection)
        self.node.presence.active(connection)
        self.there.append(connection)
        return connection

    def disconnect(self) -> None:
        connection = self.there.pop()
        connection.left = True
        self.node.hub.remove(connection)
        self.node.registrar.changed(connection)
        self.node.presence.forget(connection)

    def some(self, number: int) -> list[str]:
        """Users from all over the crowd."""
        step = max(1, len(self.there) // ASKED)
        return [self.there[(number + n * step) % len(self.there)].user.id for n in range(ASKED)]


async def timed(work: Callable[[int], Awaitable[Any]]) -> float:
    """Median microseconds of one call."""
    taken = []
    for number in range(MEASURED):
        began = time.perf_counter()
        await work(number)
        taken.append((time.perf_counter() - began) * 1e6)
        await asyncio.sleep(0)
    return round(statistics.median(taken), 1)


async def measure(crowd: Crowd) -> dict[str, float]:
    """Every operation at the crowd's present size, which is the same afterwards."""
    node = crowd.node

    async def connect(number: int) -> None:
        crowd.connect()
        await node.registrar.settled()

    async def disconnect(number: int) -> None:
        crowd.disconnect()
        await node.registrar.settled()

    async def join(number: int) -> None:
        node.rooms.enter(crowd.there[number], f"doc_new-{number}")
        await node.registrar.settled()

    async def leave(number: int) -> None:
        node.hub.leave(f"doc_new-{number}", crowd.there[number])
        await node.registrar.settled()

    async def heartbeat(number: int) -> None:
        node.presence.active(crowd.there[number])
        await node.registrar.renew()

    async def presence(number: int) -> None:
        await node.presence.statuses(crowd.some(number))

    async def route(number: int) -> None:
        await node.pool.of_users(crowd.some(number))

    operations = [connect, join, heartbeat, presence, route, leave, disconnect]
    return {operation.__name__: await timed(operation) for operation in operations}


async def run_case(name: str, sizes: list[int], **overrides: Any) -> list[dict[str, Any]]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_folder=Path(folder), port=0, **overrides)
        async with run_node(settings, ChatApp(Registry())) as node:
            crowd = Crowd(node)
            with Collector() as collector:
                for size in sizes:
                    coming, measuring = Stalls(), Stalls()
                    async with coming.watched():
                        await crowd.fill(size)
                    async with measuring.watched():
                        row = await measure(crowd)
                    stall = {
                        "stall_cpu_ms": round(max(coming.cpu_ms, measuring.cpu_ms), 1),
                        "collector_ms": round(max(coming.collector_ms, measuring.collector_ms), 1),
                        "full_ms": full_collection(collector),
                        "stall_wall_ms": round(max(coming.wall_ms, measuring.wall_ms), 1),
                    }
                    rows.append({"pool": name, "sessions": size, **row, **stall})
                    print_row(rows[-1])
    return rows


def full_collection(collector: Collector) -> float:
    """Milliseconds of processor time."""
    began = time.thread_time()
    collector.thaw()
    return round((time.thread_time() - began) * 1000, 1)


def print_row(row: dict[str, Any]) -> None:
    figures = "  ".join(f"{key} {row[key]:>7}" for key in row if key not in ("pool", "sessions"))
    print(f"{row['pool']:<7} {row['sessions']:>6} sessions  {figures}", flush=True)


async def run(cases: list[str], sizes: list[int]) -> list[dict[str, Any]]:
    rows = []
    with ExitStack() as stack:
        for case in cases:
            overrides: dict[str, Any] = {}
            if case == "redis":
                overrides["redis_url"] = stack.enter_context(running_redis()).url
            rows += await run_case(case, sizes, **overrides)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="1000,5000,20000")
    parser.add_argument("--only", default="memory,redis")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    sizes = [int(size) for size in given.sizes.split(",")]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rows = runner.run(run(given.only.split(","), sizes))
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
