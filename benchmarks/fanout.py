"""Fan-out, requests, connects and memory of Parlour beside its peers and a C floor, in one run.

    python -m benchmarks.fanout [--json FILE] [--full] [--peers parlour,c_floor] [--rounds 2]
    [--seconds 1.5]

Every server has its own process on the first core, the load generator (C, epoll) has the second.
All servers stay up, and each scenario visits them in turn, so that a change of the machine's mood
meets all of them. A rate is per second of the server's core: what was delivered, divided by the
share of the core that the server had meanwhile. On a quiet machine that share is nearly one; on a
busy one the division takes out what other programs took. The raw rates are in the document too. The
figure of a scenario is the median of its rounds.

What the figures do not say: the network is the loopback interface; clients do nothing with what
they get; the peers keep no history, no positions and no bounds, Parlour does."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.connections import measure as measure_connections
from benchmarks.processes import Peer, prepare, run_load, serving
from parlour.testing.servers import running_postgres, running_redis

PEERS = ["parlour", "parlour_asgi", "python_socketio", "node_socketio", "c_floor"]
LOAD_LIMIT = 0.95
"""A load generator that uses more of its core may be what is measured."""

TWO_NODES = ("parlour", "python_socketio", "node_socketio")
SUBSCRIBE = '420["subscribe",{"stream":"thread:bench-r#"}]'


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


SCENARIOS = [
    fan("single", 200, 1, 1),
    fan("burst4", 200, 1, 4, full=True),
    fan("burst16", 200, 1, 16),
    fan("clients1000", 1000, 1, 1),
    fan("clients1000_burst16", 1000, 1, 16, full=True),
    fan("rooms500", 1000, 500, 1),
    fan("rooms500_burst4", 1000, 500, 4, full=True),
    Scenario("ack", "ack", "acks", {"clients": 200, "request": '421["heartbeat",{}]'}),
]


def measure(
    names: list[str], scenarios: list[Scenario], rounds: int, seconds: float
) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Scenario by scenario, peer by peer, all rounds."""
    samples: dict[str, dict[str, list[dict[str, float]]]] = {
        scenario.name: {name: [] for name in names} for scenario in scenarios
    }
    with ExitStack() as servers:
        peers = [servers.enter_context(serving(name)) for name in names]
        for number in range(rounds):
            for scenario in scenarios:
                for peer in peers:
                    _progress(number, rounds, scenario.name, peer.name)
                    samples[scenario.name][peer.name].append(scenario.run(peer, seconds))
    return samples


