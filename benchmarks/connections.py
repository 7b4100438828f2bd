"""Memory of an idle connection and connects per second, of Parlour and its peers in the same run.

    python -m benchmarks.connections [--count 2000] [--json FILE] [--peers parlour,python_socketio]

Each server runs in its own process on one core, the load generator on the other. The first clients
(`--warm`) are not counted: they fill pools and caches that every later client shares. Memory is the
growth of the server's resident set from then on, per connection, after the clients have been idle
for a moment."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from benchmarks.processes import idle_clients, prepare, serving, usage
from benchmarks.reader import Reader

PEERS = ["parlour", "parlour_asgi", "python_socketio", "node_socketio"]
SETTLE_SECONDS = 1.0
SESSION = "thread:idle-r#"


def measure(name: str, count: int, warm: int) -> dict[str, Any]:
    """Connect, wait, look. Parlour's connections are also measured as sessions: each follows a
    conversation of its own."""
    result = measure_idle(name, count, warm)
    if name == "parlour":
        result["kb_per_session"] = measure_idle(
            name, count, warm, rooms=count, join=f'420["subscribe",{{"stream":"{SESSION}"}}]'
        )["kb_per_connection"]
        result["connects_of_people_per_core_second"] = measure_people(name, count, warm)
    return result


def measure_people(name: str, count: int, warm: int) -> int:
    """Connects per second of the server's core where each client is another person, as after a
    deployment: no token was seen before."""
    with serving(name) as peer, NamedTemporaryFile("w", suffix=".auths") as file:
        asker = Reader(peer)
        asker.open()
        tokens = asker.call("people", {"count": warm + count})["tokens"]
        asker.close()
        file.writelines(json.dumps({"token": token}) + "\n" for token in tokens[warm:])
        file.flush()
        with idle_clients(peer, warm):
            time.sleep(SETTLE_SECONDS)
            before = usage(peer.pid)
            with idle_clients(peer, count, auths=file.name):
                connected = usage(peer.pid)
    return round(count / max(connected.cpu - before.cpu, 0.001))


def measure_idle(name: str, count: int, warm: int, **options: Any) -> dict[str, Any]:
    """Connects per second, and memory of each connection."""
    with serving(name) as peer, idle_clients(peer, warm):
        time.sleep(SETTLE_SECONDS)
        before = usage(peer.pid)
        with idle_clients(peer, count, **options) as connects:
            connected = usage(peer.pid)
            time.sleep(SETTLE_SECONDS)
            after = usage(peer.pid)
    return {
        "connects_per_second": round(connects),
        "connects_per_core_second": round(count / max(connected.cpu - before.cpu, 0.001)),
        "kb_per_connection": round((after.rss_kib - before.rss_kib) / count, 2),
        "rss_kib": after.rss_kib,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--warm", type=int, default=500)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peers", default=",".join(PEERS))
    options = parser.parse_args()
    names = prepare(options.peers.split(","))
    results: dict[str, Any] = {}
    for name in names:
        results[name] = measure(name, options.count, options.warm)
        print(f"{name:20} {results[name]}", flush=True)
    document = {"count": options.count, "warm": options.warm, "results": results}
    if "parlour" in results and "python_socketio" in results:
        document["ratios"] = _ratios(results["parlour"], results["python_socketio"])
        print(document["ratios"])
    if options.json is not None:
        options.json.write_text(json.dumps(document, indent=2) + "\n")


def _ratios(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float]:
    return {
        "connect_vs_python_socketio": round(
            ours["connects_per_core_second"] / theirs["connects_per_core_second"], 2
        ),
        "memory_vs_python_socketio": round(
            ours["kb_per_connection"] / theirs["kb_per_connection"], 3
        ),
    }


if __name__ == "__main__":
    main()
