"""Figures, ratios and goals of the fan-out benchmark."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

LOAD_LIMIT: Final = 0.95
"""A load generator that uses more of its core may be what is measured."""

PEER_NAMES: Final = ("python_socketio", "node_socketio", "c_floor")

GOALS: Final[dict[str, float]] = {
    "single_vs_python_socketio": 6,
    "single_vs_node_socketio": 1.5,
    "single_vs_c_floor": 0.9,
    "burst16_vs_python_socketio": 50,
    "burst16_vs_node_socketio": 15,
    "burst16_vs_c_floor": 0.8,
    "clients1000_vs_python_socketio": 10,
    "clients1000_vs_node_socketio": 1.7,
    "clients1000_burst16_vs_python_socketio": 100,
    "clients1000_burst16_vs_node_socketio": 15,
    "rooms500_vs_python_socketio": 6,
    "rooms500_vs_node_socketio": 1.6,
    "rooms500_burst4_vs_python_socketio": 16,
    "rooms500_burst4_vs_node_socketio": 5,
    "turns500_vs_python_socketio": 6,
    "turns500_vs_node_socketio": 1.6,
    "turns500_burst4_vs_python_socketio": 16,
    "turns500_burst4_vs_node_socketio": 5,
    "ack_vs_python_socketio": 6,
    "ack_vs_node_socketio": 1.3,
    "connect_vs_python_socketio": 7,
    "connect_vs_node_socketio": 4.5,
    "two_nodes_vs_python_socketio": 35,
    "two_nodes_vs_node_socketio": 12,
    "p99_vs_python_socketio": 30,
    "p99_vs_node_socketio": 1,
    "kb_per_connection": 4,
    "kb_per_session": 12,
    "p99_ms": 2.5,
    "p99_stored_ms": 10,
    "p99_redis_ms": 25,
}
"""What Parlour wants to reach: at least, for a ratio; at most, for KiB and milliseconds."""


def figure(value: str, runs: list[dict[str, float]]) -> dict[str, Any]:
    """The median of one scenario's runs of one server."""
    per_core = [run[value] / max(run["server_cpu"], 0.01) for run in runs]
    middle = median(per_core)
    return {
        "per_core_second": round(middle),
        "per_second": round(median(run[value] for run in runs)),
        "cpu_us": round(1e6 / middle, 2) if middle else None,
        "server_cpu": round(median(run["server_cpu"] for run in runs), 2),
        "load_cpu": round(max(run["load_cpu"] for run in runs), 2),
        "load_is_the_limit": any(run["load_cpu"] > LOAD_LIMIT for run in runs),
    }


def compare(
    figures: Mapping[str, Any], connections: Mapping[str, Any], latencies: Mapping[str, Any]
) -> dict[str, float]:
    """Parlour over each peer, named as the goals are; above 1 is in Parlour's favour."""
    return {
        **_rates(figures),
        **_connections(connections),
        **_latencies(latencies),
    }


def _rates(figures: Mapping[str, Any]) -> dict[str, float]:
    ratios: dict[str, float] = {}
    for scenario, by_peer in figures.items():
        ours = by_peer.get("parlour")
        for peer, theirs in by_peer.items():
            if ours and peer != "parlour" and theirs["per_core_second"]:
                ratios[f"{scenario}_vs_{peer}"] = round(
                    ours["per_core_second"] / theirs["per_core_second"], 2
                )
    return ratios


def _connections(connections: Mapping[str, Any]) -> dict[str, float]:
    ours = connections.get("parlour")
    if ours is None:
        return {}
    names = [name for name in ours if name.startswith("kb_per_")]
    ratios: dict[str, float] = {name: ours[name] for name in names}
    for peer in PEER_NAMES:
        theirs = connections.get(peer)
        if theirs is not None and theirs["connects_per_core_second"]:
            ratios[f"connect_vs_{peer}"] = round(
                ours["connects_per_core_second"] / theirs["connects_per_core_second"], 2
            )
    return ratios


def _latencies(latencies: Mapping[str, Any]) -> dict[str, float]:
    names = {
        "parlour": "p99_ms",
        "parlour_stored": "p99_stored_ms",
        "parlour_redis": "p99_redis_ms",
    }
    found = {
        name: latencies[server]["p99_ms"] for server, name in names.items() if server in latencies
    }
    for peer in PEER_NAMES:
        if peer in latencies and found.get("p99_ms"):
            found[f"p99_vs_{peer}"] = round(latencies[peer]["p99_ms"] / found["p99_ms"], 2)
    return found


def is_met(name: str, value: float) -> bool | None:
    """Whether a goal is reached; None where there is none."""
    goal = GOALS.get(name)
    if goal is None:
        return None
    smaller = name.startswith("kb_") or name.endswith("_ms")
    return value <= goal if smaller else value >= goal


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


def print_rows(console: Console, title: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """One line for each server."""
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    table = Table(title=title, title_justify="left", box=None)
    for column in ("", *columns):
        table.add_column(column.replace("_", " "), justify="right" if column else "left")
    for name, row in rows.items():
        table.add_row(name, *(str(row.get(column, "")) for column in columns))
    console.print(table)


def print_ratios(console: Console, ratios: Mapping[str, float]) -> None:
    table = Table(title="Parlour's ratios and figures", title_justify="left", box=None)
    for column in ("", "measured", "goal", ""):
        table.add_column(column, justify="right" if column else "left")
    words = {True: "met", False: "missed", None: ""}
    for name, value in ratios.items():
        table.add_row(name, str(value), str(GOALS.get(name, "")), words[is_met(name, value)])
    console.print(table)
