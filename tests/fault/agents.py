"""The agents' kill run: an agent works on one of two nodes, and its node dies, freezes or stops at a random event.

    python -m tests.fault.agents --rounds 100 --seed 1

Real nodes over Redis and PostgreSQL, with real workspaces that both can reach. After each round it is judged from the
stream and from the workspace: every session goes on and ends once, no event is doubled or missing for somebody who
followed it live, every action has one result, no action was carried out twice, what was acknowledged is there once.
Prints the counts, how many appends of stale owners were refused, and how long a session was without an owner; exits 1
where anything was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import re
import statistics
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import Progress

from parlour.testing.servers import running_postgres, running_redis
from tests.fault.process import ServerProcess
from tests.serving import Client

APP = Path(__file__).with_name("agent_app.py")

LEASE_S = 4.0
ROUND_LIMIT_S = 60.0
STEPS = 12
LATEST_MOMENT = 30
"""Number of the last event at which something may happen; a run has at least as many."""

FAULTS = ("kill", "kill", "freeze", "kill", "terminate")


@dataclass
class Totals:
    rounds: int = 0
    events: int = 0
    actions: int = 0
    carried_out: int = 0
    unknown: int = 0
    takeovers: int = 0
    stale_refused: int = 0
    doubled_events: int = 0
    missing_events: int = 0
    doubled_actions: int = 0
    lost_results: int = 0
    lost_messages: int = 0
    wrong_ends: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    gaps: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        return (
            self.doubled_events
            + self.missing_events
            + self.doubled_actions
            + self.lost_results
            + self.lost_messages
            + self.wrong_ends
        )


class Node:
    """One of the two nodes."""

    def __init__(self, folder: Path, environment: dict[str, str], token: str = "") -> None:
        folder.mkdir(exist_ok=True)
        self.process = ServerProcess(folder, environment, app=APP)
        self.token = token

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.process.port}"

    @asynccontextmanager
    async def http(self) -> AsyncIterator[httpx.AsyncClient]:
        headers = {"authorization": f"Bearer {self.token}"}
        async with httpx.AsyncClient(
            base_url=self.url, headers=headers, timeout=30, trust_env=False
        ) as client:
            yield client

    async def stale_refused(self) -> int:
        """Appends of a stale owner that were refused on this node since it started."""
        async with self.http() as http:
            text = (await http.get("/metrics")).text
        found = re.search(r"^parlour_agent_stale_appends_total (\S+)", text, re.MULTILINE)
        return int(float(found[1])) if found else 0


class Stage:
    """Two nodes on one Redis, one PostgreSQL and one folder of workspaces."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workspaces = folder / "workspaces"
        self.nodes: list[Node] = []
        self.watcher: Watcher | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Stage:
        redis = self._stack.enter_context(running_redis())
        postgres = self._stack.enter_context(running_postgres())
        environment = {
            "PARLOUR_REDIS_URL": redis.url,
            "PARLOUR_DATABASE_URL": await postgres.create_database("agents"),
            "PARLOUR_DATABASE_POOL_SIZE": "3",
            "PARLOUR_NODE_LEASE_SECONDS": str(LEASE_S),
            "PARLOUR_AGENT_WORKSPACES": str(self.workspaces),
            "PARLOUR_AGENT_MODEL": "counting",
            # A node that is frozen must not find its clients timed out when it goes on.
            "PARLOUR_PING_TIMEOUT_SECONDS": "60",
            "FAULT_AGENT_STEPS": str(STEPS),
        }
        self.nodes = [Node(self.folder / name, environment) for name in ("one", "two")]
        token = await asyncio.to_thread(self.nodes[0].process.token, "ann")
        for node in self.nodes:
            node.token = token
            self._stack.callback(node.process.stop)
            await node.process.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def revive(self) -> None:
        """Start what a round ended."""
        for node in self.nodes:
            if not node.process.running:
                await node.process.start()


