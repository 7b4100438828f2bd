"""Runs: activations of the app on a conversation, one at a time, each with exactly one terminal event.

Runs of one conversation are queued and executed in order (two quick messages never run at once), on
every node: the node that executes holds the lease `run:{thread_id}`, and the lease's generation fences
what the run writes, so that a node that was frozen and comes back cannot write into a conversation that
somebody else has taken over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from parlour.core.streams import Batch, Dedupe, Position
from parlour.errors import (
    CallGone,
    LeaseLost,
    ParlourError,
    PositionLost,
    RateLimited,
    ShuttingDown,
    Unavailable,
)
from parlour.ports import Lease, Lost
from parlour.server.chats import Chat
from parlour.server.streams import NewData
from parlour.server.token_stream import TokenStream
from parlour.wire.records import MessageFields, Outcome, RunEnd
from parlour.wire.records import Run as RunRecord
from parlour.wire.told import MESSAGE, RUN_ENDED, RUN_STARTED

if TYPE_CHECKING:
    from parlour.server.node import Node

log = structlog.get_logger(__name__)

Work = Callable[["Run"], Awaitable[None]]

STOP_ATTEMPTS = 5
"""How often a handler that swallows its cancellation is cancelled, once a second."""

TERMINAL_ATTEMPTS = 6
"""How often a terminal event is retried while the store is away; later the sweeper writes it."""


class Run:
    """One activation. The app's code runs inside `work(run)`, in a task of its own."""

    def __init__(
        self,
        node: Node,
        chat: Chat,
        handler: str,
        work: Work,
        cause: str | None,
        run_id: str | None,
    ) -> None:
        self.id = run_id or node.new_id()
        self.node = node
        self.chat = chat
        self.handler = handler
        self.cause = cause
        self.stopping = False
        self.interrupted = False
        self.fence: int | None = None
        self.task: asyncio.Task[None] | None = None
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._work = work
        self._streams: dict[str, TokenStream] = {}
        self._given_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._silent = False

    @property
    def thread_id(self) -> str:
        return self.chat.thread_id

    @property
    def stream_name(self) -> str:
        return f"thread:{self.chat.thread_id}"

    async def emit(self, *events: NewData) -> Position:
        """Append conversation events, in one step. Raises `LeaseLost` when the conversation was taken over,
        or goes on without this run."""
        if self._silent:
            raise LeaseLost("This run was given up; the conversation goes on without it.")
        return await self._append(*events)

    async def _append(self, *events: NewData) -> Position:
        appended = await self.node.streams.append(
            self.stream_name, *events, cause=self.id, fence=self.fence
        )
        return appended.position

    def stream(self, message_id: str) -> TokenStream:
        """The writer of a message's text deltas."""
        writer = self._streams.get(message_id)
        if writer is None:
            writer = TokenStream(self, message_id)
            self._streams[message_id] = writer
        return writer

    async def ask(
        self,
        spec: dict[str, Any],
        content: str,
        *,
        author: Mapping[str, Any] | None = None,
        timeout: float,
    ) -> dict[str, Any] | None:
        """Put a durable question and wait at most `timeout` seconds for its one answer:
        `{answer, answered_by, message_id}`, or None when it expired."""
        await self.save_values()
        return await self.node.asks.ask(self, spec, content, author, timeout)

    async def call(self, name: str, args: Any, timeout: float) -> Any:
        """Call the client of this run's session; the first connection that answers decides. Raises `CallError`,
        also where the conversation is no longer shared with the session's user."""
        grant = await self.node.permissions.grant(self.chat.user, self.stream_name)
        if not grant.write:
            raise CallGone
        return await self.node.routing.call(self.chat.session_id, name, args, timeout)

    async def save_values(self) -> None:
        """Store what handlers put into the session's values."""
        await self.node.chats.save(self.chat)

    async def perform(self) -> str:
        """Run the app's code; gives back the outcome. Text that was produced is kept whatever happens."""
        with structlog.contextvars.bound_contextvars(
            run=self.id, thread=self.thread_id, session=self.chat.session_id, user=self.chat.user.id
        ):
            if not await self._begin():
                log.info("run was taken over while it waited")
                return "interrupted"
            outcome, failure = await self._execute()
            events = await self._closing_events(outcome, failure)
            await self._write_terminal(events)
            return outcome

    async def _begin(self) -> bool:
        """Announce the run. Of two nodes that both think it is theirs only one begins it: the log knows
        the key of the other's `run:started`."""
        started: RunRecord = {
            "run_id": self.id,
            "handler": self.handler,
            "by": self.chat.user.author(),
        }
        appended = await self.node.streams.append(
            self.stream_name,
            RUN_STARTED(started),
            cause=self.id,
            fence=self.fence,
            dedupe=Dedupe(f"run:{self.id}"),
        )
        return not appended.duplicate

    async def end_unstarted(self, failure: ParlourError | None = None) -> str:
        """The terminal event of a run that was stopped while it waited, or could not start: whoever
        was told its id waits for its end. Gives back the outcome."""
        outcome: Outcome = "stopped" if failure is None else "failed"
        await self._write_terminal(await self._closing_events(outcome, failure))
        return outcome

    async def _execute(self) -> tuple[Outcome, BaseException | None]:
        if self.stopping or self.interrupted:
            # That came while the run was being announced: there was no task to cancel.
            return ("stopped" if self.stopping else "interrupted"), None
        self.task = asyncio.create_task(self._guarded(), name=f"run {self.id}")
        first = asyncio.FIRST_COMPLETED
        try:
            await asyncio.wait({self.task, self._given_up}, return_when=first)
        except asyncio.CancelledError:
            # The node goes down: end the app's code first, then say how the run ended.
            await self._end_work(self.task)
            asyncio.current_task().uncancel()  # type: ignore[union-attr]
            return "interrupted", None
        if not self.task.done():
            await self._leave_behind(self.task)
            return "stopped", None
        if self.task.cancelled():
            return ("stopped" if self.stopping else "interrupted"), None
        error = self.task.exception()
        return ("failed", error) if error is not None else ("completed", None)

    def stop(self) -> None:
        """End the app's code, or never begin it; may be called again where the code swallowed that."""
        self.stopping = True
        if self.task is not None:
            self.task.cancel()

    def interrupt(self) -> None:
        """The same because the node goes away."""
        self.interrupted = True
        if self.task is not None:
            self.task.cancel()

    def give_up(self) -> None:
        """The app's code swallows every cancellation: the conversation goes on without it."""
        if not self._given_up.done():
            self._given_up.set_result(None)

    async def _end_work(self, task: asyncio.Task[None]) -> None:
        for _ in range(STOP_ATTEMPTS):
            task.cancel()
            done, _ = await asyncio.wait({task}, timeout=1.0)
            if done:
                return
        await self._leave_behind(task)

    async def _leave_behind(self, task: asyncio.Task[None]) -> None:
        """Keep what was said until now; whatever the code says from here on is refused."""
        log.error("a handler does not end; going on without it", handler=self.handler)
        self._silent = True
        for writer in self._streams.values():
            await writer.settle()
        task.add_done_callback(_note_late_end)

    async def _guarded(self) -> None:
        try:
            await self._work(self)
        finally:
            for writer in self._streams.values():
                await writer.settle()

    async def _closing_events(
        self, outcome: Outcome, failure: BaseException | None
    ) -> list[NewData]:
        """A failed run shows a message that carries a reference, never a trace."""
        ended: RunEnd = {"run_id": self.id, "outcome": outcome}
        events: list[NewData] = []
        if failure is not None:
            reference = self.node.new_id()[:12]
            log.error("handler failed", handler=self.handler, reference=reference, exc_info=failure)
            error = self.node.describe_failure(failure, reference)
            ended["error"] = error
            shown: MessageFields = {
                "id": self.node.new_id(),
                "role": "error",
                "author": None,
                "content": error["message"],
                "created_at": self.node.clock.now_ms(),
                "run_id": self.id,
                "data": {"code": error["code"], "reference": reference},
            }
            events.append(MESSAGE(shown))
        events.append(RUN_ENDED(ended))
        return events

    async def _write_terminal(self, events: list[NewData]) -> None:
        delay = 0.1
        for attempt in range(TERMINAL_ATTEMPTS):
            try:
                await self._append(*events)
                await self.save_values()
                return
            except LeaseLost:
                log.warning("run was taken over", run=self.id)
                return
            except Unavailable as error:
                log.warning(
                    "terminal event delayed", run=self.id, attempt=attempt, error=str(error)
                )
                await asyncio.sleep(delay)
                delay = min(delay * 2, 2.0)
        log.error("terminal event left to the sweeper", run=self.id)


