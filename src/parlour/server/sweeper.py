"""The sweeper: ends what nobody ends any more. Every duty is safe to run on all nodes at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from parlour.core.thread import ThreadState
from parlour.errors import LeaseLost, ParlourError, PositionLost
from parlour.ports import Lease
from parlour.server.connections import Caller
from parlour.wire.told import RUN_ENDED

if TYPE_CHECKING:
    from parlour.server.node import Node

log = structlog.get_logger(__name__)

SWEPT_AT_ONCE = 200

RECEIPTS_KEPT_MS = 24 * 3600 * 1000
"""How long the same command id gives the same answer."""


@dataclass(slots=True)
class Duty:
    """Something to do every `period` seconds, never at once with others of its lane."""

    name: str
    period: float
    work: Callable[[], Awaitable[object]]
    lane: str = "node"
    due: float = 0.0


class Sweeper:
    """Runs the node's periodic duties: those of one lane one after the other, the lanes side by side, so that
    what takes long (taking over from a node that died) delays nobody's lease. A failed duty is logged and
    tried again."""

    def __init__(self, node: Node) -> None:
        self._node = node
        session_period = min(60.0, node.settings.session_timeout_seconds / 4)
        self._duties = [
            Duty("token expiry", 1.0, self._expire_tokens),
            Duty("revocations", 1.0, self._catch_up_revocations),
            Duty("lease renewal", node.lease_ms / 1000 / 3, node.runs.renew, "leases"),
            Duty("activity", 10.0, node.activity.flush),
            Duty("idle feeds", 15.0, node.feeds.evict),
            Duty("announcements", 1.0, node.announcer.catch_up),
            Duty("receipts", 600.0, self._forget_receipts),
            Duty("dead runs", node.lease_ms / 1000 / 5, self.interrupt_dead_runs, "runs"),
            Duty("sessions", session_period, self.end_sessions, "sessions"),
        ]

    def add(
        self, name: str, period: float, work: Callable[[], Awaitable[object]], lane: str
    ) -> None:
        """Have something done every `period` seconds, from the start of the node on."""
        self._duties.append(Duty(name, period, work, lane))

    async def run(self) -> None:
        """Work until cancelled."""
        lanes: dict[str, list[Duty]] = {}
        for duty in self._duties:
            lanes.setdefault(duty.lane, []).append(duty)
        async with asyncio.TaskGroup() as tasks:
            for name, duties in lanes.items():
                tasks.create_task(self._go_round(duties), name=f"sweeper: {name}")

    async def _go_round(self, duties: list[Duty]) -> None:
        clock = self._node.clock
        while True:
            for duty in duties:
                if duty.due <= clock.monotonic():
                    await self._do(duty)
                    duty.due = clock.monotonic() + duty.period
            soonest = min(duty.due for duty in duties)
            await asyncio.sleep(max(0.05, soonest - clock.monotonic()))

    async def _do(self, duty: Duty) -> None:
        try:
            await duty.work()
        except ParlourError as error:
            log.warning("duty failed", duty=duty.name, error=str(error))
        except Exception:
            log.exception("duty failed", duty=duty.name)
            self._node.metrics.unexpected_errors.labels(f"sweeper: {duty.name}").inc()

    async def _expire_tokens(self) -> None:
        self._node.gateway.expire(self._node.clock.now_ms())

    async def _catch_up_revocations(self) -> None:
        """Close the connections of users who were locked out behind this node's back."""
        for revocation in await self._node.accounts.catch_up():
            self._node.gateway.revoked(revocation)

    async def _forget_receipts(self) -> None:
        await self._node.announcements.forget_receipts(self._node.clock.now_ms() - RECEIPTS_KEPT_MS)

    # -- runs ------------------------------------------------------------------------------------

    async def interrupt_dead_runs(self, *, owner: str | None = None) -> int:
        """Give every run whose node died its terminal event; what it produced is kept. `owner` adds the
        leases that a former life of this very node left. Gives back how many runs were ended."""
        ended = 0
        if self._node.runs.draining:
            # What waits here was not stranded: the next node begins it.
            return 0
        for lease in await self._node.leases.abandoned("run:", SWEPT_AT_ONCE, owner=owner):
            ended += await self._interrupt(lease)
        return ended

    async def _interrupt(self, left: Lease) -> int:
        node = self._node
        thread_id = left.name.partition(":")[2]
        if node.runs.active(thread_id):
            return 0
        if left.expires_at > node.clock.now_ms():
            await node.leases.release(left)
        return await self.adopt(thread_id)

    async def adopt(self, thread_id: str) -> int:
        """End what began in a conversation that nobody holds, and queue here what only waits in it. Gives back
        how many runs that were; none where somebody holds it."""
        node = self._node
        # A new owner name means a new generation, which shuts out whoever held it before.
        owner = f"{node.id}/sweeper"
        lease = await node.leases.acquire(f"run:{thread_id}", owner, node.lease_ms)
        if lease is None:
            return 0
        try:
            ended = await self.interrupt_thread(thread_id, lease.generation)
        except (LeaseLost, PositionLost) as error:
            # Not released: it runs out, is found again, and then somebody tries again.
            log.info("dead runs are left for later", thread=thread_id, error=str(error))
            return 0
        if not node.runs.draining:
            # Otherwise something may wait still: the lease runs out, and the next node finds it.
            await node.leases.release(lease)
        return ended

    async def interrupt_thread(self, thread_id: str, fence: int | None) -> int:
        """End every run of one conversation that began and has no owner any more; what only waited is
        queued again, here."""
        node = self._node
        stream = f"thread:{thread_id}"
        state = await node.state_of(stream)
        for run_id, run in list(state.runs.items()):
            if run.get("queued") and node.runs.draining:
                # This node is going away: what only waited is begun by the next one.
                continue
            if run.get("queued") and await self._queue_again(thread_id, run, state):
                continue
            await self.interrupt_run(thread_id, run_id, run, fence)
        return len(state.runs)

    async def interrupt_run(
        self, thread_id: str, run_id: str, run: Mapping[str, Any], fence: int | None
    ) -> None:
        """The terminal event of a run whose node died."""
        log.warning("run interrupted", thread=thread_id, run=run_id, handler=run.get("handler"))
        await self._node.streams.append(
            f"thread:{thread_id}",
            RUN_ENDED({"run_id": run_id, "outcome": "interrupted"}),
            source="system",
            cause=run_id,
            fence=fence,
        )

    async def _queue_again(
        self, thread_id: str, run: Mapping[str, Any], state: ThreadState
    ) -> bool:
        """Start a person's message's run that its node did not come to. False where that cannot be: then
        the run ends as interrupted."""
        node = self._node
        message = state.messages.get(run.get("message_id", ""))
        user = await node.user(((message or {}).get("author") or {}).get("id", ""))
        if message is None or user is None:
            return False
        caller = Caller(user, run.get("session_id"))
        chat = await node.chats.open(caller, thread_id)
        log.warning("run queued again", thread=thread_id, run=run["run_id"])
        node.runs.start(
            chat,
            run["handler"],
            lambda started: node.app.message(started, message),
            cause=message.get("command_id"),
            run_id=run["run_id"],
        )
        return True

    # -- sessions --------------------------------------------------------------------------------

    async def end_sessions(self) -> int:
        """End the sessions whose time limit is over and that nobody is connected to."""
        node = self._node
        self._keep_connected_sessions()
        await node.activity.flush()
        limit = node.clock.now_ms() - node.settings.session_timeout_seconds * 1000
        ended = 0
        for record in await node.sessions.expired(limit, SWEPT_AT_ONCE):
            if node.hub.occupied(f"session:{record.id}"):
                await node.sessions.touch(record.id, node.clock.now_ms())
            elif not any(node.runs.active(chat.thread_id) for chat in node.chats.known(record.id)):
                ended += await node.chats.end(record)
        return ended

    def _keep_connected_sessions(self) -> None:
        """A connected session does not end, whether or not its client sends heartbeats."""
        now = self._node.clock.now_ms()
        stale = now - self._node.settings.session_timeout_seconds * 1000 // 3
        for connection in self._node.hub.connections():
            if connection.session.last_seen < stale:
                connection.session.last_seen = now
                self._node.activity.seen(connection.session)
