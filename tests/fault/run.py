"""The fault run: one conversation streams numbered tokens while something breaks at a random moment.

    python -m tests.fault.run --rounds 200 --seed 1 [--store embedded|redis] [--only kill]

Seeded and repeatable in what it does and when (by count of tokens seen). Prints lost, doubled, reordered
(all must be 0), the number of snapshots, and the recovery time's median and 99th percentile; exits 1
where anything was lost, doubled, reordered or taken back.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import Progress

from parlour.client import connect
from parlour.testing.fault_proxy import FaultProxy
from tests.fault.check import Reader, count_errors
from tests.fault.stage import EmbeddedStage, RedisStage, Stage

FORGETFUL = frozenset({"redis_lost"})
"""Faults that destroy what `durability=hot` promised to keep only in Redis: readers are given a snapshot
of what the database holds, which may be less than they saw. Counted apart."""

RELOAD = "reload"
"""What the reader does, not the stage."""

ROUND_LIMIT_S = 180.0


@dataclass
class Totals:
    rounds: int = 0
    events: int = 0
    snapshots: int = 0
    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    taken_back: int = 0
    forgotten: int = 0
    differing: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)

    @property
    def failed(self) -> int:
        return self.lost + self.doubled + self.reordered + self.taken_back + self.differing


class Seat:
    """The judged reader's connection, through the proxy; `reload` is what F5 does to it."""

    def __init__(self, stage: Stage, proxy: FaultProxy, stream: str) -> None:
        self._url = f"http://127.0.0.1:{proxy.port}"
        self._token = stage.token
        self._stream = stream
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._sit_down()
        return self

    async def __aexit__(self, *reason: object) -> None:
        await self._stack.aclose()

    async def _sit_down(self) -> None:
        self.client = await self._stack.enter_async_context(connect(self._url, token=self._token))
        self.following = await self._stack.enter_async_context(self.client.follow(self._stream))

    async def reload(self) -> None:
        """Forget everything and come anew."""
        await self._stack.aclose()
        await self._sit_down()


async def play(
    stage: Stage, fault: str, tokens: int, moment: int, totals: Totals, limit: float = ROUND_LIMIT_S
) -> None:
    """One round: stream, break at `moment` tokens, wait for the end, judge."""
    thread_id = uuid.uuid4().hex
    reader = Reader()
    async with (
        FaultProxy(("127.0.0.1", stage.reader_port)) as proxy,
        Seat(stage, proxy, f"thread:{thread_id}") as seat,
        connect(f"http://127.0.0.1:{stage.writer_port}", token=stage.token) as sender,
    ):
        reader.take(await anext(seat.following))
        await sender.send(thread_id, f"count {tokens}")
        try:
            async with asyncio.timeout(limit):
                await _break_once(stage, seat, proxy, reader, fault, moment, totals)
                fresh = await _until_current(stage, thread_id, seat, reader)
        except TimeoutError as error:
            found = {**reader.state.to_wire(), "messages": len(reader.state.messages)}
            error.add_note(f"{reader.position}, {_tokens_seen(reader)} tokens, {found!s:.2000}")
            raise
    _judge(reader, fresh, tokens, totals, fault)


async def _break_once(
    stage: Stage,
    seat: Seat,
    proxy: FaultProxy,
    reader: Reader,
    fault: str,
    moment: int,
    totals: Totals,
) -> None:
    """Read until the run is over; at `moment` tokens (at the latest then) the fault happens."""
    broken: asyncio.Task[float] | None = None
    healed_at: float | None = None
    while not _over(reader):
        reader.take(await anext(seat.following))
        if broken is None and _tokens_seen(reader) >= moment:
            if fault == RELOAD:
                reader.reloads()
                await seat.reload()
            broken = asyncio.create_task(stage.inject(fault, proxy, seat.client))
        elif broken is not None and broken.done() and healed_at is None:
            healed_at = broken.result()
            totals.recoveries.append(max(0.0, time.monotonic() - healed_at))
    await (broken or asyncio.create_task(stage.inject(fault, proxy, seat.client)))


async def _until_current(stage: Stage, thread_id: str, seat: Seat, reader: Reader) -> Reader:
    """Read on until the reader stands where somebody stands who comes now; gives back that one."""
    fresh = await _fresh_snapshot(stage, thread_id)
    while reader.position != fresh.position:
        reader.take(await anext(seat.following))
        if reader.position != fresh.position:
            fresh = await _fresh_snapshot(stage, thread_id)
    return fresh