def _progress(number: int, rounds: int, scenario: str, peer: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{number + 1}/{rounds} {scenario:20} {peer:20}", end="", file=sys.stderr)


def summarise(
    scenarios: list[Scenario], samples: dict[str, dict[str, list[dict[str, float]]]]
) -> dict[str, dict[str, dict[str, Any]]]:
    """The figure of each scenario and peer."""
    return {
        scenario.name: {
            name: _figure(scenario, runs) for name, runs in samples[scenario.name].items()
        }
        for scenario in scenarios
    }


def _figure(scenario: Scenario, runs: list[dict[str, float]]) -> dict[str, Any]:
    per_core = [run[scenario.value] / max(run["server_cpu"], 0.01) for run in runs]
    return {
        "per_core_second": round(median(per_core)),
        "per_second": round(median(run[scenario.value] for run in runs)),
        "cpu_us": round(1e6 / median(per_core), 2) if median(per_core) else None,
        "server_cpu": round(median(run["server_cpu"] for run in runs), 2),
        "load_cpu": round(max(run["load_cpu"] for run in runs), 2),
        "load_is_the_limit": any(run["load_cpu"] > LOAD_LIMIT for run in runs),
    }


def compare(figures: dict[str, Any], memory: dict[str, Any]) -> dict[str, float]:
    """Parlour over each peer, named as the goals are."""
    ratios: dict[str, float] = {}
    for scenario, by_peer in figures.items():
        ours = by_peer.get("parlour")
        for peer, theirs in by_peer.items():
            if ours and peer != "parlour" and theirs["per_core_second"]:
                ratios[f"{scenario}_vs_{peer}"] = round(
                    ours["per_core_second"] / theirs["per_core_second"], 2
                )
    ours = memory.get("parlour")
    if ours is None:
        return ratios
    ratios["kb_per_connection"] = ours["kb_per_connection"]
    if "kb_per_session" in ours:
        ratios["kb_per_session"] = ours["kb_per_session"]
    for peer, theirs in memory.items():
        if peer != "parlour" and theirs["connects_per_core_second"]:
            ratios[f"connect_vs_{peer}"] = round(
                ours["connects_per_core_second"] / theirs["connects_per_core_second"], 2
            )
    return ratios


def latency(peer: Peer, events_per_second: float, seconds: float) -> dict[str, float]:
    """From sending an append to each of 200 receivers, at a steady rate."""
    publish = '42["publish",{"stream":"thread:bench-r#","n":1}]'
    result = run_load(
        "latency", peer, clients=200, join=SUBSCRIBE, publish=publish,
        rate=max(1, round(events_per_second)), seconds=seconds,
    )  # fmt: skip
    return {
        "events_per_second": events_per_second,
        "p50_ms": result["p50_us"] / 1000,
        "p99_ms": result["p99_us"] / 1000,
        "server_cpu": result["server_cpu"],
    }


def measure_latency(names: list[str], figures: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Each at half of its own rate for single events."""
    found: dict[str, Any] = {}
    for name in names:
        known = figures["single"].get(name) or figures["single"].get("parlour")
        if known is None:
            continue
        with serving(name) as peer:
            found[name] = latency(peer, round(known["per_second"] / 200 / 2), seconds)
    return found


def measure_two_nodes(names: list[str], rounds: int, seconds: float) -> dict[str, Any]:
    """One client publishes on node A, 200 listen on node B, Redis in between: bursts of 16. The
    rate is per second of CPU that the two nodes used together."""
    found: dict[str, Any] = {}
    scenario = fan("two_nodes", 201, 1, 16)
    with running_redis() as redis, running_postgres() as postgres:
        for number, name in enumerate(name for name in names if name in TWO_NODES):
            database = asyncio.run(postgres.create_database(f"bench{number}"))
            url = database.replace("postgresql://", "postgresql+asyncpg://", 1)
            stores = [redis.url, url] if name == "parlour" else [redis.url]
            with serving(name, stores=stores) as a, serving(name, stores=stores) as b:
                options = scenario.options | {"publisher": a.port, "pids": f"{a.pid},{b.pid}"}
                runs = [run_load("fan", b, seconds=seconds, **options) for _ in range(rounds)]
            found[name] = _figure(scenario, runs)
    return found


def machine() -> dict[str, Any]:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": os.getloadavg(),
    }


def print_table(title: str, rows: dict[str, dict[str, Any]]) -> None:
    print(f"\n{title}")
    for name, row in rows.items():
        print(f"  {name:18}", "  ".join(f"{key} {value}" for key, value in row.items()))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--full", action="store_true", help="all scenarios, more and longer rounds")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--no-redis", action="store_true", help="leave the two nodes out")
    parser.add_argument("--count", type=int, help="idle connections")
    options = parser.parse_args()
    options.rounds = options.rounds or (5 if options.full else 2)
    options.seconds = options.seconds or (3.0 if options.full else 1.0)
    options.count = options.count or (10_000 if options.full else 1_000)
    return options


def main() -> None:
    options = read_options()
    names = options.peers.split(",")
    prepare(names)
    scenarios = [scenario for scenario in SCENARIOS if options.full or not scenario.full]
    samples = measure(names, scenarios, options.rounds, options.seconds)
    figures = summarise(scenarios, samples)
    for scenario, rows in figures.items():
        print_table(scenario, rows)
    two_nodes = (
        {} if options.no_redis else measure_two_nodes(names, options.rounds, options.seconds)
    )
    print_table("two nodes", two_nodes)
    with_state = [name for name in names if name != "c_floor"]
    memory = {name: measure_connections(name, options.count, 200) for name in with_state}
    print_table("idle connections", memory)
    slow = [name for name in [*names, "parlour_stored"] if name != "c_floor"]
    latencies = measure_latency(slow, figures, options.seconds)
    print_table("latency at half load", latencies)
    ratios = compare(figures | {"two_nodes": two_nodes}, memory)
    print_table("ratios", {name: {"": value} for name, value in ratios.items()})
    if options.json is not None:
        document = {
            "machine": machine(),
            "ratios": ratios,
            "figures": figures | {"two_nodes": two_nodes},
            "connections": memory,
            "latency": latencies,
            "samples": samples,
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