class Watcher(Client):
    """Follows a session on the node that survives, and agrees to whatever the agent asks."""

    def __init__(self, session_id: str) -> None:
        super().__init__()
        self.session_id = session_id
        self.times: dict[int, float] = {}
        self.sent: list[str] = []

    def hear(self, event: str, payload: Any) -> None:
        if event == "oh_event":
            self.times.setdefault(payload["id"], time.monotonic())
        super().hear(event, payload)

    async def follow(self, node: Node) -> None:
        query = f"conversation_id={self.session_id}&latest_event_id=-1"
        await self.socket.connect(
            f"{node.url}?{query}",
            auth={"token": node.token},
            socketio_path="/ws/socket.io",
            transports=["websocket"],
            wait_timeout=30,
        )

    @property
    def events(self) -> list[dict[str, Any]]:  # type: ignore[override]
        return [payload for event, payload in self.heard if event == "oh_event"]

    async def act(self, action: str, **args: Any) -> bool:
        """Send, with the same id again while the answer is that it may be tried again."""
        command_id = uuid.uuid4().hex
        for _ in range(100):
            answer = await self.call(
                "oh_user_action", action=action, args=args, command_id=command_id
            )
            if answer["ok"]:
                return True
            if not answer["error"].get("retryable"):
                return False
            await asyncio.sleep(0.1)
        return False

    async def say(self, text: str) -> None:
        if await self.act("message", content=text):
            self.sent.append(text)

    async def agree(self) -> None:
        """Confirm every question, as it comes."""
        asked: set[int] = set()
        while True:
            ask = await self.until(lambda e, p: _ask(e, p) not in (None, *asked), ROUND_LIMIT_S)
            asked.add(ask["extras"]["ask_id"])
            await self.act(
                "change_agent_state", agent_state="user_confirmed", ask_id=ask["extras"]["ask_id"]
            )


def _ask(event: str, payload: Any) -> int | None:
    if event != "oh_event" or payload.get("observation") != "agent_state_changed":
        return None
    found = payload["extras"].get("ask_id")
    return int(found) if found is not None else None


def _finished(event: str, payload: Any) -> bool:
    return event == "oh_event" and payload.get("extras", {}).get("agent_state") in (
        "finished",
        "error",
        "stopped",
        "rejected",
    )


async def play(stage: Stage, number: int, draw: random.Random, totals: Totals) -> None:
    """One round: begin on one node, follow on the other, break the first, wait for the end, judge."""
    await stage.revive()
    owner, other = stage.nodes[number % 2], stage.nodes[(number + 1) % 2]
    fault, moment = FAULTS[number % len(FAULTS)], draw.randrange(1, LATEST_MOMENT)
    confirming = draw.random() < 0.3
    session_id = uuid.UUID(int=draw.getrandbits(128)).hex
    before = [await node.stale_refused() for node in stage.nodes]
    settings = {"confirmation": "commands" if confirming else "never"}
    async with owner.http() as http:
        begun = await http.post(
            "/api/agents", json={"id": session_id, "message": "go", "settings": settings}
        )
        begun.raise_for_status()
    stage.watcher = watcher = Watcher(session_id)
    async with AsyncExitStack() as stack:
        await watcher.follow(other)
        stack.push_async_callback(watcher.close)
        agreeing = asyncio.create_task(watcher.agree())
        stack.push_async_callback(_end, agreeing)
        if moment > 6 and draw.random() < 0.5:
            await watcher.until(lambda e, p: e == "oh_event" and p["id"] >= moment // 2, 60)
            await watcher.say(f"mind this: {number}")
        await watcher.until(lambda e, p: e == "oh_event" and p["id"] >= moment, 60)
        await _break(owner, fault)
        await watcher.until(_finished, ROUND_LIMIT_S)
        await _settled(watcher, other)
        await _judge(stage, other, watcher, totals)
    totals.rounds += 1
    totals.faults[fault] += 1
    await stage.revive()
    after = [await node.stale_refused() for node in stage.nodes]
    # A node that was started again counts from 0.
    totals.stale_refused += sum(max(0, b - a) for a, b in zip(before, after, strict=True))


async def _break(owner: Node, fault: str) -> None:
    if fault == "kill":
        owner.process.kill()
    elif fault == "terminate":
        await asyncio.to_thread(owner.process.terminate)
    else:
        owner.process.pause()
        await asyncio.sleep(LEASE_S * 2)
        owner.process.resume()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, TimeoutError):
        await task


