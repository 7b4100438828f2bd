"""Appends per second and their latency, per window, archive and durability; reading 1,000 events.

    python -m benchmarks.streams [--seconds 1.5] [--json FILE] [--only memory,redis]

Each case appends token deltas (about 130 bytes) to 100 streams, first one at a time (`latency`:
from the call until a follower has heard the event), then by 200 writers at once (`rate`). The
servers are real ones on the loopback interface, on the same cores as the writers: compare the cases
with each other, not with a machine that has cores to spare. PostgreSQL and SQLite commit to this
disk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop

from parlour.backends.memory import MemoryLog
from parlour.backends.redis import open_redis
from parlour.backends.sql import SqlStore, open_sql
from parlour.core.streams import NewEvent
from parlour.ports import EventLog
from parlour.server.clock import SystemClock
from parlour.testing.servers import running_postgres, running_redis

STREAMS = 100
WRITERS = 200
RECOVERED = 1000

DELTA = NewEvent(
    "message:delta",
    {"id": "0a3c5b6d-7e8f-4a1b-9c2d-3e4f5a6b7c8d", "text": " tokens"},
    1_763_640_000_000,
)


class Servers:
    """Started when a case asks for them, ended with the run."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.clock = SystemClock()

    async def sqlite(self) -> SqlStore:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        store = await open_sql(f"sqlite:///{folder}/bench.db", folder, clock=self.clock)
        self._stack.push_async_callback(store.close)
        return store

    async def postgres(self) -> SqlStore:
        server = self._stack.enter_context(running_postgres())
        store = await open_sql(server.url, clock=self.clock)
        self._stack.push_async_callback(store.close)
        return store

    async def redis(self, store: SqlStore | None = None) -> Any:
        server = self._stack.enter_context(running_redis())
        opened = await open_redis(server.url)
        self._stack.push_async_callback(opened.close)
        origin = None if store is None else store.archive.origin(writes_through=False)
        return opened.log(origin=origin)


async def memory(servers: Servers) -> EventLog:
    return MemoryLog(servers.clock)


async def memory_behind_sqlite(servers: Servers) -> EventLog:
    store = await servers.sqlite()
    return MemoryLog(servers.clock, origin=store.archive.origin(writes_through=False))


async def memory_stored_sqlite(servers: Servers) -> EventLog:
    return MemoryLog(servers.clock, journal=(await servers.sqlite()).archive)


async def memory_stored_postgres(servers: Servers) -> EventLog:
    return MemoryLog(servers.clock, journal=(await servers.postgres()).archive)


async def redis(servers: Servers) -> EventLog:
    log: EventLog = await servers.redis()
    return log


async def redis_behind_postgres(servers: Servers) -> EventLog:
    log: EventLog = await servers.redis(await servers.postgres())
    return log


CASES: dict[str, Callable[[Servers], Any]] = {
    "memory": memory,
    "memory_behind_sqlite": memory_behind_sqlite,
    "memory_stored_sqlite": memory_stored_sqlite,
    "memory_stored_postgres": memory_stored_postgres,
    "redis": redis,
    "redis_behind_postgres": redis_behind_postgres,
}


async def measure(name: str, seconds: float) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        log = await CASES[name](Servers(stack))
        stack.push_async_callback(log.close)
        names = [f"thread:bench-{n}" for n in range(STREAMS)]
        for stream in names:
            await log.append(stream, [DELTA])
        latencies = await _one_at_a_time(log, names, seconds)
        rate = await _all_at_once(log, names, seconds)
        recovery = await _recovery(log)
    quantiles = statistics.quantiles(latencies, n=100)
    return {
        "latency_ms_p50": round(quantiles[49], 3),
        "latency_ms_p99": round(quantiles[98], 3),
        "appends_per_second": round(rate),
        "recover_1000_events_ms": round(recovery, 2),
    }


async def _one_at_a_time(log: EventLog, names: list[str], seconds: float) -> list[float]:
    """Milliseconds from each append until its follower has heard it."""
    found: list[float] = []
    end = time.perf_counter() + seconds
    async with _hearing(log, names) as heard:
        while time.perf_counter() < end:
            stream = names[len(found) % len(names)]
            began = time.perf_counter()
            await log.append(stream, [DELTA])
            await heard.get()
            found.append((time.perf_counter() - began) * 1000)
    return found


@asynccontextmanager
async def _hearing(log: EventLog, names: list[str]) -> AsyncIterator[asyncio.Queue[object]]:
    heard: asyncio.Queue[object] = asyncio.Queue()
    attachments = [await log.attach(stream, heard.put_nowait) for stream in names]
    yield heard
    for attachment in attachments:
        await attachment.detach()


async def _all_at_once(log: EventLog, names: list[str], seconds: float) -> float:
    """Appends per second of many writers, each waiting for its own."""
    done = 0
    began = time.perf_counter()

    async def write(number: int) -> None:
        nonlocal done
        while time.perf_counter() < began + seconds:
            await log.append(names[number % len(names)], [DELTA])
            done += 1

    await asyncio.gather(*(write(number) for number in range(WRITERS)))
    return done / (time.perf_counter() - began)


async def _recovery(log: EventLog) -> float:
    """Milliseconds to read what a reader has missed; the best of five."""
    stream = "thread:recovery"
    start = await log.head(stream)
    for _ in range(RECOVERED // 50):
        await log.append(stream, [DELTA] * 50)
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        page = await log.read(stream, start, RECOVERED)
        best = min(best, (time.perf_counter() - began) * 1000)
        if len(page.events) != RECOVERED:
            raise RuntimeError(f"{len(page.events)} events instead of {RECOVERED}")
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", default=",".join(CASES))
    options = parser.parse_args()
    results: dict[str, Any] = {}
    for name in options.only.split(","):
        results[name] = uvloop.run(measure(name, options.seconds))
        print(f"{name:24} {results[name]}", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps({"results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
