"""Fan-out, requests, connects, memory and latency of Parlour beside its peers and a C floor, in one
run.

    python -m benchmarks.fanout [--json FILE] [--full] [--quick] [--peers parlour,c_floor]
    [--rounds 2] [--seconds 1]

Every server has its own process on the first core, the load generator (C, epoll) has the second.
All servers stay up, and each scenario visits them in turn, so that a change of the machine's mood
meets all of them. A rate is per second of the server's core: what was delivered, divided by the
share of the core that the server had meanwhile. On a quiet machine that share is nearly one; on a
busy one the division takes out what other programs took. The raw rates are in the document too. The
figure of a scenario is the median of its rounds.

What cannot be measured here (no Node.js, no Redis, a server that fails) is said and left out.

What the figures do not say: the network is the loopback interface; clients do nothing with what
they get; the peers keep no history, no positions and no bounds, Parlour does."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TaskID, TimeElapsedColumn

from benchmarks.connections import measure as measure_connections
from benchmarks.connections import measure_idle
from benchmarks.processes import BenchmarkError, Peer, prepare, run_load, serving
from benchmarks.report import compare, figure, machine, print_ratios, print_rows
from parlour.testing.servers import ServerMissing, running_postgres, running_redis

PEERS: Final = ["parlour", "parlour_asgi", "python_socketio", "node_socketio", "c_floor"]
TWO_NODES: Final = ("parlour", "python_socketio", "node_socketio")
SUBSCRIBE: Final = '420["subscribe",{"stream":"thread:bench-r#"}]'
RECEIVERS: Final = 200
MANY: Final = 10_000
"""Idle connections of the second measurement of memory."""

Runs = dict[str, dict[str, list[dict[str, float]]]]


@dataclass(frozen=True)
class Scenario:
    """One kind of load. `value` is the figure that counts."""

    name: str
    mode: str
    value: str
    options: dict[str, Any] = field(default_factory=dict)
    full: bool = False

    def run(self, peer: Peer, seconds: float) -> dict[str, float]:
        return run_load(self.mode, peer, seconds=seconds, warmup=0.3, **self.options)


def fan(name: str, clients: int, rooms: int, burst: int, full: bool = False) -> Scenario:
    publish = f'42["publish",{{"stream":"thread:bench-r#","n":{burst}}}]'
    options = {"clients": clients, "rooms": rooms, "burst": burst}
    joining = {"join": SUBSCRIBE, "publish": publish}
    return Scenario(name, "fan", "deliveries", options | joining, full)


def turns(name: str, rooms: int, burst: int) -> Scenario:
    """Rooms of two in which the server itself publishes, in all of them in one turn."""
    asked = f'{{"prefix":"thread:bench-r","rooms":{rooms},"n":{burst}}}'
    options = {"clients": 2 * rooms, "rooms": rooms, "burst": burst}
    joining = {"join": SUBSCRIBE, "publish": f'42["everywhere",{asked}]'}
    return Scenario(name, "turns", "deliveries", options | joining)


SCENARIOS: Final = [
    fan("single", 200, 1, 1),
    fan("burst4", 200, 1, 4),
    fan("burst16", 200, 1, 16),
    fan("clients1000", 1000, 1, 1),
    fan("clients1000_burst16", 1000, 1, 16, full=True),
    fan("rooms500", 1000, 500, 1),
    fan("rooms500_burst4", 1000, 500, 4),
    turns("turns500", 500, 1),
    turns("turns500_burst4", 500, 4),
    Scenario("ack", "ack", "acks", {"clients": 200, "request": '421["heartbeat",{}]'}),
]
LAST: Final = fan("two_nodes", RECEIVERS + 1, 1, 16)


class Watch:
    """The console, with a bar for what is being done."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self._progress = Progress(
            *Progress.get_default_columns(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Watch:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, name: str, steps: int) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(name, total=steps)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """One measurement; where it is not possible, that is said, and the others go on."""
        assert self._task is not None
        self._progress.update(self._task, description=name)
        with self.attempt(name):
            yield
        self._progress.advance(self._task)

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        try:
            yield
        except BenchmarkError as error:
            self.console.print(f"{name}: {error}", style="red")


def measure(
    watch: Watch, names: list[str], scenarios: list[Scenario], rounds: int, seconds: float
) -> Runs:
    """Scenario by scenario, peer by peer, all rounds."""
    samples: Runs = {scenario.name: {name: [] for name in names} for scenario in scenarios}
    watch.begin("fan-out", rounds * len(scenarios) * len(names))
    with ExitStack() as servers:
        peers = []
        for name in names:
            with watch.attempt(name):
                peers.append(servers.enter_context(serving(name)))
        for _ in range(rounds):
            for scenario in scenarios:
                for peer in peers:
                    with watch.step(f"{scenario.name}, {peer.name}"):
                        samples[scenario.name][peer.name].append(scenario.run(peer, seconds))
    return samples


def summarise(scenarios: list[Scenario], samples: Runs) -> dict[str, dict[str, dict[str, Any]]]:
    """The figure of each scenario and peer."""
    return {
        scenario.name: {
            name: figure(scenario.value, runs)
            for name, runs in samples[scenario.name].items()
            if runs
        }
        for scenario in scenarios
    }