def _note_late_end(task: asyncio.Task[None]) -> None:
    """What a run that was given up ends with, if it ever does."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("a handler that was given up has ended", error=repr(error))


class ThreadQueue:
    """The runs of one conversation on this node, executed one after the other."""

    def __init__(self) -> None:
        self.waiting: deque[Run] = deque()
        self.current: Run | None = None
        self.task: asyncio.Task[None] | None = None


class Runs:
    """All runs of this node."""

    def __init__(self, node: Node, limit: int, ttl_ms: int) -> None:
        self._node = node
        self._ttl_ms = ttl_ms
        self._limit = limit
        self._queues: dict[str, ThreadQueue] = {}
        self._held: dict[str, Lease] = {}
        self._doubtful: set[str] = set()
        """Conversations in which a run waits, here unknown, perhaps on a node that died."""
        self.draining = False

    def start(
        self,
        chat: Chat,
        handler: str,
        work: Work,
        *,
        cause: str | None = None,
        run_id: str | None = None,
    ) -> Run:
        """Queue a run. Raises `RateLimited` when the conversation's queue is full, `ShuttingDown` while draining."""
        self.check_capacity(chat.thread_id)
        queue = self._queues.get(chat.thread_id)
        if queue is None:
            queue = self._queues[chat.thread_id] = ThreadQueue()
            work_off = self._drain(chat.thread_id, queue)
            queue.task = self._node.tasks.spawn(work_off, f"runs of {chat.thread_id}")
        run = Run(self._node, chat, handler, work, cause, run_id)
        queue.waiting.append(run)
        return run

    def check_capacity(self, thread_id: str) -> None:
        """Raises what `start` would raise; asked before a command is stored."""
        if self.draining:
            raise ShuttingDown()
        queue = self._queues.get(thread_id)
        if queue is not None and len(queue.waiting) >= self._limit:
            raise RateLimited("Too many messages wait for an answer in this conversation.")

    def active(self, thread_id: str) -> list[Run]:
        """The running and waiting runs, in order."""
        queue = self._queues.get(thread_id)
        if queue is None:
            return []
        return [run for run in (queue.current, *queue.waiting) if run is not None]

    async def stop(self, thread_id: str) -> list[str]:
        """End every run of a conversation on this node, running or waiting, and wait until they have ended."""
        runs = self.active(thread_id)
        for run in runs:
            run.stop()
        ended = [run.ended for run in runs]
        for _ in range(STOP_ATTEMPTS):
            pending = [future for future in ended if not future.done()]
            if not pending:
                break
            await asyncio.wait(pending, timeout=1.0)
            for run in runs:
                # A handler that swallowed the cancellation is asked again.
                if not run.ended.done():
                    run.stop()
        pending = [future for future in ended if not future.done()]
        if pending:
            for run in runs:
                run.give_up()
            await asyncio.wait(pending, timeout=1.0)
        return [run.id for run in runs if run.ended.done()]

    async def stop_elsewhere(self, thread_id: str, run_ids: Sequence[str]) -> list[str]:
        """Ask the node that holds the conversation to stop; where nobody does, the runs are dead and get their
        terminal event here. Waits at most `STOP_ATTEMPTS` seconds."""
        holder = await self._node.leases.holder(f"run:{thread_id}")
        if holder is None:
            await self._node.sweeper.interrupt_thread(thread_id, None)
        elif holder.owner != self._node.id:
            message = {"type": "stop", "from": self._node.id, "thread_id": thread_id}
            await self._node.bus.publish(f"node:{holder.owner}", orjson.dumps(message))
        for _ in range(STOP_ATTEMPTS):
            state = await self._node.state_of(f"thread:{thread_id}")
            if not any(run_id in state.runs for run_id in run_ids):
                break
            await self._wait_for_end(thread_id)
        state = await self._node.state_of(f"thread:{thread_id}")
        return [run_id for run_id in run_ids if run_id not in state.runs]

    async def finish(self, deadline: float) -> None:
        """Shutdown: let running answers finish until `deadline` seconds from now, then interrupt them. What
        is not announced yet is left to another node, as what waits is."""
        self.draining = True
        running = [q.current.ended for q in self._queues.values() if q.current is not None]
        if running:
            await asyncio.wait(running, timeout=deadline)
        for queue in list(self._queues.values()):
            for run in (queue.current, *queue.waiting):
                if run is not None:
                    run.interrupt()
        # The queues end after their last run, when they have given back their leases.
        rest = [queue.task for queue in self._queues.values() if queue.task is not None]
        if rest:
            await asyncio.wait(rest, timeout=deadline + 1)

    async def renew(self) -> None:
        """Extend every lease that is held; a lost one ends its run without a word (the new owner speaks)."""
        for thread_id, lease in list(self._held.items()):
            try:
                renewed = await self._node.leases.renew(lease, self._ttl_ms)
                if thread_id in self._held:
                    self._held[thread_id] = renewed
            except LeaseLost:
                log.warning("conversation was taken over", thread=thread_id)
                self._held.pop(thread_id, None)
                for run in self.active(thread_id):
                    if run.task is not None:
                        run.task.cancel()
            except Unavailable as error:
                log.warning("lease not renewed", thread=thread_id, error=str(error))

    async def _drain(self, thread_id: str, queue: ThreadQueue) -> None:
        lease: Lease | None = None
        try:
            while queue.waiting and not self.draining:
                run = queue.waiting.popleft()
                queue.current = run
                outcome = "interrupted"
                try:
                    if lease is None or self._held.get(thread_id) is None:
                        lease = await self._take(thread_id)
                        await self._end_left_behind(thread_id, lease)
                    if self.draining:
                        queue.waiting.appendleft(run)
                        break
                    run.fence = lease.generation
                    outcome = await self._perform(run)
                finally:
                    queue.current = None
                    self._node.metrics.runs.labels(run.handler, outcome).inc()
                    if not run.ended.done():
                        run.ended.set_result(outcome)
        finally:
            # No await between the last look at the queue and this: `start` sees either both or none.
            self._queues.pop(thread_id, None)
            for run in queue.waiting:
                if not run.ended.done():
                    run.ended.set_result("interrupted")
            held = self._held.pop(thread_id, None)
            if held is not None and not queue.waiting:
                # A lease that is left while runs wait runs out, and another node begins them.
                await self._give_back(held)

    async def _perform(self, run: Run) -> str:
        try:
            if run.stopping:
                return await run.end_unstarted()
            return await run.perform()
        except ParlourError as error:
            log.error("run could not start", run=run.id, error=str(error))
            return await run.end_unstarted(error)

    async def _give_back(self, lease: Lease) -> None:
        try:
            await self._node.leases.release(lease)
        except Unavailable as error:
            log.warning("lease not released", lease=lease.name, error=str(error))

    async def _take(self, thread_id: str) -> Lease:
        """The conversation's lease; waits for its present holder to end."""
        name = f"run:{thread_id}"
        delay = 0.1
        while True:
            try:
                lease = await self._node.leases.acquire(name, self._node.id, self._ttl_ms)
                if lease is not None:
                    self._held[thread_id] = lease
                    return lease
                await self._wait_for_end(thread_id)
            except (Unavailable, PositionLost) as error:
                # The person's message is stored and waits: so does its run, until the stores are back.
                log.warning("run waits for the stores", thread=thread_id, error=str(error))
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)

    async def _end_left_behind(self, thread_id: str, lease: Lease) -> None:
        """A node that died left the conversation with a run that had begun. The sweepers look at leases that
        ran out; this one is held again, so whoever took it ends that run. What only waited there may as well
        wait on a node that lives, which shows after a while."""
        if self._node.settings.embedded:
            # Nobody else was there, and what a former life left was ended at the start.
            return
        try:
            if not await self._others(thread_id, newest=False):
                return
            for run_id, run in (await self._others(thread_id, newest=True)).items():
                if run.get("queued"):
                    self._look_again(thread_id)
                else:
                    await self._node.sweeper.interrupt_run(thread_id, run_id, run, lease.generation)
        except (Unavailable, LeaseLost, PositionLost) as error:
            log.warning("what was left behind is not ended", thread=thread_id, error=str(error))

    async def _others(self, thread_id: str, *, newest: bool) -> dict[str, Any]:
        """The conversation's runs that are not this node's; `newest`: asked of the log, and not only of
        what was heard here, which may not tell of an end some milliseconds ago."""
        stream = f"thread:{thread_id}"
        if newest:
            runs = (await self._node.state_of(stream)).runs
        else:
            feed = await self._node.feeds.acquire(stream)
            runs = feed.state.runs
            self._node.feeds.release(feed)
        mine = {run.id for run in self.active(thread_id)}
        return {run_id: run for run_id, run in runs.items() if run_id not in mine}

    def _look_again(self, thread_id: str) -> None:
        if thread_id not in self._doubtful:
            self._doubtful.add(thread_id)
            self._node.tasks.spawn(self._adopt_stranded(thread_id), f"stranded {thread_id}")

    async def _adopt_stranded(self, thread_id: str) -> None:
        """Begin what still waits after a lease's time, where nobody holds the conversation."""
        try:
            await asyncio.sleep(self._ttl_ms / 1000)
            if await self._others(thread_id, newest=True):
                await self._node.sweeper.adopt(thread_id)
        except (Unavailable, PositionLost) as error:
            log.warning("what waits is left for later", thread=thread_id, error=str(error))
        finally:
            self._doubtful.discard(thread_id)

    async def _wait_for_end(self, thread_id: str) -> None:
        """Until a run of this conversation ends anywhere, or for a moment (its node may have died)."""
        ended = asyncio.Event()

        def hear(item: Batch | Lost) -> None:
            if isinstance(item, Lost) or any(event.type == "run:ended" for event in item.events):
                ended.set()

        feed = await self._node.feeds.acquire(f"thread:{thread_id}")
        feed.watch(hear)
        try:
            async with asyncio.timeout(1.0):
                await ended.wait()
        except TimeoutError:
            pass
        finally:
            feed.unwatch(hear)
            self._node.feeds.release(feed)
