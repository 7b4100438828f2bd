"""Three processes of `parlour run` on one Redis and one PostgreSQL, and clients on each.

The Redis is a single server, a master found through Sentinel, or a Cluster of three; `disturb` makes
it move while clients are connected: a fail-over, a migration of slots.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from redis.asyncio import Redis

from parlour.backends.redis import open_redis
from parlour.client import Client as Follower
from parlour.client import Snapshot, connect
from parlour.testing.servers import (
    PostgresServer,
    RedisServer,
    running_redis,
    running_redis_cluster,
    running_sentinel,
)
from tests.fault.process import ServerProcess
from tests.interop.test_javascript_client import install
from tests.serving import Client

APP: Final = Path(__file__).with_name("three_nodes_app.py")
LISTENER: Final = Path(__file__).parents[1] / "interop" / "listener.mjs"
LIMIT_S: Final = 60.0
"""How long anything may take on a busy machine."""

Environment = dict[str, str]
Disturb = Callable[[str], Awaitable[None]]
"""Moves what Redis has; told a stream that must be among it."""


# -- what they share -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stores:
    """Where the nodes keep what they share."""

    environment: Environment
    disturb: Disturb | None = None
    keeps: bool = True
    """Whether `disturb` keeps everything; a replica that takes over may lack the last milliseconds of
    what was only in Redis."""
    away: Callable[[], AbstractContextManager[None]] | None = None
    """Makes Redis silent for the length of a block."""


@contextmanager
def on_one_redis(redis: RedisServer) -> Iterator[Stores]:
    @contextmanager
    def away() -> Iterator[None]:
        redis.pause()
        try:
            yield
        finally:
            redis.resume()

    yield Stores({"PARLOUR_REDIS_URL": redis.url}, away=away)


@contextmanager
def on_sentinel() -> Iterator[Stores]:
    """A master, its replica and the Sentinel that watches them."""
    with (
        running_redis("--repl-diskless-sync-delay", "0") as master,
        running_redis("--replicaof", "127.0.0.1", str(master.port)),
        running_sentinel(master) as sentinel,
    ):

        async def fail_over(stream: str) -> None:
            await agreed(sentinel.port, lambda admin: admin.sentinel_slaves("parlour"))
            await asyncio.to_thread(master.kill)
            await agreed(sentinel.port, lambda admin: another_master(admin, master.port))

        hosts = f"127.0.0.1:{sentinel.port}"
        yield Stores(
            {"PARLOUR_REDIS_URL": "redis://parlour", "PARLOUR_REDIS_SENTINEL_HOSTS": hosts},
            fail_over,
            keeps=False,
        )


async def agreed(port: int, asked: Callable[[Redis], Awaitable[Any]]) -> None:
    """Wait until the Sentinel says so."""
    admin = Redis(port=port)
    async with asyncio.timeout(LIMIT_S):
        while not await asked(admin):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.05)
    await admin.aclose()


async def another_master(admin: Redis, port: int) -> bool:
    _, named = await admin.sentinel_get_master_addr_by_name("parlour")
    return int(named) != port


@contextmanager
def on_cluster() -> Iterator[Stores]:
    with running_redis_cluster() as servers:

        async def migrate(stream: str) -> None:
            await move_slots(servers, stream)

        url = servers[0].url
        yield Stores({"PARLOUR_REDIS_URL": url, "PARLOUR_REDIS_CLUSTER": "true"}, migrate)


async def move_slots(servers: list[RedisServer], stream: str) -> None:
    """Hand over every slot with keys of the server that has the stream, one after the other, as a
    resharding does."""
    stores = [await open_redis(server.url) for server in servers]
    calls = [store.redis.call for store in stores]
    names = [(await call("CLUSTER", "MYID")).decode() for call in calls]
    clustered = await open_redis(servers[0].url, cluster=True)
    key = clustered.redis.keys.stream(stream)[0]
    await clustered.close()
    own = await calls[0]("CLUSTER", "KEYSLOT", key)
    held = [await call("CLUSTER", "COUNTKEYSINSLOT", own) for call in calls]
    source = held.index(max(held))
    assert held[source], "the stream is in no slot"
    target = (source + 1) % len(servers)
    for slot in await used_slots(calls[source]):
        await calls[target]("CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
        await calls[source]("CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
        while keys := await calls[source]("CLUSTER", "GETKEYSINSLOT", slot, 10):
            port = servers[target].port
            await calls[source]("MIGRATE", "127.0.0.1", port, "", 0, 5000, "KEYS", *keys)
        for call in (calls[target], *calls):
            await call("CLUSTER", "SETSLOT", slot, "NODE", names[target])
    for store in stores:
        await store.close()


async def used_slots(call: Callable[..., Awaitable[Any]]) -> list[int]:
    """The slots of this server that hold keys."""
    used, cursor = set(), b"0"
    while True:
        cursor, keys = await call("SCAN", cursor, "COUNT", 1000)
        for key in keys:
            used.add(await call("CLUSTER", "KEYSLOT", key))
        if cursor == b"0":
            return sorted(used)


# -- people ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Person:
    id: str
    name: str
    token: str


class JavaScriptClient:
    """The npm package in a process of its own, with the ears of `tests.serving.Client`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.heard: list[tuple[str, Any]] = []
        self._process = process
        self._answers: dict[str, Any] = {}
        self._sid: str | None = None
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            if "event" in told:
                self.heard.append((told["event"], told.get("payload")))
            elif "answer" in told:
                self._answers[told["answer"]] = told["payload"]
            else:
                self._sid = told["connected"]
            self._news.set()

    async def _wait(self, condition: Callable[[], bool], seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def connected(self) -> None:
        await self._wait(lambda: self._sid is not None, LIMIT_S)

    async def call(self, event: str, **payload: Any) -> Any:
        assert self._process.stdin is not None
        number = uuid.uuid4().hex
        asked = {"id": number, "event": event, "payload": payload}
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        await self._wait(lambda: number in self._answers, LIMIT_S)
        return self._answers.pop(number)

    async def until(self, wanted: Any, seconds: float = LIMIT_S) -> Any:
        def found() -> list[Any]:
            return [payload for event, payload in self.heard if wanted(event, payload)]

        await self._wait(lambda: bool(found()), seconds)
        return found()[0]

    async def close(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading


Listener = Client | JavaScriptClient


# -- the nodes -------------------------------------------------------------------------------------


@dataclass
class Trio:
    """The nodes `a`, `b` and `c`."""

    stores: Stores
    nodes: dict[str, ServerProcess]
    operators: dict[str, Follower] = field(default_factory=dict)

    def url(self, node: str) -> str:
        return f"http://127.0.0.1:{self.nodes[node].port}"

    async def ready(self, node: str, ready: bool = True) -> dict[str, bool]:
        """Wait until a node says that it can serve, or that it cannot; gives back what it reaches."""
        url = f"{self.url(node)}/health/ready"
        async with asyncio.timeout(LIMIT_S), httpx.AsyncClient(trust_env=False) as http:
            while True:
                answer = await http.get(url, timeout=LIMIT_S)
                if (answer.status_code == 200) == ready:
                    return dict(answer.json()["parts"])
                await asyncio.sleep(0.05)

    async def person(self) -> Person:
        """Somebody new, without a password that would cost processor time."""
        async with httpx.AsyncClient(base_url=self.url("a"), trust_env=False) as http:
            answer = await http.post("/api/auth/anonymous", timeout=LIMIT_S)
        told = answer.json()
        assert answer.status_code == 201, told
        return Person(told["user"]["id"], told["user"]["name"], told["token"])

    async def read(self, person: Person, node: str, path: str, **params: Any) -> Any:
        """What a node answers over HTTP."""
        headers = {"authorization": f"Bearer {person.token}"}
        async with httpx.AsyncClient(
            base_url=self.url(node), headers=headers, trust_env=False, timeout=LIMIT_S
        ) as http:
            answer = await http.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def listen(
        self, stack: AsyncExitStack, node: str, person: Person, **auth: Any
    ) -> Listener:
        """A connection of somebody: on node `c` by the npm package, elsewhere by python-socketio."""
        auth = {"session_id": uuid.uuid4().hex, **auth, "token": person.token}
        if node != "c":
            client = Client()
            await client.connect(self.url(node), **auth)
            stack.push_async_callback(client.close)
            return client
        process = await asyncio.create_subprocess_exec(
            "node",
            str(LISTENER),
            self.url(node),
            json.dumps(auth),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        listener = JavaScriptClient(process)
        stack.push_async_callback(listener.close)
        await listener.connected()
        return listener

    async def somebody(self, stack: AsyncExitStack, *nodes: str) -> tuple[Person, list[Listener]]:
        """Somebody new with a connection to each of these nodes, of which every node knows."""
        person = await self.person()
        listeners = [await self.listen(stack, node, person) for node in nodes]
        await self.known(person, len(nodes))
        return person, listeners

    async def known(self, person: Person, connections: int) -> None:
        """Wait until every node knows of so many connections."""
        await asyncio.gather(
            *(
                self.order(node, "known", user_id=person.id, connections=connections)
                for node in self.nodes
            )
        )

    async def order(self, node: str, do: str, **args: Any) -> Any:
        """Have a node do something, and give back what came of it."""
        thread = uuid.uuid4().hex
        operator = self.operators[node]
        async with asyncio.timeout(LIMIT_S), operator.follow(f"thread:{thread}") as stream:
            await operator.send(thread, json.dumps({"do": do, **args}))
            async for item in stream:
                said = item.state["messages"] if isinstance(item, Snapshot) else [item.data]
                for message in said:
                    if message.get("role") == "assistant":
                        return json.loads(message["content"])
        raise AssertionError(f"{do} was not answered")


@asynccontextmanager
async def running_trio(
    folder: Path, stores: Stores, postgres: PostgresServer, **settings: str
) -> AsyncIterator[Trio]:
    """Three nodes, and an operator on each."""
    install()
    name = f"{folder.name}-{uuid.uuid4().hex[:6]}"
    environment = {
        "PARLOUR_REDIS_KEY_PREFIX": name,
        "PARLOUR_DATABASE_URL": await postgres.create_database(name),
        "PARLOUR_DATABASE_POOL_SIZE": "3",
        "PARLOUR_ANONYMOUS": "true",
        "PARLOUR_SIGN_IN_ATTEMPTS_PER_ADDRESS": "100000",
        # Long, so that a node whose neighbours take the processors is not taken for dead.
        "PARLOUR_NODE_LEASE_SECONDS": "30",
        "PARLOUR_PING_TIMEOUT_SECONDS": "60",
        "PARLOUR_REDIS_TIMEOUT_SECONDS": "2",
        **stores.environment,
        **settings,
    }
    async with AsyncExitStack() as stack:
        trio = Trio(stores, {})
        for node in "abc":
            own = folder / node
            own.mkdir(parents=True)
            process = trio.nodes[node] = ServerProcess(own, environment, app=APP)
            stack.callback(process.stop)
        await asyncio.gather(*(process.start() for process in trio.nodes.values()))
        operator = await trio.person()
        for node in "abc":
            trio.operators[node] = await stack.enter_async_context(
                connect(trio.url(node), token=operator.token)
            )
        yield trio
