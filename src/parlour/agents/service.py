"""The agent sessions of a node: who owns which, and what becomes of them when a node goes away.

A session is owned under the lease `agent:{id}`; the lease's generation fences every append, so a node that stood
still and comes back can write nothing. Whoever sends something wakes the session: where nobody owns it, the node
that took the command does. A dead node's leases run out and are found by the others; a node that is told to stop lets
its leases run out at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import structlog

from parlour.agents.agent_session import AgentSession, Equipment
from parlour.agents.events import StatusObservation
from parlour.agents.hands import Hands
from parlour.agents.kinds import Agent, ToolAgent
from parlour.agents.ports import FileStore, Memory, Model, Registry, Runtime, RuntimeFactory
from parlour.agents.secrets import Secrets
from parlour.agents.session_settings import InForce
from parlour.agents.stream import EventStream, stream_name
from parlour.agents.web_session import WebSession
from parlour.core.access import Facts, Kind
from parlour.core.agent_state import Rest, SessionState, fold, next_step
from parlour.core.agents import ACTIVE, MEMBER_REMOVED, TERMINAL, AgentState, InputPolicy, Role
from parlour.core.streams import Dedupe, Position
from parlour.core.users import User
from parlour.errors import (
    Conflict,
    LeaseLost,
    NotFound,
    ParlourError,
    PositionLost,
    ShuttingDown,
    Unavailable,
)
from parlour.ports import AgentRecord, Lease
from parlour.server.router import Routes

if TYPE_CHECKING:
    from parlour.server.node import Node

log = structlog.get_logger(__name__)

AT_ONCE: Final = 200
"""Sessions that are looked at in one pass of a duty."""

TOGETHER: Final = 16
"""Sessions that are set up, renewed or handed over at the same time."""

READ: Final = 500

LISTED: Final = 500
"""Sessions that each node tells administrators of."""

HAND_OVER_SHARE: Final = 0.5
"""Of the time for ending runs at shutdown: how long an action may go on before it is cancelled."""


class Agents:
    """`node.part(Agents)`: starts, finds, owns and hands over agent sessions.

    `agents` are the kinds of agents by name; authors add theirs. `llm_registry`, `runtimes`, `memory` and `file_store`
    may be replaced before the first session begins.
    """

    def __init__(
        self,
        node: Node,
        *,
        llm_registry: Registry,
        runtimes: RuntimeFactory,
        memory: Memory,
        file_store: FileStore | None = None,
        tables: Sequence[Routes] = (),
    ) -> None:
        self.node = node
        self.llm_registry = llm_registry
        self.runtimes = runtimes
        self.memory = memory
        self.file_store = file_store
        self.agents: dict[str, Agent] = {"coder": ToolAgent()}
        self.hands: Callable[[Runtime, float], Hands] = Hands
        self.secrets = Secrets(one.get_secret_value() for one in node.settings.agent_secrets)
        self.tables = tables
        self.closing: list[Callable[[], Awaitable[None]]] = []
        """Called when the last session has been handed over."""
        self._live: dict[str, WebSession] = {}
        self._opening: dict[str, asyncio.Task[bool]] = {}
        self._limit = asyncio.Semaphore(TOGETHER)
        self._renewing = asyncio.Semaphore(TOGETHER)
        self._stopping = False
        node.permissions.lookups[Kind.AGENT] = self._facts
        node.recovery.snapshots["agent"] = self._snapshot
        node.sweeper.add("abandoned agents", node.lease_ms / 1000 / 5, self.adopt)
        node.sweeper.add("ownerless agents", node.lease_ms / 1000, self.search)
        node.sweeper.add("idle agents", 5.0, self.put_idle_aside)
        node.peers.on("agents:files", self._files_for)
        node.peers.on("agents:deleted", self._deleted)
        node.peers.on("agents:here", lambda sender, body: self.here())
        node.metrics.observe("agent_sessions", "Agent sessions owned here", lambda: len(self._live))
        node.metrics.observe(
            "agent_sessions_running", "Agent sessions at work here", lambda: len(self._running())
        )
        node.metrics.observe(
            "agent_events_queued", "Events of agents that wait to be written", self._queued
        )

    # -- life of the part ------------------------------------------------------------------------

    async def start(self) -> None:
        """Sessions that a former life of this node left at work go on."""
        if self.node.settings.embedded:
            for lease in await self.node.leases.abandoned("agent:", AT_ONCE, owner=self.node.id):
                await self.node.leases.release(lease)
        self.node.tasks.spawn(self.search(), "agents that were at work")
        self.node.tasks.spawn(self._keep_leases(), "agents' leases")

    async def stop(self) -> None:
        """Hand every session over: what runs may end, or is cancelled; others take over at once."""
        self._stopping = True
        patience = self.node.settings.shutdown_runs_seconds * HAND_OVER_SHARE
        for task in self._opening.values():
            task.cancel()
        leaving = [self._hand_over(web, patience) for web in list(self._live.values())]
        await asyncio.gather(*leaving)
        for close in self.closing:
            await close()

    async def _hand_over(self, web: WebSession, patience: float) -> None:
        session = web.agent_session
        self._live.pop(web.sid, None)
        if session is None:
            return
        await session.close(patience)
        if session.lease is not None:
            now = self.node.clock.now_ms()
            wanted = _goes_on(session.state, session.settings, now)
            await self._let_go(session.lease, wanted=wanted)

    async def _let_go(self, lease: Lease, *, wanted: bool) -> None:
        """Give a lease up. One that somebody has to take runs out instead: that is how it is found."""
        try:
            if wanted:
                await self.node.leases.renew(lease, 1)
            else:
                await self.node.leases.release(lease)
        except (Unavailable, LeaseLost) as error:
            log.warning("a lease was not given up", lease=lease.name, error=str(error))

    # -- finding ---------------------------------------------------------------------------------

    def session(self, session_id: str, user_id: str | None = None) -> WebSession:
        """The live session of this node, or one to send through."""
        live = self._live.get(session_id)
        return live or WebSession(session_id, sio=self, user_id=user_id)

    def agent_session(self, session_id: str) -> AgentSession | None:
        """The agent's side, if this node owns it."""
        live = self._live.get(session_id)
        return None if live is None else live.agent_session

    @property
    def live(self) -> Mapping[str, WebSession]:
        """The sessions that this node owns."""
        return self._live

    async def record(self, session_id: str) -> AgentRecord:
        """Raises `NotFound`."""
        found = await self.node.agents.agent(session_id)
        if found is None:
            raise NotFound("There is no agent session with this id.")
        return found

    async def role(self, user: User, session_id: str) -> Role | None:
        """What a user may do with a session; the owner drives."""
        record = await self.record(session_id)
        if record.user_id == user.id:
            return Role.DRIVE
        given = await self.node.agents.agent_role(session_id, user.id)
        return Role(given) if given in set(Role) else None

    async def state_of(self, session_id: str) -> SessionState:
        """The present state: the owner's own, or folded here from the last checkpoint on."""
        session = self.agent_session(session_id)
        if session is not None:
            return session.state
        return (await self._folded(session_id))[0]

    async def _folded(self, session_id: str) -> tuple[SessionState, Position]:
        stream = stream_name(session_id)
        stored = await self.node.agents.checkpoint(session_id)
        head = await self.node.log.head(stream)
        state, position = SessionState(), Position(head.epoch, 0)
        if stored is not None and stored.position.epoch == head.epoch:
            state, position = SessionState.from_json(stored.state), stored.position
        while position.offset < head.offset:
            page = await self.node.log.read(stream, position, READ)
            if not page.events:
                break
            state, position = fold(state, page.events), page.position
        return state, position

    async def policy_of(self, session_id: str) -> InputPolicy:
        """The session's policy for messages that come while the agent works."""
        session = self.agent_session(session_id)
        if session is not None:
            return session.settings.input_policy
        return InForce.from_json((await self.record(session_id)).settings).input_policy

    # -- beginning and owning --------------------------------------------------------------------

    async def begin(self, web: WebSession, force: InForce, title: str) -> AgentRecord:
        """The session's row; of several at once one makes it. Raises `Forbidden`, `ShuttingDown`."""
        if self._stopping:
            raise ShuttingDown()
        assert web.user_id is not None
        now = self.node.clock.now_ms()
        wanted = AgentRecord(
            web.sid,
            web.user_id,
            title=title,
            agent=force.agent,
            settings=force.to_json(),
            created_at=now,
            updated_at=now,
        )
        record, created = await self.node.agents.create_agent(wanted)
        if created and (await self.node.log.head(stream_name(web.sid))).offset > 0:
            # Of a session that was deleted: nobody may find its events under a new owner.
            await self.node.agents.delete_agent(web.sid)
            raise Conflict("This id was used before; choose another one.")
        return record

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
        if task is None and session_id in self._live:
            return True
        if task is None:
            work = self._open(session_id, begun, cause)
            task = self.node.tasks.spawn(work, f"open agent {session_id}")
            self._opening[session_id] = task
            task.add_done_callback(lambda done: self._opening.pop(session_id, None))
        # Whoever asked may go away; the session is set up all the same.
        return await asyncio.shield(task)

    async def _open(
        self, session_id: str, begun: tuple[WebSession, InForce] | None, cause: str
    ) -> bool:
        async with self._limit:
            if self._stopping or session_id in self._live:
                return session_id in self._live
            began = self.node.clock.monotonic()
            lease = await self.node.leases.acquire(
                f"agent:{session_id}", self.node.id, self.node.lease_ms
            )
            if lease is None:
                return False
            try:
                await self._make_room()
                web, force = begun or await self._found(session_id)
                session = web.attach(self._equipment(), force)
                session.hold(lease, began + self.node.lease_ms / 1000)
                web.on_lost = self._lost
                self._live[session_id] = web
                await session.start()
                await self._note_owned(session_id, session)
            except BaseException:
                self._live.pop(session_id, None)
                await self._let_go(lease, wanted=False)
                raise
            log.info(
                "agent session owned",
                agent_session=session_id,
                cause=cause,
                generation=lease.generation,
            )
            self.node.metrics.agent_takeovers.labels(cause).inc()
            return True

    async def _note_owned(self, session_id: str, session: AgentSession) -> None:
        """Whether somebody has to look after the session. What a former owner did not come to say is put right."""
        active = session.state.state in ACTIVE
        try:
            await self.node.agents.update_agent(
                session_id, state=str(session.state.state), active=active
            )
        except (Unavailable, NotFound) as error:
            log.warning("an owner was not noted", agent_session=session_id, error=str(error))

    async def _found(self, session_id: str) -> tuple[WebSession, InForce]:
        record = await self.record(session_id)
        web = WebSession(session_id, sio=self, user_id=record.user_id)
        return web, InForce.from_json(record.settings)

    def _equipment(self) -> Equipment:
        return Equipment(self.llm_registry, self.runtimes, self.memory, self.agents, self.hands)

    def replace(
        self, agents: Mapping[str, Agent], hands: Callable[[Runtime, float], Hands]
    ) -> None:
        """Have these agents and no others, and nothing be carried out but by these hands: for rehearsals."""
        self.agents = dict(agents)
        self.hands = hands
        self.llm_registry = _NoModels()

    async def _make_room(self) -> None:
        """Where there are as many sessions as there may be, one that waits and that nobody watches goes aside; one
        that is at work or watched never does. Raises `Unavailable` where there is none."""
        while len(self._live) >= self.node.settings.agent_sessions_limit:
            resting = sorted(self._resting(), key=lambda web: web.idle_since)
            for web in resting:
                if not await self._watched(web.sid):
                    await self.put_aside(web)
                    break
            else:
                raise Unavailable("As many agents are at work here as there may be; try again.")

    # -- letting go ------------------------------------------------------------------------------

    def _running(self) -> list[WebSession]:
        return [web for web in self._live.values() if not _rests(web)]

    def _resting(self) -> list[WebSession]:
        return [web for web in self._live.values() if _rests(web)]

    def _queued(self) -> int:
        sessions = (web.agent_session for web in self._live.values())
        return sum(one.event_stream.queued for one in sessions if one is not None)

    async def _watched(self, session_id: str) -> bool:
        """Whether anybody looks at the session, on any node; where that is not known, somebody does."""
        room = stream_name(session_id)
        if self.node.hub.occupied(room):
            return True
        try:
            return bool(await self.node.pool.nodes_of(room))
        except Unavailable:
            return True

    async def put_aside(self, web: WebSession) -> None:
        """Close a session here and give its lease up. Idempotent."""
        session = web.agent_session
        if self._live.get(web.sid) is not web or session is None:
            return
        del self._live[web.sid]
        await session.close()
        if session.lease is not None:
            now = self.node.clock.now_ms()
            wanted = _goes_on(session.state, session.settings, now)
            await self._let_go(session.lease, wanted=wanted)

    async def put_idle_aside(self) -> None:
        """A duty: sessions that wait for long and that nobody watches."""
        limit = self.node.clock.monotonic() - self.node.settings.agent_idle_seconds
        for web in self._resting():
            if web.idle_since < limit and not await self._watched(web.sid):
                await self.put_aside(web)

    def _lost(self, web: WebSession, error: Exception) -> None:
        """The stream can no longer be written by this owner."""
        if self._live.get(web.sid) is web:
            self.node.tasks.spawn(self._drop(web, error), f"drop agent {web.sid}")

    async def _drop(self, web: WebSession, error: Exception) -> None:
        """Go down without another word; somebody else speaks, or this node sets the session up anew."""
        session = web.agent_session
        if self._live.get(web.sid) is not web or session is None:
            return
        log.warning("agent session lost", agent_session=web.sid, error=str(error))
        session.valid_until = 0.0
        self._live.pop(web.sid, None)
        await session.close()
        if isinstance(error, PositionLost) and session.lease is not None:
            # The history began anew under this owner's feet: read it again.
            await self._let_go(session.lease, wanted=False)
        if await self._wanted(web.sid):
            await self._claim_quietly(web.sid, "lost")

    # -- duties ----------------------------------------------------------------------------------

    async def _keep_leases(self) -> None:
        """Renew for ever; on its own, since no other duty may make it late."""
        while True:
            await asyncio.sleep(self.node.lease_ms / 1000 / 3)
            await self.renew()

    async def renew(self) -> None:
        """Extend every lease. What was lost is dropped."""
        await asyncio.gather(*(self._renew(web) for web in list(self._live.values())))

    async def _renew(self, web: WebSession) -> None:
        session = web.agent_session
        if session is None or session.lease is None:
            return
        async with self._renewing:
            began = self.node.clock.monotonic()
            try:
                lease = await self.node.leases.renew(session.lease, self.node.lease_ms)
                session.hold(lease, began + self.node.lease_ms / 1000)
            except LeaseLost as error:
                self._lost(web, error)
            except Unavailable as error:
                log.warning("lease not renewed", agent_session=web.sid, error=str(error))

    async def adopt(self) -> None:
        """Take over the sessions whose node died, or let them go."""
        if self._stopping:
            return
        left = await self.node.leases.abandoned("agent:", AT_ONCE)
        await asyncio.gather(*(self._adopt(lease) for lease in left))

    async def _adopt(self, lease: Lease) -> None:
        session_id = lease.name.partition(":")[2]
        if session_id in self._live:
            return
        if await self._wanted(session_id):
            await self._claim_quietly(session_id, "abandoned")
        else:
            await self._forget(session_id)

    async def _wanted(self, session_id: str) -> bool:
        """Whether the session has to be owned: its agent goes on by itself, or somebody said something that nobody has
        decided on. One that only waits is opened when somebody sends something."""
        try:
            record = await self.node.agents.agent(session_id)
            if record is None:
                return False
            state, _ = await self._folded(session_id)
        except (Unavailable, PositionLost) as error:
            log.warning("a session was not looked at", agent_session=session_id, error=str(error))
            return True
        return _goes_on(state, InForce.from_json(record.settings), self.node.clock.now_ms())

    async def search(self) -> None:
        """Own sessions that should go on by themselves and that nobody owns: a store that came back without its leases
        left them so."""
        after = ""
        while not self._stopping:
            ids = await self.node.agents.active_agents(after=after, limit=AT_ONCE)
            for session_id in ids:
                await self._look_after(session_id)
            if len(ids) < AT_ONCE:
                return
            after = ids[-1]

    async def _look_after(self, session_id: str) -> None:
        if session_id in self._live:
            return
        if await self.node.leases.holder(f"agent:{session_id}") is None:
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
            self.node.metrics.unexpected_errors.labels("agent take-over").inc()

    async def _forget(self, session_id: str) -> None:
        """The lease of a session that nobody has to own; or of one that was deleted."""
        lease = await self.node.leases.acquire(
            f"agent:{session_id}", self.node.id, self.node.lease_ms
        )
        if lease is not None:
            await self.node.leases.release(lease)

    # -- what others see -------------------------------------------------------------------------

    async def note_state(self, session_id: str, state: AgentState, reason: str) -> None:
        """Keep the list of sessions current and tell whoever has it open."""
        at = self.node.clock.now_ms()
        try:
            record = await self.node.agents.update_agent(
                session_id, state=str(state), active=state in ACTIVE, updated_at=at
            )
            await self._tell(record, reason)
        except (Unavailable, NotFound) as error:
            log.warning("a state was not noted", agent_session=session_id, error=str(error))

    def here(self) -> list[dict[str, Any]]:
        """The sessions that this node owns, as administrators see them."""
        rows = []
        for web in list(self._live.values())[:LISTED]:
            session = web.agent_session
            if session is None:
                continue
            state, used = session.state, web.conversation_stats
            rows.append(
                {
                    "id": web.sid,
                    "node": self.node.id,
                    "owner_id": web.user_id,
                    "phase": str(session.phase),
                    "state": str(state.state),
                    "reason": state.reason,
                    "generation": session.lease.generation if session.lease else None,
                    "events": state.offset,
                    "events_queued": session.event_stream.queued,
                    "inputs_waiting": len(state.inputs),
                    "busy": session.controller is not None and session.controller.busy,
                    "watchers": len(self.node.hub.members(stream_name(web.sid))),
                    "used": asdict(used),
                }
            )
        return rows

    async def everywhere(self) -> dict[str, Any]:
        """`{sessions, failures}` over all nodes that answer."""
        node = self.node
        others = sorted(await node.pool.nodes() - {node.id})
        answers = await asyncio.gather(
            *(node.peers.ask(other, "agents:here", {}) for other in others), return_exceptions=True
        )
        rows, failures = self.here(), {}
        for other, answer in zip(others, answers, strict=True):
            if isinstance(answer, ParlourError):
                failures[other] = answer.message
            elif isinstance(answer, BaseException):
                raise answer
            else:
                rows += answer
        return {"sessions": rows, "failures": failures}

    async def _facts(self, user: User, session_id: str) -> Facts:
        """For `core.access`; asked every time, so that a role that was taken away ends at once."""
        record = await self.node.agents.agent(session_id)
        if record is None:
            return Facts()
        role = await self.node.agents.agent_role(session_id, user.id)
        me = frozenset({user.id})
        return Facts(
            exists=True,
            owner_id=record.user_id,
            readers=me if role in set(Role) else frozenset(),
            writers=me if role in (Role.DRIVE, Role.COMMENT) else frozenset(),
        )

    async def _snapshot(self, caller: Any, stream: str) -> dict[str, Any]:
        """What somebody gets who follows without a position."""
        session_id = stream.partition(":")[2]
        record = await self.record(session_id)
        state, position = await self._folded(session_id)
        return {
            "session": describe(record),
            "state": state.to_json(),
            "latest_event_id": position.offset,
            "role": await self.role(caller.user, session_id),
        }

    # -- what people change ----------------------------------------------------------------------

    async def rename(self, session_id: str, title: str) -> AgentRecord:
        record = await self.node.agents.update_agent(session_id, title=title)
        await self._tell(record, "renamed")
        return record

    async def set_role(self, session_id: str, user_id: str, role: Role | None) -> None:
        """Let somebody take part, or no longer: then they leave the room at once, on every node. Raises `NotFound` for
        an unknown user, `Conflict` for the owner."""
        record = await self.record(session_id)
        if record.user_id == user_id:
            raise Conflict("The owner drives; that cannot be changed.")
        if role is not None and await self.node.user(user_id) is None:
            raise NotFound("There is no such user.")
        await self.node.agents.set_agent_role(session_id, user_id, role)
        if role is None:
            await self._shut_out(session_id, user_id)
        await self._tell(record, "members", user_id)

    async def _shut_out(self, session_id: str, user_id: str) -> None:
        """Told in the stream itself: whoever is about to follow it, or follows it over HTTP, hears it there."""
        room = stream_name(session_id)
        told = StatusObservation(
            content="Somebody no longer takes part.",
            status=MEMBER_REMOVED,
            detail={"user_id": user_id},
        )
        record = EventStream(self.node, session_id).record(
            told, "system", None, {}, at=self.node.clock.now_ms()
        )
        key = Dedupe(f"removed:{self.node.new_id()}")
        await self.node.streams.append_records(room, [record], key)
        await self.node.routing.leave_room_for_users(room, [user_id], "removed")

    async def delete(self, session_id: str) -> None:
        """Stop what runs, wherever it runs, and forget the session. Its events stay in the archive, unreachable."""
        record = await self.record(session_id)
        members = await self.node.agents.agent_roles(session_id)
        await self.node.agents.delete_agent(session_id)
        everybody = [record.user_id, *members]
        web = self._live.get(session_id)
        if web is not None:
            await self.put_aside(web)
        else:
            await self._end_elsewhere(session_id)
        await self.node.routing.leave_room_for_users(stream_name(session_id), everybody, "deleted")
        await self.node.routing.emit_to_users("agent:deleted", {"id": session_id}, everybody)

    async def _end_elsewhere(self, session_id: str) -> None:
        holder = await self.node.leases.holder(f"agent:{session_id}")
        if holder is not None and holder.owner != self.node.id:
            self.node.peers.tell(holder.owner, "agents:deleted", {"session_id": session_id})

    async def _deleted(self, sender: str, body: Mapping[str, Any]) -> None:
        web = self._live.get(body["session_id"])
        if web is not None:
            await self.put_aside(web)

    async def _tell(self, record: AgentRecord, reason: str, *more: str) -> None:
        members = await self.node.agents.agent_roles(record.id)
        told = {**describe(record), "reason": reason}
        users = {record.user_id, *members, *more}
        await self.node.routing.emit_to_users("agent:updated", told, users)

    def model_names(self) -> list[str]:
        """The models that settings may name, where the registry tells."""
        return list(getattr(self.llm_registry, "names", [self.node.settings.agent_model]))

    # -- the workspace's files -------------------------------------------------------------------

    async def files(self, session_id: str, path: str | None = None) -> Any:
        """The list of the workspace's files, or the text of one; asked of the owner, wherever it is."""
        body = {"session_id": session_id, "path": path}
        await self.awake(session_id)
        if session_id in self._live:
            return await self._files_for(self.node.id, body)
        holder = await self.node.leases.holder(f"agent:{session_id}")
        if holder is None:
            raise Unavailable("Nobody owns this session at the moment; try again.")
        answer = await self.node.peers.ask(holder.owner, "agents:files", body, 10.0)
        if isinstance(answer, dict) and "missing" in answer:
            raise NotFound("There is no such file.")
        return answer

    async def _files_for(self, sender: str, body: Mapping[str, Any]) -> Any:
        session = self.agent_session(body["session_id"])
        if session is None or session.runtime is None:
            raise Unavailable("This node does not own the session.")
        if body.get("path") is None:
            entries = await session.list_files()
            return [
                {
                    "path": entry.path,
                    "size": entry.size,
                    "modified_at": entry.modified_at,
                    "folder": entry.folder,
                }
                for entry in entries
            ]
        try:
            return {"path": body["path"], "content": await session.read_file(str(body["path"]))}
        except NotFound:
            if sender == self.node.id:
                raise
            return {"missing": body["path"]}


class _NoModels:
    """A registry whose models are never asked."""

    def service(self, name: str) -> Model:
        return _NoModel()


class _NoModel:
    async def complete(self, *given: Any, **options: Any) -> Any:
        raise AssertionError("a rehearsal asks no model")


def describe(record: AgentRecord) -> dict[str, Any]:
    """A session as lists show it."""
    return {
        "id": record.id,
        "title": record.title,
        "agent": record.agent,
        "state": record.state,
        "active": record.active,
        "owner_id": record.user_id,
        "forked_from": record.forked_from,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "settings": record.settings,
    }


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
