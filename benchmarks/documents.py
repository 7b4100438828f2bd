"""What a document costs: stored, opened, edited in front of readers, and kept in memory.

    python -m benchmarks.documents [--edits 100000] [--readers 50] [--documents 300] [--json FILE]

Three people type into one text, one character at a time: mostly on at their own place, now and then
somewhere else, one edit in ten is a deletion; each edit reaches the others before the next. All of it
goes through a replica into SQLite, as on a node without Redis.

`sizes` compares, in bytes: all updates added up (`updates`), what a reader gets for them as packets
(`wire`, with bytes as attachments; `wire_arrays`, as arrays of integers), what the store holds at the
end (`stored`: snapshot and log, and `packed`, as compressed on the disk), and pycrdt's own snapshot.

`opening` compares, in milliseconds (median): a replica opened from the store, pycrdt alone with the
compacted form, pycrdt alone with every update applied.

`editing` is the path of an edit from the router on: payload, access, CRDT, SQLite, acknowledgement,
and the packet for each reader. Links are counters (no socket is written), so what is measured is this
process: `cpu_us` of processor time per update, all threads, and updates per second of one core that
follows from it. `in_flight` editors wait for one acknowledgement each. `pycrdt_us` is what applying
the same updates costs without anything else.

`memory` is what one open document that rests takes, in KiB, with a text of `text_bytes`; pycrdt's part
is measured the same way.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import structlog
import uvloop
from pycrdt import Doc, Text

from parlour.backends.packing import pack
from parlour.backends.sql import open_sql
from parlour.chat.application import ChatApp
from parlour.chat.registry import Registry
from parlour.config import Settings
from parlour.core.users import User
from parlour.documents.manager import Documents
from parlour.documents.part import documents as documents_part
from parlour.documents.replica import Replica
from parlour.ports import SessionRecord
from parlour.server.clock import SystemClock
from parlour.server.connections import Connection
from parlour.server.endpoint import Handshake
from parlour.server.node import Node, run_node
from parlour.server.tasks import Tasks
from parlour.wire.socketio import encode_event

PEOPLE = 3
HANDSHAKE = Handshake("/", {}, {}, {}, "127.0.0.1", False)
NAME = "note:0123456789abcdef"
ROUNDS = 7


class CountingLink:
    """A link whose client is counted and not written to."""

    transport = "websocket"
    buffered = 0
    handshake = HANDSHAKE

    def __init__(self, sid: str) -> None:
        self.sid = sid
        self.heard = 0

    def send(self, encoded: Any) -> None:
        self.heard += 1 if encoded.batch is None else len(encoded.batch)

    def call(self, event: str, args: Any, done: Any) -> Callable[[], None]:
        return lambda: None

    def close(self, reason: str = "server") -> None:
        return None


# -- the trace -------------------------------------------------------------------------------------


def typing(edits: int, seed: int = 1) -> list[bytes]:
    """The updates of three people at work."""
    chance = random.Random(seed)
    docs: list[Doc[Any]] = [Doc(client_id=chance.getrandbits(32)) for _ in range(PEOPLE)]
    texts = [doc.get("content", type=Text) for doc in docs]
    made: list[bytes] = []
    subscriptions = [doc.observe(lambda event: made.append(event.update)) for doc in docs]
    cursors = [0] * PEOPLE
    trace: list[bytes] = []
    length = 0
    for _ in range(edits):
        who = chance.randrange(PEOPLE)
        if chance.random() < 0.02:
            cursors[who] = chance.randrange(length + 1)
        at = min(cursors[who], length)
        if length and at and chance.random() < 0.1:
            del texts[who][at - 1 : at]
            cursors[who], length = at - 1, length - 1
            shift(cursors, who, at, -1)
        else:
            texts[who].insert(at, chance.choice("etaoin shrdlu"))
            cursors[who], length = at + 1, length + 1
            shift(cursors, who, at, 1)
        (update,) = made
        trace.append(update)
        for number, doc in enumerate(docs):
            if number != who:
                doc.apply_update(update)
        made.clear()
    for doc, subscription in zip(docs, subscriptions, strict=True):
        doc.unobserve(subscription)
    return trace


def shift(cursors: list[int], who: int, at: int, by: int) -> None:
    """The others' places move with the text before them."""
    for other, place in enumerate(cursors):
        if other != who and place > at:
            cursors[other] = place + by


# -- stored and opened -----------------------------------------------------------------------------


