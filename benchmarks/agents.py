"""Agent sessions: appends and replays per second, memory per idle session, threads, time to begin one.

    python -m benchmarks.agents [--events 5000] [--idle 500] [--json FILE]

On one node with the embedded store (durability `stored`: each append waits for the disk, and what is added
together is stored together) and with `memory`. An event is what `run` observations are, about 300 bytes. The idle
sessions have answered one message and wait for the next one.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.progress import track

from parlour.agents import Agents, EventStream, WebSession, register_model
from parlour.agents.assembly import make_agents
from parlour.agents.events import RunObservation
from parlour.agents.ledger import Ledger
from parlour.agents.ports import Json, ModelAnswer, TokenUsage
from parlour.chat.application import ChatApp
from parlour.chat.registry import Registry
from parlour.config import Settings
from parlour.core.agents import AgentState
from parlour.server.node import Node, run_node
from parlour.telemetry import configure_logging

EVENT = RunObservation(content="line of output\n" * 12, command="make test", exit_code=0)
ONE_BY_ONE = 200
PAGE = os.sysconf("SC_PAGE_SIZE")


class Brief:
    """A model that asks back."""

    async def complete(
        self,
        messages: Sequence[Json],
        tools: Sequence[Json] = (),
        *,
        on_delta: Callable[[str], None] | None = None,
    ) -> ModelAnswer:
        return ModelAnswer("What next?", (), TokenUsage(10, 3))


register_model("brief", lambda settings: Brief())


@asynccontextmanager
async def node_with(durability: str) -> AsyncIterator[Node]:
    with tempfile.TemporaryDirectory(prefix="parlour-bench-") as folder:
        settings = Settings(
            data_folder=Path(folder),
            durability=durability,
            agent_model="brief",
            agent_sessions_limit=100_000,
            agent_idle_seconds=3600,
        )
        async with run_node(settings, ChatApp(Registry()), parts=(make_agents,)) as node:
            yield node


async def streams(node: Node, count: int) -> dict[str, float]:
    """Appending and reading one session's events."""
    stream = EventStream(node, node.new_id())
    await stream.open()
    began = time.perf_counter()
    for _ in range(ONE_BY_ONE):
        await stream.add_event(EVENT, "system")
    one_by_one = ONE_BY_ONE / (time.perf_counter() - began)
    began = time.perf_counter()
    added = [stream.add_event(EVENT, "system") for _ in range(count)]
    await added[-1]
    together = count / (time.perf_counter() - began)
    began = time.perf_counter()
    found = sum([1 async for _ in stream.search_events()])
    search = found / (time.perf_counter() - began)
    await stream.close()
    again, ledger = EventStream(node, stream.session_id), Ledger()
    again.subscribe("ledger", ledger.hear)
    began = time.perf_counter()
    await again.open()
    restore = ledger.state.offset / (time.perf_counter() - began)
    await again.close()
    return {
        "appends_one_by_one_per_s": one_by_one,
        "appends_per_s": together,
        "events_read_per_s": search,
        "events_restored_per_s": restore,
    }


async def idle(node: Node, count: int) -> dict[str, float]:
    """Sessions that wait for the next message."""
    agents = node.part(Agents)
    user = await node.accounts.add_user("bench", "correct horse battery")
    for _ in range(5):
        await _begin(node, user.id)
    gc.collect()
    threads, tasks, memory = threading.active_count(), len(node.tasks), _resident()
    began = time.perf_counter()
    for _ in track(range(count), "sessions", console=Console(stderr=True)):
        await _begin(node, user.id)
    seconds = time.perf_counter() - began
    gc.collect()
    return {
        "sessions": len(agents.live),
        "sessions_begun_per_s": count / seconds,
        "kib_per_idle_session": (_resident() - memory) / count / 1024,
        "threads_before": threads,
        "threads_after": threading.active_count(),
        "tasks_before": tasks,
        "tasks_after": len(node.tasks),
    }


async def _begin(node: Node, user_id: str) -> None:
    """A session that has answered once."""
    rests = asyncio.Event()
    web = WebSession(node.new_id(), sio=node.part(Agents), user_id=user_id)

    def hear(event: Any) -> None:
        extras = event.data.get("extras") or {}
        if extras.get("agent_state") == AgentState.AWAITING_USER_INPUT:
            rests.set()

    web.listeners.append(hear)
    await web.initialize_agent({}, "Hello")
    await rests.wait()


def _resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


async def measure(events: int, sessions: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for durability in ("stored", "memory"):
        async with node_with(durability) as node:
            found[durability] = await streams(node, events)
    async with node_with("stored") as node:
        found["idle"] = await idle(node, sessions)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--idle", type=int, default=500)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    configure_logging("console", "warning")
    found = uvloop.run(measure(args.events, args.idle))
    console = Console()
    for group, figures in found.items():
        for name, value in figures.items():
            console.print(f"{group:>8} {name:<28} {value:,.1f}", highlight=False)
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