async def _settled(watcher: Watcher, node: Node) -> None:
    """Until what was heard is all there is, and nothing more comes of it."""
    async with asyncio.timeout(ROUND_LIMIT_S), node.http() as http:
        while True:
            session = (await http.get(f"/api/agents/{watcher.session_id}")).json()
            heard = max((event["id"] for event in watcher.events), default=0)
            waits = session["detail"]["inputs"] or session["detail"]["requests"]
            if heard >= session["latest_event_id"] and not waits:
                return
            await asyncio.sleep(0.05)


async def _judge(stage: Stage, node: Node, watcher: Watcher, totals: Totals) -> None:
    stored = await _stored(node, watcher.session_id)
    heard = [event["id"] for event in watcher.events]
    problems: list[str] = []
    totals.events += len(stored)
    doubled = len(heard) - len(set(heard))
    missing = len({event["id"] for event in stored} - set(heard))
    out_of_order = heard != sorted(heard) or [e["id"] for e in stored] != list(
        range(1, len(stored) + 1)
    )
    totals.doubled_events += doubled
    totals.missing_events += missing + out_of_order
    _judge_actions(stage, watcher, stored, totals, problems)
    _judge_messages(watcher, stored, totals)
    ends = [e["extras"]["agent_state"] for e in stored if _finished("oh_event", e)]
    # What somebody said in the last moment begins one more run, which ends as well.
    runs = sum(1 for e in stored if e.get("extras", {}).get("began"))
    if set(ends) != {"finished"} or len(ends) != runs:
        totals.wrong_ends += 1
        problems.append(f"ended {ends} in {runs} runs")
    moved = [e["id"] for e in stored if e.get("extras", {}).get("status") == "moved"]
    totals.takeovers += len(moved)
    totals.gaps += [
        watcher.times[one] - watcher.times[one - 1] for one in moved if one - 1 in watcher.times
    ]
    if doubled or missing or out_of_order:
        problems.append(f"doubled {doubled}, missing {missing}, order {heard}")
    totals.problems += [f"{watcher.session_id}: {problem}" for problem in problems]


def _judge_actions(
    stage: Stage,
    watcher: Watcher,
    stored: list[dict[str, Any]],
    totals: Totals,
    problems: list[str],
) -> None:
    """Every action has one result, and was carried out at most once."""
    actions = {e["id"]: e for e in stored if e.get("action") == "run"}
    results = Counter(
        e["cause"]
        for e in stored
        if e.get("observation") in ("run", "error", "user_rejected") and e.get("cause") in actions
    )
    totals.actions += len(actions)
    wrong = [one for one in actions if results[one] != 1]
    totals.lost_results += len(wrong)
    totals.unknown += sum(1 for e in stored if e.get("extras", {}).get("code") == "interrupted")
    lines = (stage.workspaces / watcher.session_id / "done.txt").read_text().split()
    twice = [line for line, count in Counter(lines).items() if count > 1]
    totals.carried_out += len(lines)
    totals.doubled_actions += len(twice)
    done = {str(e["cause"]) for e in stored if e.get("observation") == "run"}
    numbers = {e["args"]["command"].split()[1] for i, e in actions.items() if str(i) in done}
    vanished = [
        n
        for n in numbers - set(lines)
        if not any(
            e.get("extras", {}).get("interrupted") and f"echo {n} " in e["extras"]["command"]
            for e in stored
        )
    ]
    totals.lost_results += len(vanished)
    if wrong or twice or vanished:
        problems.append(f"actions without one result {wrong}, twice {twice}, vanished {vanished}")