async def store(trace: list[bytes], folder: Path) -> dict[str, Any]:
    """Put the trace through a replica; sizes and opening times."""
    opened = await open_sql(f"sqlite:///{folder}/documents.db", folder, clock=SystemClock())
    async with Tasks() as tasks:
        await opened.documents.create(NAME)
        replica = new_replica(opened.documents, tasks)
        await replica.open()
        began = time.perf_counter()
        for first in range(0, len(trace), 100):
            await asyncio.gather(
                *(replica.submit(update, None) for update in trace[first : first + 100])
            )
        seconds = time.perf_counter() - began
        await replica.close()
        head = await opened.documents.head(NAME)
        log = await opened.documents.read(NAME, limit=1_000_000)
        sizes = wire_sizes(trace)
        sizes["stored"] = head.log_bytes + head.snapshot_bytes
        sizes["packed"] = len(pack(log.snapshot or b"")) + sum(len(u) + 1 for u in log.updates)
        sizes["pycrdt_snapshot"] = len(snapshot_of(trace))
        opening = await open_times(opened.documents, tasks, trace)
    await opened.close()
    return {
        "sizes": sizes,
        "opening": opening,
        "stored_per_second": round(len(trace) / seconds),
        "stored_is_less_by": round(sizes["updates"] / sizes["stored"], 1),
        "opening_is_faster_by": round(opening["append_only"] / opening["replica"], 1),
        "opening_over_pycrdt": round(opening["replica"] / opening["pycrdt"], 2),
    }


def new_replica(documents: Any, tasks: Tasks) -> Replica:
    return Replica(
        NAME,
        documents,
        tasks,
        limit=64_000_000,
        tell=lambda told: None,
        publish=lambda stored: None,
        ended=lambda error: None,
    )


def wire_sizes(trace: list[bytes]) -> dict[str, int]:
    payload = {
        "document_id": NAME,
        "user_id": "0123456789abcdef0123456789abcdef",
        "socket_id": "0123456789abcdefghij",
        "generation": 1,
    }
    binary = listed = 0
    for offset, update in enumerate(trace, 1):
        told = {**payload, "offset": offset}
        binary += encode_event("ydoc:document:update", [{**told, "update": update}]).size
        listed += encode_event("ydoc:document:update", [{**told, "update": list(update)}]).size
    return {"updates": sum(map(len, trace)), "wire": binary, "wire_arrays": listed}


def snapshot_of(trace: list[bytes]) -> bytes:
    doc: Doc[Any] = Doc()
    for update in trace:
        doc.apply_update(update)
    return doc.get_update()


async def open_times(documents: Any, tasks: Tasks, trace: list[bytes]) -> dict[str, float]:
    """Milliseconds, median."""
    compact = snapshot_of(trace)
    replicas, alone = [], []
    for _ in range(ROUNDS):
        replica = new_replica(documents, tasks)
        began = time.perf_counter()
        await replica.open()
        replicas.append(time.perf_counter() - began)
        doc: Doc[Any] = Doc()
        began = time.perf_counter()
        doc.apply_update(compact)
        alone.append(time.perf_counter() - began)
    doc = Doc()
    began = time.perf_counter()
    for update in trace:
        doc.apply_update(update)
    every = time.perf_counter() - began
    return {
        "replica": ms(statistics.median(replicas)),
        "pycrdt": ms(statistics.median(alone)),
        "append_only": ms(every),
    }


def ms(seconds: float) -> float:
    return round(seconds * 1000, 2)


# -- edited ----------------------------------------------------------------------------------------


async def edit(trace: list[bytes], readers: int, folder: Path) -> list[dict[str, Any]]:
    """The path from the router to the readers' links."""
    rows = []
    settings = Settings(
        data_folder=folder,
        commands_per_second=1e9,
        command_burst=10**9,
        connections_per_user=10_000,
        document_save_seconds=60,
        document_save_limit_seconds=300,
    )
    async with run_node(settings, ChatApp(Registry()), parts=[documents_part]) as node:
        user = await node.accounts.add_user("ann", "correct horse battery")
        share = len(trace) // 3
        for number, in_flight in enumerate((1, 16, 64)):
            part = trace[: (number + 1) * share]
            rows.append(
                await edit_with(node, user, part[-share:], part[:-share], readers, in_flight)
            )
    return rows


