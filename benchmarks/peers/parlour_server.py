"""Parlour, the whole product: accounts, router, permissions, streams, feeds, hub, outboxes,
metrics.

python -m benchmarks.peers.parlour_server <port> <transport> <text> [<durability> [<redis url>
<database url>]]

Commands are added that a benchmark needs and no client should have: `publish` appends deltas to a
stream, as an answer that is being streamed does; `everywhere` does so in many streams in one turn;
`people` makes users; `stalls` tells of the turns of the event loop since it was last asked."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from parlour.chat.application import ChatApp
from parlour.chat.registry import Registry
from parlour.config import Settings
from parlour.core.thread import DELTA
from parlour.ports import UserRecord
from parlour.server import handlers
from parlour.server.connections import Caller
from parlour.server.node import Node
from parlour.server.router import Routes
from parlour.telemetry import configure_logging
from parlour.transports.asgi import serving
from parlour.transports.listening import listen, open_port
from parlour.wire.events import Payload

routes = Routes()
TEXT = sys.argv[3]


class Publish(Payload):
    stream: str
    n: int


@routes.command("publish", Publish, http=False)
async def publish(node: Node, caller: Caller, payload: Publish) -> dict[str, int]:
    """A turn of a producer: `n` deltas in one append."""
    await node.permissions.require_read(caller.user, payload.stream)
    data = {"id": "m1", "text": TEXT}
    appended = await node.streams.append(payload.stream, *[(DELTA, data)] * payload.n)
    return {"offset": appended.last}


class Everywhere(Payload):
    prefix: str
    rooms: int
    n: int


@routes.command("everywhere", Everywhere, http=False)
async def publish_everywhere(node: Node, caller: Caller, payload: Everywhere) -> dict[str, int]:
    """A turn of many producers: `n` deltas in one append in each room."""
    data = {"id": "m1", "text": TEXT}
    for number in range(payload.rooms):
        stream = f"{payload.prefix}{number}"
        await node.permissions.require_read(caller.user, stream)
        await node.streams.append(stream, *[(DELTA, data)] * payload.n)
    return {}


class Stalls:
    """Measures every turn of the event loop, from when it is first asked: the longest by the clock, and the
    longest in CPU of this thread (on a busy machine only that says something of us). It asks for each next turn at
    once, so that none is left out or counted with another; that keeps a core busy which has nothing else to do."""

    BOUND = 0.005

    def __init__(self) -> None:
        self.longest = 0.0
        self.longest_cpu = 0.0
        self.turns = 0
        self.over = 0
        """Turns with more CPU than `BOUND`."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._now = 0.0
        self._cpu = 0.0

    def take(self) -> dict[str, float]:
        if self._loop is None:
            # Nobody pays for it who does not ask.
            self._loop = asyncio.get_running_loop()
            self._now, self._cpu = time.perf_counter(), time.thread_time()
            self._loop.call_soon(self._look)
        taken = {
            "longest_ms": self.longest * 1000,
            "longest_cpu_ms": self.longest_cpu * 1000,
            "turns": self.turns,
            "over": self.over,
        }
        self.longest = self.longest_cpu = 0.0
        self.turns = self.over = 0
        return taken

    def _look(self) -> None:
        assert self._loop is not None
        now, cpu = time.perf_counter(), time.thread_time()
        used = cpu - self._cpu
        self.longest = max(self.longest, now - self._now)
        self.longest_cpu = max(self.longest_cpu, used)
        self.turns += 1
        self.over += used > self.BOUND
        self._now, self._cpu = now, cpu
        self._loop.call_soon(self._look)


stalls = Stalls()


class NoPayload(Payload):
    pass


@routes.command("stalls", NoPayload, http=False)
async def tell_stalls(node: Node, caller: Caller, payload: NoPayload) -> dict[str, float]:
    return {**stalls.take(), "connections": len(node.hub)}


class People(Payload):
    count: int


@routes.command("people", People, http=False)
async def make_people(node: Node, caller: Caller, payload: People) -> dict[str, list[str]]:
    """New users, and a token for each."""
    tokens = []
    for _ in range(payload.count):
        user = await node.users.add_user(UserRecord(node.new_id(), "somebody"))
        tokens.append((await node.accounts.issue(user.id)).token)
    return {"tokens": tokens}


async def token_of(node: Node) -> str:
    """The one user of a benchmark, who may be there already."""
    record = await node.users.user_by_login("bench")
    if record is None:
        user = await node.accounts.add_user("bench", "correct horse battery")
        return (await node.accounts.issue(user.id)).token
    return (await node.accounts.issue(record.id)).token


async def main(port: int, transport: str, durability: str, stores: list[str]) -> None:
    configure_logging("json", "error")
    handlers.TABLES.append(routes)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            data_folder=Path(folder),
            port=port,
            transport=transport,
            durability=durability,
            **dict(zip(("redis_url", "database_url"), stores, strict=False)),
            log_level="error",
            connections_per_user=100_000,
            commands_per_second=1e9,
            command_burst=1_000_000_000,
            connect_timeout_seconds=60,
        )
        listener = open_port("127.0.0.1", port)
        async with serving(settings, ChatApp(Registry())) as served:
            token = await token_of(served.node)
            print(json.dumps({"ready": True, "token": token}), flush=True)
            await listen(served, settings, listener)


if __name__ == "__main__":
    port, transport, _, *rest = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(port), transport, rest[0] if rest else "memory", rest[1:]))
