"""Many idle connections and a large, busy room for a long time: does anything grow or stall?

    python -m benchmarks.soak [--seconds 600] [--idle 10000] [--room 5000] [--rate 100] [--json FILE]

Prints the server's memory at the start and at the end, the longest turn of its event loop (by
the clock, and by the CPU time that it used: the two differ on a machine that does other things), and
the latency from sending an event to each receiver in the room. The room gets `rate` events per second;
what that is in deliveries may be more than one core can write one by one: then events leave
together, which is what is to be seen.

On a machine where the clients get too little of their core they answer pings too late, and the server
closes them: `closed_in_the_room` and the connections at the start and at the end say how many;
`unanswered` says how often the server did not tell its figures within a minute. `server_cpu` contains the probe, which
asks for every turn and so fills what is left of the core: few `turns` per second say that it is full.
It ends by itself, after `seconds` and what connecting takes."""

from __future__ import annotations

import argparse
import json
import subprocess
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.progress import Progress

from benchmarks.fanout import SUBSCRIBE
from benchmarks.processes import (
    BenchmarkError,
    Peer,
    idle_clients,
    load_command,
    prepare,
    raise_open_files,
    serving,
    usage,
)
from benchmarks.reader import Reader

SETTLE_SECONDS: Final = 3.0
SPARE_FILES: Final = 200
STALL_MS: Final = 20
MIB: Final = 1024


def watch(peer: Peer, load: subprocess.Popen[str], seconds: float) -> list[dict[str, float]]:
    """Memory, CPU and the longest turn, about once a second."""
    asker = Reader(peer)
    asker.open()
    samples: list[dict[str, float]] = []
    unanswered = 0
    asker.call("stalls", {})
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("soak", total=seconds)
        while load.poll() is None:
            time.sleep(1)
            try:
                told = asker.call("stalls", {})
            except BenchmarkError:
                # Far behind, or it was closed like others: that is a finding, not the end.
                asker.close()
                asker = Reader(peer)
                asker.open()
                unanswered += 1
                continue
            used = usage(peer.pid)
            samples.append(
                {
                    "rss_kib": used.rss_kib,
                    "longest_ms": told["longest_ms"],
                    "longest_cpu_ms": told["longest_cpu_ms"],
                    "turns": told["turns"],
                    "over": told["over"],
                    "connections": told["connections"],
                    "unanswered": unanswered,
                }
            )
            progress.advance(bar, 1)
    asker.close()
    return samples


def run(options: argparse.Namespace) -> dict[str, Any]:
    publish = '42["publish",{"stream":"thread:bench-r#","n":1}]'
    with serving("parlour") as peer, idle_clients(peer, options.idle):
        time.sleep(SETTLE_SECONDS)
        command = load_command(
            "latency", peer, clients=options.room, join=SUBSCRIBE, publish=publish,
            rate=options.rate, seconds=options.seconds, pids=peer.pid, warmup=2,
        )  # fmt: skip
        load = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        late = threading.Timer(options.seconds + 300, load.kill)
        late.start()
        try:
            samples = watch(peer, load, options.seconds)
        finally:
            late.cancel()
            load.kill()
        printed = load.stdout.read() if load.stdout is not None else ""
    if not printed:
        raise BenchmarkError("the load generator failed")
    return summarise(options, json.loads(printed), samples) | {"samples": samples}


def summarise(
    options: argparse.Namespace, load: dict[str, float], samples: list[dict[str, float]]
) -> dict[str, Any]:
    # The room's clients connect first, and end at once: what is measured is the time in between.
    most = max(one["connections"] for one in samples)
    first = next(n for n, one in enumerate(samples) if one["connections"] == most)
    begun = samples[first + 1 : first + 1 + int(options.seconds)]
    begun = [one for one in begun if one["connections"] > options.idle + 1] or samples[-1:]
    after = samples[samples.index(begun[-1]) + 1 :]
    return {
        "idle": options.idle,
        "room": options.room,
        "events_per_second": options.rate,
        "seconds": options.seconds,
        "memory_start_mib": round(begun[0]["rss_kib"] / MIB, 1),
        "memory_end_mib": round(begun[-1]["rss_kib"] / MIB, 1),
        "memory_most_mib": round(max(one["rss_kib"] for one in begun) / MIB, 1),
        "longest_stall_ms": round(max(one["longest_ms"] for one in begun), 1),
        "seconds_with_a_stall_above_20_ms": sum(one["longest_ms"] > STALL_MS for one in begun),
        "longest_turn_cpu_ms": round(max(one["longest_cpu_ms"] for one in begun), 1),
        "longest_turn_cpu_median_ms": round(median(one["longest_cpu_ms"] for one in begun), 1),
        "turns": sum(one["turns"] for one in begun),
        "turns_over_5_ms_cpu": sum(one["over"] for one in begun),
        "connections_start": begun[0]["connections"],
        "connections_end": begun[-1]["connections"],
        "stall_when_the_room_ends_ms": round(
            max((one["longest_ms"] for one in after), default=0), 1
        ),
        "closed_in_the_room": load["closed"],
        "unanswered": begun[-1]["unanswered"],
        "p50_ms": load["p50_us"] / 1000,
        "p99_ms": load["p99_us"] / 1000,
        "deliveries_per_second": load["deliveries"],
        "server_cpu": load["server_cpu"],
        "load_cpu": load["load_cpu"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--idle", type=int, default=10_000)
    parser.add_argument("--room", type=int, default=5_000)
    parser.add_argument("--rate", type=int, default=100, help="events per second in the room")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    prepare(["parlour"])
    room = raise_open_files() - SPARE_FILES
    if options.idle + options.room > room:
        raise SystemExit(f"this many connections need {options.idle + options.room} open files")
    result = run(options)
    Console().print_json(data={name: result[name] for name in result if name != "samples"})
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