async def edit_with(
    node: Node, user: User, updates: list[bytes], before: list[bytes], readers: int, in_flight: int
) -> dict[str, Any]:
    note = await node.part(Documents).notes.create(user)
    document_id = f"note:{note['id']}"
    writers = [connect(node, user, f"w{in_flight}-{number}") for number in range(in_flight)]
    watching = [connect(node, user, f"r{in_flight}-{number}") for number in range(readers)]
    for connection, _ in [*writers, *watching]:
        await ask(node, connection, "ydoc:document:join", document_id, state_vector=b"\x00")
    async with node.part(Documents).hold(document_id) as document:
        for first in range(0, len(before), 500):
            await asyncio.gather(
                *(document.replica.submit(one, None) for one in before[first : first + 500])
            )
    heard = sum(link.heard for _, link in watching)
    source = iter(updates)
    gc.collect()
    began, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(
        *(write(node, connection, document_id, source) for connection, _ in writers)
    )
    cpu, seconds = time.process_time() - began, time.perf_counter() - wall
    told = sum(link.heard for _, link in watching) - heard
    assert told >= len(updates) * readers, (told, len(updates) * readers)
    alone = apply_alone(before, updates)
    for connection, _ in [*writers, *watching]:
        node.gateway.disconnected(connection.link, "done")
    return {
        "in_flight": in_flight,
        "updates": len(updates),
        "readers": readers,
        "cpu_us": round(cpu / len(updates) * 1e6, 1),
        "per_second_and_core": round(len(updates) / cpu),
        "per_second": round(len(updates) / seconds),
        "pycrdt_us": round(alone / len(updates) * 1e6, 2),
    }


def apply_alone(before: list[bytes], updates: list[bytes]) -> float:
    doc: Doc[Any] = Doc()
    for update in before:
        doc.apply_update(update)
    began = time.process_time()
    for update in updates:
        doc.apply_update(update)
    return time.process_time() - began


def connect(node: Node, user: User, sid: str) -> tuple[Connection, CountingLink]:
    link = CountingLink(sid)
    connection = Connection(link, user, SessionRecord(f"session-{sid}", user.id), None, None)
    node.hub.add(connection)
    node.hub.join(f"user:{user.id}", connection)
    node.hub.join(f"session:{connection.session.id}", connection)
    return connection, link


async def ask(node: Node, connection: Connection, event: str, document_id: str, **more: Any) -> Any:
    answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    payload = {"document_id": document_id, **more}
    node.router.receive(connection, event, payload, answered.set_result)
    answer = await answered
    assert answer["ok"], answer
    return answer


async def write(
    node: Node, connection: Connection, document_id: str, source: Iterator[bytes]
) -> None:
    for update in source:
        await ask(node, connection, "ydoc:document:update", document_id, update=update)


# -- kept in memory --------------------------------------------------------------------------------


async def remember(count: int, folder: Path, text_bytes: int = 2000) -> dict[str, Any]:
    """Resident memory of documents that are open and rest."""
    words = ("word " * text_bytes)[:text_bytes]
    # First, while no freed memory is there to be used again.
    docs, alone = bare_documents(count, words)
    settings = Settings(data_folder=folder, document_idle_seconds=3600)
    async with run_node(settings, ChatApp(Registry()), parts=[documents_part]) as node:
        user = await node.accounts.add_user("ann", "correct horse battery")
        notes = node.part(Documents).notes
        for _ in range(20):
            await notes.create(user, markdown=words)
        gc.collect()
        before = resident()
        for _ in range(count):
            await notes.create(user, markdown=words)
        gc.collect()
        after = resident()
        opened = node.part(Documents).stats()["open"]
        assert opened == count + 20, opened
    del docs
    return {
        "documents": count,
        "text_bytes": text_bytes,
        "kib": round((after - before) / count, 1),
        "pycrdt_kib": round(alone / count, 1),
    }


def bare_documents(count: int, words: str) -> tuple[list[Doc[Any]], int]:
    """pycrdt's documents alone, and what they take in KiB."""
    source: Doc[Any] = Doc()
    source.get("content", type=Text).insert(0, words)
    update = source.get_update()
    docs: list[Doc[Any]] = []
    gc.collect()
    before = resident()
    for _ in range(count):
        doc: Doc[Any] = Doc()
        doc.apply_update(update)
        docs.append(doc)
    return docs, resident() - before


def resident() -> int:
    """KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("no VmRSS")


# -- all of it -------------------------------------------------------------------------------------


async def measure(edits: int, readers: int, documents: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="parlour-bench-") as name:
        folder = Path(name)
        results: dict[str, Any] = {"edits": edits}
        results |= shown({"memory": await remember(documents, folder / "memory")})
        trace = typing(edits)
        results |= shown(await store(trace, folder))
        edited = await edit(trace[: min(len(trace), 15_000)], readers, folder / "edit")
        return results | shown({"editing": edited})


def shown(part: dict[str, Any]) -> dict[str, Any]:
    """Print what is known so far."""
    print(json.dumps(part, indent=2), flush=True)
    return part


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edits", type=int, default=100_000)
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--documents", type=int, default=300)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    results = uvloop.run(measure(options.edits, options.readers, options.documents))
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