def _judge_messages(watcher: Watcher, stored: list[dict[str, Any]], totals: Totals) -> None:
    """What was acknowledged is there once, and was taken."""
    said = Counter(
        e["args"]["content"]
        for e in stored
        if e.get("action") == "message" and e["source"] == "user"
    )
    taken = {i for e in stored if e.get("observation") == "input_taken" for i in e["extras"]["ids"]}
    ids = {e["id"] for e in stored if e.get("action") == "message" and e["source"] == "user"}
    totals.lost_messages += sum(1 for text in ["go", *watcher.sent] if said[text] != 1)
    totals.lost_messages += len(ids - taken)


async def _stored(node: Node, session_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    start = 1
    async with node.http() as http:
        while True:
            answer = await http.get(
                f"/api/agents/{session_id}/events", params={"start_id": start, "limit": 500}
            )
            answer.raise_for_status()
            page = answer.json()
            found += page["events"]
            if page["next_id"] is None:
                return found
            start = page["next_id"]


async def run(rounds: int, seed: int, console: Console, *, quiet: bool = False) -> Totals:
    draw = random.Random(seed)
    totals = Totals()
    with tempfile.TemporaryDirectory(prefix="parlour-agents-") as folder:
        async with Stage(Path(folder)) as stage:
            with Progress(console=console, disable=quiet) as progress:
                bar = progress.add_task("agents", total=rounds)
                for number in range(rounds):
                    try:
                        await play(stage, number, draw, totals)
                    except TimeoutError:
                        await _explain(stage)
                        _show_logs(stage)
                        raise SystemExit(f"round {number} did not end") from None
                    progress.advance(bar)
                    if not console.is_terminal and not quiet and number % 10 == 9:
                        report(totals, console)
            if totals.failed and os.environ.get("FAULT_LOGS"):
                _show_logs(stage)
    return totals


async def _explain(stage: Stage) -> None:
    """What a round that did not end has come to."""
    watcher = stage.watcher
    if watcher is None:
        return
    heard = [event["id"] for event in watcher.events]
    sys.stderr.write(f"heard {heard[-3:]} of {watcher.session_id}\n")
    for node in stage.nodes:
        if node.process.running:
            async with node.http() as http:
                answer = await http.get(f"/api/agents/{watcher.session_id}")
                sys.stderr.write(f"{node.url}: {answer.text[:1500]}\n")


def _show_logs(stage: Stage) -> None:
    for path in sorted(stage.folder.rglob("server.log")):
        sys.stderr.write(f"--- {path.parent.name}\n{path.read_text()[-8000:]}\n")


def report(totals: Totals, console: Console) -> None:
    console.print(
        f"rounds {totals.rounds}, faults {dict(totals.faults)}, events {totals.events}, "
        f"takeovers {totals.takeovers}"
    )
    console.print(
        f"actions {totals.actions}, carried out {totals.carried_out}, of unknown outcome "
        f"{totals.unknown}, appends of stale owners refused {totals.stale_refused}"
    )
    console.print(
        f"events doubled {totals.doubled_events}, missing {totals.missing_events}; actions carried "
        f"out twice {totals.doubled_actions}, results lost {totals.lost_results}; messages lost "
        f"{totals.lost_messages}; wrong ends {totals.wrong_ends}"
    )
    if totals.gaps:
        console.print(
            f"without an owner: median {statistics.median(totals.gaps):.2f} s, longest "
            f"{max(totals.gaps):.2f} s (lease {LEASE_S} s)"
        )
    for problem in totals.problems[:20]:
        console.print(problem)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quiet", action="store_true")
    args, console = parser.parse_args(), Console()
    totals = asyncio.run(run(args.rounds, args.seed, console, quiet=args.quiet))
    report(totals, console)
    sys.exit(1 if totals.failed else 0)


if __name__ == "__main__":
    main()
