"""Who owns which agent session: leases, taking over, putting aside, handing over.

A session is owned under the lease `agent:{id}`; the lease's generation fences every append, so a node that stood
still and comes back can write nothing. Whoever sends something wakes the session: where nobody owns it, the node
that took the command does. A dead node's leases run out and are found by the others; a node that is told to stop lets
its leases run out at once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from parlour.agents.agent_session import AgentSession
from parlour.agents.session_settings import InForce
from parlour.agents.stream import stream_name
from parlour.agents.web_session import WebSession
from parlour.core.agent_state import Rest, SessionState, next_step
from parlour.core.agents import ACTIVE, TERMINAL, AgentState
from parlour.errors import LeaseLost, NotFound, ParlourError, PositionLost, Unavailable
from parlour.ports import Lease

if TYPE_CHECKING:
    from parlour.agents.service import Agents

log = structlog.get_logger(__name__)

AT_ONCE: Final = 200
"""Sessions that are looked at in one pass of a duty."""

TOGETHER: Final = 16
"""Sessions that are set up, renewed or handed over at the same time."""

RENEWED_TOGETHER: Final = 64

EMBEDDED_TIMES: Final = 30
"""On a store that one process owns nobody waits for a lease to run out (what a former life of the process held is taken
back at the start), and renewing hundreds of them would keep the disk busy: they last this much longer."""

HAND_OVER_SHARE: Final = 0.5
"""Of the time for ending runs at shutdown: how long an action may go on before it is cancelled."""


class Ownership:
    """The sessions that this node owns (`live`), and how they come and go."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents
        self._node = node = agents.node
        self.live: dict[str, WebSession] = {}
        self._opening: dict[str, asyncio.Task[bool]] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._limit = asyncio.Semaphore(TOGETHER)
        self._renewing = asyncio.Semaphore(RENEWED_TOGETHER)
        alone = EMBEDDED_TIMES if node.settings.embedded else 1
        self._lease_ms = node.lease_ms * alone
        self._stopping = False
        node.sweeper.add("abandoned agents", node.lease_ms / 1000 / 5, self.adopt, "agents")
        node.sweeper.add("ownerless agents", node.lease_ms / 1000, self.search, "agents")
        node.sweeper.add("idle agents", 5.0, self.put_idle_aside, "agents")
        node.metrics.observe("agent_sessions", "Agent sessions owned here", lambda: len(self.live))
        node.metrics.observe(
            "agent_sessions_running", "Agent sessions at work here", lambda: len(self._running())
        )
        node.metrics.observe(
            "agent_events_queued", "Events of agents that wait to be written", self._queued
        )

    @property
    def stopping(self) -> bool:
        """The node goes away: nothing is begun here any more."""
        return self._stopping

    # -- life of the node ------------------------------------------------------------------------

    async def start(self) -> None:
        """Sessions that a former life of this node left at work go on."""
        former = await self._take_back() if self._node.settings.embedded else []
        self._node.tasks.spawn(self._resume(former), "agents that were at work")
        self._node.tasks.spawn(self._keep_leases(), "agents' leases")

    async def _take_back(self) -> list[Lease]:
        """The leases of this process's former life: nobody else can hold one."""
        former: list[Lease] = []
        while found := await self._node.leases.abandoned("agent:", AT_ONCE, owner=self._node.id):
            for lease in found:
                await self._node.leases.release(lease)
            former += found
        return former

    async def _resume(self, former: list[Lease]) -> None:
        await asyncio.gather(*(self._adopt(lease) for lease in former))
        await self.search()

    async def stop(self) -> None:
        """Hand every session over: what runs may end, or is cancelled; others take over at once."""
        self._stopping = True
        patience = self._node.settings.shutdown_runs_seconds * HAND_OVER_SHARE
        for task in self._opening.values():
            task.cancel()
        await asyncio.gather(*(self.leave(web, patience) for web in list(self.live.values())))

    # -- owning ----------------------------------------------------------------------------------

    async def awake(self, session_id: str) -> None:
        """Somebody has to own the session: this node, unless another one does."""
        await self._claim(session_id, None, "command")

    async def own(self, web: WebSession, force: InForce) -> None:
        """As `awake`, with a session that was just begun here and its settings, secrets among them. Only now others
        may look after it."""
        await self._claim(web.sid, (web, force), "start")

    async def _claim(
        self, session_id: str, begun: tuple[WebSession, InForce] | None, cause: str
    ) -> bool:
        """Take a session over if nobody owns it; whether this node owns it then. Single flight."""
        task = self._opening.get(session_id)
        if task is None and session_id in self.live and session_id not in self._leaving:
            return True
        if task is None:
            work = self._open(session_id, begun, cause)
            task = self._node.tasks.spawn(work, f"open agent {session_id}")
            self._opening[session_id] = task
            task.add_done_callback(lambda done: self._opening.pop(session_id, None))
        # Whoever asked may go away; the session is set up all the same.
        return await asyncio.shield(task)

    async def _open(
        self, session_id: str, begun: tuple[WebSession, InForce] | None, cause: str
    ) -> bool:
        leaving = self._leaving.get(session_id)
        if leaving is not None:
            # It would be the same lease: one of them has to be gone before the next one begins.
            await asyncio.wait({leaving})
        async with self._limit:
            if self._stopping or session_id in self.live:
                return session_id in self.live
            began = self._node.clock.monotonic()
            lease = await self._node.leases.acquire(
                f"agent:{session_id}", self._node.id, self._lease_ms
            )
            if lease is None:
                return False
            try:
                await self._make_room()
                web, force = begun or await self._found(session_id)
                session = web.attach(self._agents.equipment(), force)
                session.hold(lease, began + self._lease_ms / 1000)
                web.on_lost = self._lost
                self.live[session_id] = web
                await session.start()
                await self._note_owned(session_id, session)
            except BaseException:
                self.live.pop(session_id, None)
                await self._let_go(lease, wanted=False)
                raise
            log.info(
                "agent session owned",
                agent_session=session_id,
                cause=cause,
                generation=lease.generation,
            )
            self._node.metrics.agent_takeovers.labels(cause).inc()
            return True

    async def _note_owned(self, session_id: str, session: AgentSession) -> None:
        """Whether somebody has to look after the session. What a former owner did not come to say is put right."""
        active = session.state.state in ACTIVE
        try:
            await self._node.agents.update_agent(
                session_id, state=str(session.state.state), active=active
            )
        except (Unavailable, NotFound) as error:
            log.warning("an owner was not noted", agent_session=session_id, error=str(error))

    async def _found(self, session_id: str) -> tuple[WebSession, InForce]:
        record = await self._agents.record(session_id)
        web = WebSession(session_id, sio=self._agents, user_id=record.user_id)
        return web, InForce.from_json(record.settings)

    async def _make_room(self) -> None:
        """Where there are as many sessions as there may be, one that waits and that nobody watches goes aside; one
        that is at work or watched never does. Raises `Unavailable` where there is none."""
        while len(self.live) >= self._node.settings.agent_sessions_limit:
            resting = sorted(self._resting(), key=lambda web: web.idle_since)
            for web in resting:
                if not await self._watched(web.sid):
                    await self.leave(web)
                    break
            else:
                raise Unavailable("As many agents are at work here as there may be; try again.")

    # -- letting go ------------------------------------------------------------------------------

    def _running(self) -> list[WebSession]:
        return [web for web in self.live.values() if not _rests(web)]

    def _resting(self) -> list[WebSession]:
        return [web for web in self.live.values() if _rests(web)]

    def _queued(self) -> int:
        sessions = (web.agent_session for web in self.live.values())
        return sum(one.event_stream.queued for one in sessions if one is not None)

    async def _watched(self, session_id: str) -> bool:
        """Whether anybody looks at the session, on any node; where that is not known, somebody does."""
        room = stream_name(session_id)
        if self._node.hub.occupied(room):
            return True
        try:
            return bool(await self._node.pool.nodes_of(room))
        except Unavailable:
            return True

    async def leave(self, web: WebSession, patience: float = 0.0) -> None:
        """Close a session here and give its lease up; what runs may end within `patience` seconds. Until that is
        done the lease is renewed, and nobody begins the session anew. Idempotent."""
        task = self._leaving.get(web.sid)
        if task is None:
            if self.live.get(web.sid) is not web:
                return
            task = self._node.tasks.spawn(self._leave(web, patience), f"close agent {web.sid}")
            self._leaving[web.sid] = task
            task.add_done_callback(lambda done: self._leaving.pop(web.sid, None))
        await asyncio.shield(task)

    async def _leave(self, web: WebSession, patience: float) -> None:
        session = web.agent_session
        try:
            if session is not None:
                await session.close(patience)
        finally:
            self.live.pop(web.sid, None)
        if session is not None and session.lease is not None:
            now = self._node.clock.now_ms()
            wanted = _goes_on(session.state, session.settings, now)
            await self._let_go(session.lease, wanted=wanted)

    async def _let_go(self, lease: Lease, *, wanted: bool) -> None:
        """Give a lease up. One that somebody has to take runs out instead: that is how it is found."""
        try:
            if wanted:
                await self._node.leases.renew(lease, 1)
            else:
                await self._node.leases.release(lease)
        except (Unavailable, LeaseLost) as error:
            log.warning("a lease was not given up", lease=lease.name, error=str(error))

    async def put_idle_aside(self) -> None:
        """A duty: sessions that wait for long and that nobody watches."""
        limit = self._node.clock.monotonic() - self._node.settings.agent_idle_seconds
        for web in self._resting():
            if web.idle_since < limit and not await self._watched(web.sid):
                await self.leave(web)

    def _lost(self, web: WebSession, error: Exception) -> None:
        """The stream can no longer be written by this owner."""
        if self.live.get(web.sid) is web:
            self._node.tasks.spawn(self._drop(web, error), f"drop agent {web.sid}")

    async def _drop(self, web: WebSession, error: Exception) -> None:
        """Go down without another word; somebody else speaks, or this node sets the session up anew."""
        session = web.agent_session
        if self.live.get(web.sid) is not web or session is None or web.sid in self._leaving:
            return
        log.warning("agent session lost", agent_session=web.sid, error=str(error))
        session.valid_until = 0.0
        await self.leave(web)
        if await self._wanted(web.sid):
            await self._claim_quietly(web.sid, "lost")

    # -- duties ----------------------------------------------------------------------------------

    async def _keep_leases(self) -> None:
        """Renew for ever; on its own, since no other duty may make it late."""
        while True:
            await asyncio.sleep(self._lease_ms / 1000 / 3)
            await self.renew()

    async def renew(self) -> None:
        """Extend every lease. What was lost is dropped."""
        await asyncio.gather(*(self._renew(web) for web in list(self.live.values())))

    async def _renew(self, web: WebSession) -> None:
        session = web.agent_session
        if session is None or session.lease is None:
            return
        async with self._renewing:
            began = self._node.clock.monotonic()
            try:
                lease = await self._node.leases.renew(session.lease, self._lease_ms)
                session.hold(lease, began + self._lease_ms / 1000)
            except LeaseLost as error:
                self._lost(web, error)
            except Unavailable as error:
                log.warning("lease not renewed", agent_session=web.sid, error=str(error))

    async def adopt(self) -> None:
        """Take over the sessions whose node died, or let them go."""
        if self._stopping:
            return
        left = await self._node.leases.abandoned("agent:", AT_ONCE)
        await asyncio.gather(*(self._adopt(lease) for lease in left))

    async def _adopt(self, lease: Lease) -> None:
        session_id = lease.name.partition(":")[2]
        if session_id in self.live:
            return
        if await self._wanted(session_id):
            await self._claim_quietly(session_id, "abandoned")
        else:
            await self._forget(session_id)

    async def _wanted(self, session_id: str) -> bool:
        """Whether the session has to be owned: its agent goes on by itself, or somebody said something that nobody has
        decided on. One that only waits is opened when somebody sends something."""
        try:
            record = await self._node.agents.agent(session_id)
            if record is None:
                return False
            state, _ = await self._agents.folded(session_id)
        except (Unavailable, PositionLost) as error:
            log.warning("a session was not looked at", agent_session=session_id, error=str(error))
            return True
        return _goes_on(state, InForce.from_json(record.settings), self._node.clock.now_ms())

    async def search(self) -> None:
        """Own sessions that should go on by themselves and that nobody owns: a store that came back without its leases
        left them so."""
        after = ""
        while not self._stopping:
            ids = await self._node.agents.active_agents(after=after, limit=AT_ONCE)
            for session_id in ids:
                await self._look_after(session_id)
            if len(ids) < AT_ONCE:
                return
            after = ids[-1]

    async def _look_after(self, session_id: str) -> None:
        if session_id in self.live:
            return
        if await self._node.leases.holder(f"agent:{session_id}") is None:
            await self._claim_quietly(session_id, "ownerless")

    async def _claim_quietly(self, session_id: str, cause: str) -> None:
        try:
            await self._claim(session_id, None, cause)
        except NotFound:
            await self._forget(session_id)
        except ParlourError as error:
            log.warning(
                "an agent session was not taken over", agent_session=session_id, error=str(error)
            )
        except Exception as error:
            # One session that cannot be set up must not keep the others from being taken over.
            log.exception(
                "an agent session was not taken over", agent_session=session_id, error=str(error)
            )
            self._node.metrics.unexpected_errors.labels("agent take-over").inc()

    async def _forget(self, session_id: str) -> None:
        """The lease of a session that nobody has to own; or of one that was deleted."""
        lease = await self._node.leases.acquire(
            f"agent:{session_id}", self._node.id, self._lease_ms
        )
        if lease is not None:
            await self._node.leases.release(lease)


def _goes_on(state: SessionState, force: InForce, now: int) -> bool:
    """Whether an owner would have something to do."""
    step = next_step(state, now=now, limits=force.limits, policy=force.input_policy, mine=None)
    return not isinstance(step, Rest)


def _rests(web: WebSession) -> bool:
    """Whether nothing goes on and nothing waits to be written."""
    session = web.agent_session
    if session is None:
        return False
    state = session.state
    busy = session.controller is None or session.controller.busy or session.event_stream.queued
    idle = state.state in TERMINAL | {
        AgentState.AWAITING_USER_INPUT,
        AgentState.PAUSED,
        AgentState.AWAITING_USER_CONFIRMATION,
    }
    return bool(idle and not busy and not state.inputs and not state.requests)
