"""Many sessions come back at once, as after a deployment: how long until all are current, and what it
costs the database.

    python -m benchmarks.reconnect [--count 10000] [--threads 500] [--json FILE]

A server over SQLite is filled with conversations (60 deltas each); then every session connects, names
its conversation and gets its whole state, all at once; then all of it again. The load generator is the
compiled one, on the other core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
import urllib.request
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from benchmarks.processes import Peer, idle_clients, prepare, serving
from parlour.client import connect

DELTAS = 60


async def fill(peer: Peer, threads: int, console: Console) -> None:
    """One answer of `DELTAS` deltas in each conversation."""
    async with connect(f"http://127.0.0.1:{peer.port}", token=peer.token) as client:
        await client.live()
        for number in track(range(threads), "filling", console=console, transient=True):
            stream = f"thread:returning-{number}"
            await client.request("subscribe", {"stream": stream})
            await client.request("publish", {"stream": stream, "n": DELTAS})
            await client.request("unsubscribe", {"stream": stream})


def reads(peer: Peer) -> int:
    """Database reads since the server's start."""
    url = f"http://127.0.0.1:{peer.port}/metrics"
    text = urllib.request.urlopen(url).read().decode()
    found = re.search(r"^parlour_database_reads ([0-9.e+]+)$", text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


def come_back(peer: Peer, count: int, threads: int) -> dict[str, Any]:
    join = '420["subscribe",{"stream":"thread:returning-#"}]'
    before, started = reads(peer), time.monotonic()
    with idle_clients(peer, count, rooms=threads, join=join):
        seconds = time.monotonic() - started
        return {"seconds": round(seconds, 2), "database_reads": reads(peer) - before}


def main() -> None:
    parser = argparse.ArgumentParser(description="Many sessions come back at once.")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=500)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    console = Console()
    prepare(["parlour_stored"])
    with serving("parlour_stored") as peer:
        asyncio.run(fill(peer, args.threads, console))
        result = {
            "sessions": args.count,
            "conversations": args.threads,
            "first": come_back(peer, args.count, args.threads),
            "again": come_back(peer, args.count, args.threads),
        }
    console.print_json(data=result)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
