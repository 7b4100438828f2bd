"""The agents' part of a node: finds sessions, says who may do what, and what others see of them.

Who owns a session is `ownership`'s subject; what happens in it `agent_session`'s and `controller`'s.
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
from parlour.agents.ownership import Ownership
from parlour.agents.ports import FileStore, Memory, Model, Registry, Runtime, RuntimeFactory
from parlour.agents.secrets import Secrets
from parlour.agents.session_settings import InForce
from parlour.agents.stream import EventStream, stream_name
from parlour.agents.web_session import WebSession
from parlour.core.access import Facts, Kind
from parlour.core.agent_state import SessionState, fold
from parlour.core.agents import ACTIVE, MEMBER_REMOVED, AgentState, InputPolicy, Role
from parlour.core.streams import Dedupe, Position
from parlour.core.users import User
from parlour.errors import (
    Conflict,
    NotFound,
    ParlourError,
    ShuttingDown,
    Unavailable,
)
from parlour.ports import AgentRecord
from parlour.server.router import Routes

if TYPE_CHECKING:
    from parlour.server.node import Node

log = structlog.get_logger(__name__)

READ: Final = 500

LISTED: Final = 500
"""Sessions that each node tells administrators of."""


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
        self.owned = Ownership(self)
        node.permissions.lookups[Kind.AGENT] = self._facts
        node.recovery.snapshots["agent"] = self._snapshot
        node.peers.on("agents:files", self._files_for)
        node.peers.on("agents:deleted", self._deleted)
        node.peers.on("agents:here", lambda sender, body: self.here())

    # -- life of the part ------------------------------------------------------------------------

    async def start(self) -> None:
        """Sessions that were at work go on."""
        await self.owned.start()

    async def stop(self) -> None:
        """Hand every session over."""
        await self.owned.stop()
        for close in self.closing:
            await close()

    # -- finding ---------------------------------------------------------------------------------

    def session(self, session_id: str, user_id: str | None = None) -> WebSession:
        """The live session of this node, or one to send through."""
        live = self.owned.live.get(session_id)
        return live or WebSession(session_id, sio=self, user_id=user_id)

    def agent_session(self, session_id: str) -> AgentSession | None:
        """The agent's side, if this node owns it."""
        live = self.owned.live.get(session_id)
        return None if live is None else live.agent_session

    @property
    def live(self) -> Mapping[str, WebSession]:
        """The sessions that this node owns."""
        return self.owned.live

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
        return (await self.folded(session_id))[0]

    async def folded(self, session_id: str) -> tuple[SessionState, Position]:
        """The fold of what is stored, and up to where it goes."""
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
        if self.owned.stopping:
            raise ShuttingDown()
        assert web.user_id is not None
        # A row comes before its first event: events without a row are of a session that was deleted, and nobody may
        # find them under a new owner.
        head = await self.node.log.head(stream_name(web.sid))
        if head.offset > 0 and await self.node.agents.agent(web.sid) is None:
            raise Conflict("This id was used before; choose another one.")
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
        record, _ = await self.node.agents.create_agent(wanted)
        return record

    def equipment(self) -> Equipment:
        """What a session on this node works with."""
        return Equipment(self.llm_registry, self.runtimes, self.memory, self.agents, self.hands)

    def replace(
        self, agents: Mapping[str, Agent], hands: Callable[[Runtime, float], Hands]
    ) -> None:
        """Have these agents and no others, and nothing be carried out but by these hands: for rehearsals."""
        self.agents = dict(agents)
        self.hands = hands
        self.llm_registry = _NoModels()

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
        for web in list(self.owned.live.values())[:LISTED]:
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
        state, position = await self.folded(session_id)
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
        web = self.owned.live.get(session_id)
        if web is not None:
            await self.owned.leave(web)
        else:
            await self._end_elsewhere(session_id)
        await self.node.routing.leave_room_for_users(stream_name(session_id), everybody, "deleted")
        await self.node.routing.emit_to_users("agent:deleted", {"id": session_id}, everybody)

    async def _end_elsewhere(self, session_id: str) -> None:
        holder = await self.node.leases.holder(f"agent:{session_id}")
        if holder is not None and holder.owner != self.node.id:
            self.node.peers.tell(holder.owner, "agents:deleted", {"session_id": session_id})

    async def _deleted(self, sender: str, body: Mapping[str, Any]) -> None:
        web = self.owned.live.get(body["session_id"])
        if web is not None:
            await self.owned.leave(web)

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
        await self.owned.awake(session_id)
        if session_id in self.owned.live:
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