def _tokens_seen(reader: Reader) -> int:
    return max((str(m["content"]).count(" ") for m in _answers(reader)), default=0)


def _answers(reader: Reader) -> list[dict[str, object]]:
    return [m for m in reader.state.messages.values() if m["role"] == "assistant"]


def _over(reader: Reader) -> bool:
    return not reader.state.runs and reader.state.last_run is not None


async def _fresh_snapshot(stage: Stage, thread_id: str) -> Reader:
    """What somebody sees who comes now."""
    fresh = Reader()
    address = f"http://127.0.0.1:{stage.writer_port}"
    async with (
        connect(address, token=stage.token) as client,
        client.follow(f"thread:{thread_id}") as following,
    ):
        fresh.take(await anext(following))
    return fresh


def _judge(reader: Reader, fresh: Reader, tokens: int, totals: Totals, fault: str) -> None:
    outcome = str((reader.state.last_run or {}).get("outcome"))
    totals.rounds += 1
    totals.faults[fault] += 1
    totals.outcomes[outcome] += 1
    totals.events += reader.events
    totals.snapshots += reader.snapshots
    totals.lost += reader.lost
    totals.doubled += reader.doubled
    totals.reordered += reader.reordered
    if fault in FORGETFUL:
        totals.forgotten += reader.shrunk
    else:
        totals.taken_back += reader.shrunk
    for message in _answers(fresh):
        complete = tokens if outcome == "completed" else None
        lost, doubled, reordered = count_errors(str(message["content"]), complete)
        totals.lost += lost
        totals.doubled += doubled
        totals.reordered += reordered
    if reader.state.to_wire() != fresh.state.to_wire():
        totals.differing += 1


async def run(args: argparse.Namespace, console: Console) -> Totals:
    draw = random.Random(args.seed)
    totals = Totals()
    make: Callable[[Path], Stage] = RedisStage if args.store == "redis" else EmbeddedStage
    with tempfile.TemporaryDirectory(prefix="parlour-fault-") as folder:
        stage = make(Path(folder))
        stage.pause_s = args.pause
        async with stage:
            faults = [args.only] if args.only else list(stage.faults)
            with Progress(console=console, disable=args.quiet) as progress:
                bar = progress.add_task(f"{args.store}", total=args.rounds)
                for number in range(args.rounds):
                    fault = faults[number % len(faults)]
                    moment = draw.randrange(1, args.tokens)
                    round_ = play(stage, fault, args.tokens, moment, totals)
                    await _guarded(round_, stage, fault, number)
                    progress.advance(bar)
    return totals


async def _guarded(work: Awaitable[None], stage: Stage, fault: str, number: int) -> None:
    try:
        await work
    except TimeoutError as error:
        for path in sorted(stage.folder.rglob("server.log")):
            sys.stderr.write(f"--- {path.parent.name}\n{path.read_text()[-6000:]}\n")
        notes = "\n".join(getattr(error, "__notes__", ()))
        raise SystemExit(
            f"{notes}\nround {number} ({fault}) did not end in {ROUND_LIMIT_S} s"
        ) from None


def report(totals: Totals, console: Console) -> None:
    times = sorted(totals.recoveries)
    console.print(f"rounds {totals.rounds}, events {totals.events}, faults {dict(totals.faults)}")
    console.print(f"outcomes {dict(totals.outcomes)}, snapshots {totals.snapshots}")
    console.print(
        f"lost {totals.lost}, doubled {totals.doubled}, reordered {totals.reordered}, "
        f"taken back {totals.taken_back} (with the data of Redis {totals.forgotten}), "
        f"differing from a fresh snapshot {totals.differing}"
    )
    if times:
        console.print(
            f"recovery median {statistics.median(times) * 1000:.0f} ms, "
            f"p99 {times[min(len(times) - 1, int(len(times) * 0.99))] * 1000:.0f} ms"
        )


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--store", choices=["embedded", "redis"], default="embedded")
    parser.add_argument("--pause", type=float, default=10.0, help="seconds of SIGSTOP")
    parser.add_argument("--only", default=None)
    parser.add_argument("--quiet", action="store_true")
    return parser.parse_args(words)


def main() -> None:
    args, console = arguments(), Console()
    totals = asyncio.run(run(args, console))
    report(totals, console)
    sys.exit(1 if totals.failed else 0)


if __name__ == "__main__":
    main()


__all__ = ["Totals", "arguments", "play", "report", "run"]
