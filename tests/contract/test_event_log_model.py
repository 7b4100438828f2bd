"""Random histories of one stream against a plain list: appends, retries, trims, readers, followers,
synchronisation, restarts and crashes, on every combination of window and archive.

The model says what must be true whatever happened: what was acknowledged is there once, in order,
and only a crash may take away what the archive did not hold, under a new epoch.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from parlour.backends.memory import MemoryLog
from parlour.backends.redis import open_redis
from parlour.backends.sql import SqlStore, open_sql
from parlour.backends.window import WindowLimits
from parlour.core.streams import Dedupe, Position
from parlour.errors import ExpectationFailed, LeaseLost, PositionLost
from parlour.ports import Attachment, HotLog, Lost
from parlour.server.archived_log import ArchivedLog
from parlour.testing.clock import ManualClock
from parlour.testing.contracts.event_log import Ear
from parlour.testing.contracts.hot_log import synchronise
from parlour.testing.contracts.making import fresh, notes, read_all, texts
from parlour.testing.servers import RedisServer

T = TypeVar("T")

LIMITS = WindowLimits(events=12, expiry_ms=0)
"""A window so small that readers fall through to the archive."""

nodes = st.integers(0, 1)
words = st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=4)
fractions = st.floats(0, 1)


@dataclass
class Following:
    """A follower and where it began."""

    ear: Ear
    attachment: Attachment


class StreamMachine(RuleBasedStateMachine):
    """The rules. Subclasses open logs over the archive and say what a crash takes away."""

    loses_unsynced: ClassVar[bool]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="parlour-model-"))
        self.clock = ManualClock()
        self.stream = fresh()
        self.held: list[str] = []
        self.floor = 0
        self.fence = 0
        self.epoch = ""
        self.synced = 0
        self.keys: dict[str, tuple[int, int]] = {}
        self.following: list[Following] = []
        self.store: SqlStore
        self.hot: list[Any]

    def run(self, work: Awaitable[T]) -> T:
        async def limited() -> T:
            async with asyncio.timeout(20):
                return await work

        return self.runner.run(limited())

    @initialize()
    def begin(self) -> None:
        self.run(self.begin_empty())
        self.run(self._open())
        self.epoch = self.run(self.log(0).head(self.stream)).epoch

    def log(self, node: int) -> ArchivedLog:
        return ArchivedLog(self.hot[node % len(self.hot)], self.store.archive)

    async def _open(self) -> None:
        self.store = await open_sql(
            f"sqlite:///{self.folder}/parlour.db", self.folder, clock=self.clock
        )
        await self.open_logs()

    async def begin_empty(self) -> None:
        """Remove what an earlier history left in a shared server."""

    async def open_logs(self) -> None:
        raise NotImplementedError

    async def close_logs(self) -> None:
        for hot in self.hot:
            await hot.close()

    # -- writing ---------------------------------------------------------------------------------

    @rule(node=nodes, run=words)
    def append(self, node: int, run: list[str]) -> None:
        done = self.run(self.log(node).append(self.stream, notes(*run)))

        assert (done.first, done.last) == (len(self.held) + 1, len(self.held) + len(run))
        self.held += run

    @rule(node=nodes, run=words, key=st.sampled_from("klm"))
    def append_with_key(self, node: int, run: list[str], key: str) -> None:
        done = self.run(self.log(node).append(self.stream, notes(*run), dedupe=Dedupe(key, b"r")))

        assert done.duplicate == (key in self.keys)
        if done.duplicate:
            assert (done.first, done.last, done.receipt) == (*self.keys[key], b"r")
        else:
            self.keys[key] = (len(self.held) + 1, len(self.held) + len(run))
            self.held += run

    @rule(node=nodes, off=st.integers(-2, 2))
    def append_expecting(self, node: int, off: int) -> None:
        work = self.log(node).append(self.stream, notes("e"), expected=len(self.held) + off)
        if off == 0:
            self.run(work)
            self.held.append("e")
        else:
            with pytest.raises(ExpectationFailed):
                self.run(work)

    @rule(node=nodes, fence=st.integers(1, 4))
    def append_as_owner(self, node: int, fence: int) -> None:
        work = self.log(node).append(self.stream, notes("o"), fence=fence)
        if fence < self.fence:
            with pytest.raises(LeaseLost):
                self.run(work)
        else:
            self.run(work)
            self.held.append("o")
            self.fence = fence

    @rule(runs=st.lists(words, min_size=2, max_size=5))
    def append_at_once(self, runs: list[list[str]]) -> None:
        async def all_of_them() -> list[Any]:
            return await asyncio.gather(
                *(self.log(node).append(self.stream, notes(*run)) for node, run in enumerate(runs))
            )

        done = self.run(all_of_them())

        for appended, run in sorted(zip(done, runs, strict=True), key=lambda one: one[0].first):
            assert appended.first == len(self.held) + 1
            self.held += run

    @rule(fraction=fractions)
    def trim(self, fraction: float) -> None:
        through = round(fraction * len(self.held))
        self.run(self.log(0).trim(self.stream, through))
        self.floor = max(self.floor, through)

    # -- reading ---------------------------------------------------------------------------------

    @rule(node=nodes, offset=st.integers(0, 60), limit=st.integers(1, 20))
    def read(self, node: int, offset: int, limit: int) -> None:
        work = self.log(node).read(self.stream, Position(self.epoch, offset), limit)
        if not self.floor <= offset <= len(self.held):
            with pytest.raises(PositionLost):
                self.run(work)
            return
        page = self.run(work)

        assert len(page.events) <= limit
        assert texts(page.events) == self.held[offset : offset + len(page.events)]
        assert [event.offset for event in page.events] == list(
            range(offset + 1, offset + 1 + len(page.events))
        )
        assert page.position == Position(self.epoch, offset + len(page.events))
        assert page.events or offset == len(self.held)

    @rule(node=nodes)
    def read_everything(self, node: int) -> None:
        after = Position(self.epoch, self.floor)
        events = self.run(read_all(self.log(node), self.stream, after))

        assert texts(events) == self.held[self.floor :]

    @rule(node=nodes)
    def read_a_foreign_epoch(self, node: int) -> None:
        with pytest.raises(PositionLost):
            self.run(self.log(node).read(self.stream, Position("7-foreign", 0), 1))

    # -- following -------------------------------------------------------------------------------

    @rule(node=nodes)
    def follow(self, node: int) -> None:
        ear = Ear()
        attachment = self.run(self.log(node).attach(self.stream, ear))
        self.following.append(Following(ear, attachment))

        assert attachment.position.epoch == self.epoch
        assert attachment.position.offset <= len(self.held)

    @precondition(lambda self: self.following)
    @rule(which=st.integers(0, 99))
    def stop_following(self, which: int) -> None:
        one = self.following.pop(which % len(self.following))
        start = one.attachment.position.offset
        heard = self.run(one.ear.heard(len(self.held) - start))
        self.run(one.attachment.detach())

        assert heard == self.held[start:]
        assert not any(isinstance(item, Lost) for item in one.ear.items)

    # -- living and dying ------------------------------------------------------------------------

    @rule(limit=st.integers(1, 5))
    def synchronise(self, limit: int) -> None:
        if self.loses_unsynced:
            hot: HotLog = self.hot[0]
            self.run(synchronise(hot, self.store.archive, limit))
        self.synced = len(self.held)

    @precondition(lambda self: self.loses_unsynced and not self.following)
    @rule()
    def rest(self) -> None:
        """The stream leaves the window, sealed, and comes back at the next use."""
        self.clock.advance(1)
        hot: HotLog = self.hot[0]
        gone = self.run(
            hot.evict(self.stream, lambda head: self.store.archive.seal(self.stream, head))
        )

        assert not gone or self.synced >= len(self.held)

    @rule()
    def crash(self) -> None:
        self.run(self._crash())
        self.following.clear()
        if self.loses_unsynced:
            self._forget_unsynced()

    async def _crash(self) -> None:
        for one in self.following:
            await one.attachment.detach()
        await self.lose_window()

    async def lose_window(self) -> None:
        """Nothing of the old logs is saved; the archive is opened again as after a crash."""
        await self.close_logs()
        await self.store.close()
        await self._open()

    def _forget_unsynced(self) -> None:
        kept = self.run(self.store.archive.head(self.stream))
        archived = 0 if kept is None else kept.offset
        assert archived >= self.synced
        self.held = self.held[:archived]
        self.floor = min(self.floor, archived)
        self.keys = {key: run for key, run in self.keys.items() if run[1] <= archived}
        opened = self.run(self.log(0).head(self.stream))
        assert opened.offset == archived
        self.epoch = opened.epoch
        self.fence = 0 if archived == 0 else self.fence

    @invariant()
    def the_head_is_the_model_s(self) -> None:
        if self.epoch:
            head = self.run(self.log(1).head(self.stream))
            assert head == Position(self.epoch, len(self.held))

    def teardown(self) -> None:
        try:
            for one in self.following:
                self.run(one.attachment.detach())
            if hasattr(self, "store"):
                self.run(self.close_logs())
                self.run(self.store.close())
        finally:
            self.runner.close()
            shutil.rmtree(self.folder, ignore_errors=True)


class WrittenThrough(StreamMachine):
    """Memory with SQLite as its journal: a crash takes nothing away and the epoch stays."""

    loses_unsynced = False

    async def open_logs(self) -> None:
        self.hot = [MemoryLog(self.clock, journal=self.store.archive, limits=LIMITS)]


class WrittenBehind(StreamMachine):
    """Memory over SQLite: a crash takes away what was not synchronised."""

    loses_unsynced = True

    async def open_logs(self) -> None:
        origin = self.store.archive.origin(writes_through=False)
        self.hot = [MemoryLog(self.clock, origin=origin, limits=LIMITS)]


class TwoNodesOnRedis(StreamMachine):
    """Redis over SQLite, used by two nodes; a crash is Redis coming back empty."""

    loses_unsynced = True
    server: ClassVar[RedisServer]

    async def begin_empty(self) -> None:
        # What the last history left to synchronise belongs to another archive.
        redis = await open_redis(self.server.url)
        await redis.redis.call("FLUSHALL")
        await redis.close()

    async def open_logs(self) -> None:
        origin = self.store.archive.origin(writes_through=False)
        self.redis = [await open_redis(self.server.url) for _ in range(2)]
        self.hot = [one.log(origin=origin, limits=LIMITS) for one in self.redis]

    async def close_logs(self) -> None:
        await super().close_logs()
        for one in self.redis:
            await one.close()

    async def lose_window(self) -> None:
        await asyncio.to_thread(self.server.lose_data)
        await super().lose_window()


def run_machine(machine: type[StreamMachine], examples: int) -> None:
    # Hypothesis runs the rules outside any event loop; pytest's own loop may be running here.
    failures: list[BaseException] = []

    def work() -> None:
        case = machine.TestCase
        case.settings = settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        try:
            case("runTest").runTest()
        except BaseException as error:  # noqa: BLE001 - carried to the test's own thread
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def test_a_log_that_writes_through_equals_a_plain_list() -> None:
    run_machine(WrittenThrough, 25)


def test_a_log_that_writes_behind_equals_a_plain_list() -> None:
    run_machine(WrittenBehind, 25)


def test_two_nodes_on_redis_equal_a_plain_list(redis_server: RedisServer) -> None:
    TwoNodesOnRedis.server = redis_server
    run_machine(TwoNodesOnRedis, 10)
