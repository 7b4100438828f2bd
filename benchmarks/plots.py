"""The pictures of the performance page, from what `make bench-fanout JSON=file` wrote.

    python -m benchmarks.plots FILE [--folder docs/images]

Needs the extra `parlour[bench]`. The same file gives the same pictures, byte for byte."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.report import GOALS, is_met

COLOURS: Final = {
    "parlour": "#0f766e",
    "parlour_asgi": "#5eead4",
    "python_socketio": "#b45309",
    "node_socketio": "#4d7c0f",
    "c_floor": "#64748b",
    "parlour_stored": "#0e7490",
    "parlour_redis": "#be123c",
}
NAMES: Final = {
    "parlour": "Parlour",
    "parlour_asgi": "Parlour, ASGI",
    "python_socketio": "python-socketio",
    "node_socketio": "Node socket.io",
    "c_floor": "C, system calls only",
    "parlour_stored": "Parlour, SQLite",
    "parlour_redis": "Parlour, Redis",
}
SCENARIOS: Final = {
    "single": "single events,\n200 clients",
    "burst16": "bursts of 16,\n200 clients",
    "clients1000": "single events,\n1,000 clients",
    "rooms500": "500 rooms\nof two",
    "turns500": "the same, by\nthe server",
    "ack": "acknowledged\nrequests",
    "two_nodes": "two nodes,\nbursts of 16",
}
GREY: Final = "#94a3b8"


def plot_cost(axes: Axes, figures: Mapping[str, Any]) -> None:
    """CPU time of each delivery or request, by scenario and server."""
    scenarios = [name for name in SCENARIOS if figures.get(name)]
    servers = [name for name in COLOURS if any(name in figures[one] for one in scenarios)]
    width = 0.8 / len(servers)
    for number, server in enumerate(servers):
        known = [i for i, one in enumerate(scenarios) if figures[one].get(server)]
        places = [i + (number - len(servers) / 2 + 0.5) * width for i in known]
        values = [figures[scenarios[i]][server]["cpu_us"] for i in known]
        axes.bar(places, values, width, color=COLOURS[server], label=NAMES[server])
    axes.set_yscale("log")
    axes.set_ylabel("CPU, µs per delivery or request")
    axes.set_xticks(range(len(scenarios)), [SCENARIOS[one] for one in scenarios])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.legend(frameon=False, ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1), fontsize=8)


def plot_memory(axes: Axes, connections: Mapping[str, Any]) -> None:
    """Resident memory of each idle connection."""
    servers = [name for name in COLOURS if name in connections]
    values = [connections[name]["kb_per_connection"] for name in servers]
    bars = axes.barh([NAMES[name] for name in servers], values, color=[COLOURS[n] for n in servers])
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.invert_yaxis()
    axes.set_xlabel("KiB of resident memory per idle connection")


def plot_latency(axes: Axes, latencies: Mapping[str, Any]) -> None:
    """Median and 99th percentile, each server at half of its own rate."""
    servers = [name for name in COLOURS if name in latencies]
    for place, name in enumerate(servers):
        low, high = latencies[name]["p50_ms"], latencies[name]["p99_ms"]
        axes.plot([low, high], [place, place], color=COLOURS[name], linewidth=3)
        axes.plot([low], [place], "o", color=COLOURS[name])
        axes.plot([high], [place], "|", color=COLOURS[name], markersize=14, markeredgewidth=3)
    axes.set_yticks(range(len(servers)), [NAMES[name] for name in servers])
    axes.invert_yaxis()
    _log_of_x(axes)
    axes.set_xlabel("ms from sending to each of 200 receivers: median (dot) to 99 % (bar)")


def plot_goals(axes: Axes, ratios: Mapping[str, float]) -> None:
    """How far each ratio is from its goal; on the line is met."""
    names = [name for name in GOALS if name in ratios and not name.endswith("_ms")]
    shares = [
        GOALS[name] / ratios[name] if name.startswith("kb_") else ratios[name] / GOALS[name]
        for name in names
    ]
    colours = [COLOURS["parlour"] if is_met(name, ratios[name]) else GREY for name in names]
    axes.barh([name.replace("_", " ") for name in names], shares, color=colours)
    axes.axvline(1, color="black", linewidth=1)
    _log_of_x(axes)
    axes.invert_yaxis()
    axes.set_xlabel("measured over goal (on the line: met)")


def _log_of_x(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")


def save(path: Path, size: tuple[float, float], plot: Any, data: Any) -> None:
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    plot(axes, data)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("docs/images"))
    options = parser.parse_args()
    mpl.use("svg")
    # Otherwise every run would number its shapes anew.
    mpl.rcParams["svg.hashsalt"] = "parlour"
    document = json.loads(options.file.read_text())
    folder: Path = options.folder
    save(folder / "performance-cost.svg", (10, 4), plot_cost, document["figures"])
    save(folder / "performance-memory.svg", (7, 2.4), plot_memory, document["connections"])
    save(folder / "performance-latency.svg", (7, 2.8), plot_latency, document["latency"])
    save(folder / "performance-goals.svg", (7, 5.4), plot_goals, document["ratios"])


if __name__ == "__main__":
    main()