def measure_two_nodes(
    watch: Watch, names: list[str], rounds: int, seconds: float
) -> dict[str, Any]:
    """One client publishes on node A, 200 listen on node B, Redis in between: bursts of 16. The
    rate is per second of CPU that the two nodes used together."""
    found: dict[str, Any] = {}
    watch.begin("two nodes", len(names))
    with running_redis() as redis, running_postgres() as postgres:
        for number, name in enumerate(names):
            with watch.step(f"two nodes, {name}"):
                stores = [redis.url]
                if name == "parlour":
                    stores.append(_database(postgres, f"bench{number}"))
                with serving(name, stores=stores) as a, serving(name, stores=stores) as b:
                    options = LAST.options | {"publisher": a.port, "pids": f"{a.pid},{b.pid}"}
                    runs = [run_load("fan", b, seconds=seconds, **options) for _ in range(rounds)]
                found[name] = figure(LAST.value, runs)
    return found


def measure_memory(watch: Watch, names: list[str], count: int, many: int) -> dict[str, Any]:
    """Idle connections: `count` of each server, and `many` of Parlour."""
    found: dict[str, Any] = {}
    watch.begin("idle connections", len(names) + 1)
    for name in names:
        with watch.step(f"idle connections, {name}"):
            found[name] = measure_connections(name, count, 200)
    with watch.step(f"{many} idle connections, parlour"):
        if many and "parlour" in found:
            figures = measure_idle("parlour", many, 200)
            found["parlour"][f"kb_per_connection_{many}"] = figures["kb_per_connection"]
    return found


def latency(peer: Peer, events_per_second: float, seconds: float) -> dict[str, float]:
    """From sending an append to each of 200 receivers, at a steady rate."""
    publish = '42["publish",{"stream":"thread:bench-r#","n":1}]'
    result = run_load(
        "latency", peer, clients=RECEIVERS, join=SUBSCRIBE, publish=publish,
        rate=max(1, round(events_per_second)), seconds=seconds,
    )  # fmt: skip
    return {
        "events_per_second": events_per_second,
        "p50_ms": result["p50_us"] / 1000,
        "p99_ms": result["p99_us"] / 1000,
        "server_cpu": result["server_cpu"],
    }


def measure_latency(
    watch: Watch, names: list[str], figures: dict[str, Any], seconds: float, redis: bool
) -> dict[str, Any]:
    """Each server at half of its own rate for single events; Parlour also with what it sends stored
    in SQLite, and over Redis, whose rates are measured here."""
    found: dict[str, Any] = {}
    servers = [name for name in names if name != "c_floor"]
    ours = "parlour" in names
    watch.begin("latency", len(servers) + ours + (redis and ours))
    for name in servers:
        with watch.step(f"latency, {name}"):
            if (known := figures["single"].get(name)) is not None:
                with serving(name) as peer:
                    found[name] = latency(peer, _half(known), seconds)
    if ours:
        with watch.step("latency, parlour_stored"), serving("parlour_stored") as peer:
            found["parlour_stored"] = latency(peer, _half_of(peer, seconds), seconds)
    if ours and redis:
        with watch.step("latency, parlour_redis"):
            found["parlour_redis"] = _latency_over_redis(seconds)
    return found


def _latency_over_redis(seconds: float) -> dict[str, float]:
    with running_redis() as redis, running_postgres() as postgres:
        stores = [redis.url, _database(postgres, "latency")]
        with serving("parlour", stores=stores) as peer:
            return latency(peer, _half_of(peer, seconds), seconds)


def _half_of(peer: Peer, seconds: float) -> int:
    single = next(scenario for scenario in SCENARIOS if scenario.name == "single")
    return _half({"per_second": single.run(peer, seconds)[single.value]})


def _half(known: dict[str, Any]) -> int:
    return int(known["per_second"] / RECEIVERS / 2)


def _database(postgres: Any, name: str) -> str:
    url: str = asyncio.run(postgres.create_database(name))
    return url.replace("postgresql://", "postgresql+asyncpg://", 1)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fan-out beside other servers.")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--full", action="store_true", help="all scenarios, more and longer rounds")
    parser.add_argument("--quick", action="store_true", help="one short round of everything")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--no-redis", action="store_true", help="leave Redis out")
    parser.add_argument("--count", type=int, help="idle connections of each server")
    options = parser.parse_args()
    rounds, seconds, count = (5, 3.0, MANY) if options.full else (2, 1.0, 2000)
    if options.quick:
        rounds, seconds, count = 1, 0.3, 300
    options.rounds = options.rounds or rounds
    options.seconds = options.seconds or seconds
    options.count = options.count or count
    return options


def main() -> None:
    options = read_options()
    names = prepare(options.peers.split(","))
    redis = not options.no_redis
    scenarios = [scenario for scenario in SCENARIOS if options.full or not scenario.full]
    console = Console()
    with Watch() as watch:
        samples = measure(watch, names, scenarios, options.rounds, options.seconds)
        figures = summarise(scenarios, samples)
        for scenario, rows in figures.items():
            print_rows(console, scenario, rows)
        if redis:
            try:
                both = [name for name in names if name in TWO_NODES]
                nodes = measure_two_nodes(watch, both, options.rounds, options.seconds)
                figures["two_nodes"] = nodes
                print_rows(console, "two nodes", nodes)
            except ServerMissing as error:
                redis = False
                watch.console.print(f"two nodes are left out: {error}", style="red")
        with_state = [name for name in names if name != "c_floor"]
        many = 0 if options.quick else MANY
        connections = measure_memory(watch, with_state, options.count, many)
        print_rows(console, "idle connections", connections)
        latencies = measure_latency(watch, names, figures, max(1.0, options.seconds), redis)
        print_rows(console, "latency at half load", latencies)
    ratios = compare(figures, connections, latencies)
    print_ratios(console, ratios)
    if options.json is not None:
        document = {
            "machine": machine(),
            "ratios": ratios,
            "figures": figures,
            "connections": connections,
            "latency": latencies,
            "samples": samples,
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
