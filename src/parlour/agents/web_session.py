"""The connection side of a session: what people send goes into the stream, what the agent does comes out of it.

A `WebSession` may be used on any node. `dispatch` appends to the stream, which the owner hears wherever it
is; `initialize_agent` makes this node the owner, if nobody is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from parlour.agents.agent_session import AgentSession, Equipment, Statistics
from parlour.agents.events import ChangeStateAction, CommentAction, MessageAction, parse_data
from parlour.agents.ports import FileStore, Registry
from parlour.agents.recording import Trajectory, parse_trajectory
from parlour.agents.replay import ReplayAgent
from parlour.agents.session_settings import InForce, merge
from parlour.agents.stream import EventStream, stream_name
from parlour.config import Settings
from parlour.core.agent_state import SessionState
from parlour.core.agents import (
    ACTIVE,
    USER_ACTIONS,
    AgentState,
    InputPolicy,
    Request,
    Role,
    grant,
    may,
)
from parlour.core.streams import Dedupe, Event
from parlour.core.users import User
from parlour.errors import Conflict, Forbidden, InvalidPayload
from parlour.ports import AgentRecord

if TYPE_CHECKING:
    from parlour.agents.service import Agents

log = structlog.get_logger(__name__)

PersonsAction = MessageAction | CommentAction | ChangeStateAction


class WebSession:
    """One conversation with an agent: `initialize_agent`, `dispatch`, `on_event`, `close`.

    `sid` is the stable id of the conversation, `sio` the node's part that serves agents (`node.part(Agents)`), `config`
    the server's settings, `conversation_stats` counts what is used. `llm_registry` and `file_store` are the part's own
    unless others are given.
    """

    def __init__(
        self,
        sid: str,
        *,
        sio: Agents,
        config: Settings | None = None,
        llm_registry: Registry | None = None,
        file_store: FileStore | None = None,
        conversation_stats: Statistics | None = None,
        user_id: str | None = None,
    ) -> None:
        self.sid = sid
        self.sio = sio
        self.config = config or sio.node.settings
        self.llm_registry = llm_registry or sio.llm_registry
        self.file_store = file_store or sio.file_store
        self.conversation_stats = conversation_stats or Statistics()
        self.user_id = user_id
        self.agent_session: AgentSession | None = None
        self.latest_event_id = 0
        self.idle_since = sio.node.clock.monotonic()
        self.on_lost: Callable[[WebSession, Exception], None] | None = None
        self.listeners: list[Callable[[Event], None]] = []
        """Hear every event on the owner's node, after the session itself."""
        self.replay: Trajectory | None = None
        self._replaying: ReplayAgent | None = None

    # -- the agent -------------------------------------------------------------------------------

    async def initialize_agent(
        self,
        settings: Mapping[str, Any] | None = None,
        initial_message: str | MessageAction | None = None,
        replay_json: str | bytes | None = None,
        *,
        user_settings: Mapping[str, Any] | None = None,
        title: str = "",
    ) -> AgentRecord:
        """Begin the session, or take it up where it is. Of several at once one begins it, and all find the same one.

        `settings` are the session's, `user_settings` the user's; both stand above the server's. `replay_json` is
        a trajectory whose messages and actions are carried out first. Raises `InvalidPayload`, `Forbidden` where
        the id is another user's, `Unavailable` where no session can be added here.
        """
        if self.user_id is None:
            raise InvalidPayload("A session belongs to a user.")
        force = merge(self.config, user_settings, settings)
        record = await self.sio.begin(self, force, title)
        self.replay = None if replay_json is None else parse_trajectory(replay_json)
        message = _initial(initial_message)
        if message is not None:
            await self._say_first(message)
        await self.sio.owned.own(self, force)
        if self._replaying is not None and message is None:
            await self._replaying.speak()
        return record

    async def _say_first(self, message: MessageAction) -> None:
        """Once, however often the start is repeated, on whatever node."""
        assert self.user_id is not None
        user = await self.sio.node.user(self.user_id)
        author = user.author() if user is not None else {"id": self.user_id, "name": self.user_id}
        await self._append(message, author, "initial-message")

    def attach(self, equipment: Equipment, settings: InForce) -> AgentSession:
        """The agent's side on this node."""
        equipment.llm_registry = self.llm_registry
        if self.replay is not None and settings.agent in equipment.agents:
            behind = equipment.agents[settings.agent]
            self._replaying = ReplayAgent(self.replay, behind, self._say_again)
            equipment.agents = dict.fromkeys(equipment.agents, self._replaying)
        session = AgentSession(
            self.sid, self.sio.node, equipment, settings, self.conversation_stats
        )
        session.event_stream.subscribe("web", self.on_event)
        session.event_stream.on_failed = self._lost
        session.on_state = self._state_changed
        self.agent_session = session
        return session

    async def _say_again(self, text: str) -> None:
        """What the person of a replayed recording said; the session's user says it now."""
        user = await self._owner()
        await self._append(MessageAction(content=text), user.author(), self.sio.node.new_id())

    def _lost(self, error: Exception) -> None:
        if self.on_lost is not None:
            self.on_lost(self, error)

    # -- from people -----------------------------------------------------------------------------

    async def dispatch(
        self, event: Mapping[str, Any], user: User | None = None, command_id: str | None = None
    ) -> dict[str, Any]:
        """Take what somebody sends: `{action, args}`. Gives back `{id, accepted, …}` once it is stored.

        The same `command_id` again gives the same answer. Raises `InvalidPayload`, `Forbidden` for what the role
        does not allow, `IllegalTransition` for a change that the state does not allow, `Conflict` for a message
        that the input policy refuses."""
        action = _persons_action(event)
        user = user or await self._owner()
        role = await self.sio.role(user, self.sid)
        if not may(role, action.name):
            raise Forbidden("You may watch this session, but not do this.")
        command = command_id or self.sio.node.new_id()
        known = await self._known(user, command, action)
        if known is None:
            known = await self._accept(action, user, command)
        if not isinstance(action, CommentAction):
            await self.sio.owned.awake(self.sid)
        return known

    async def _owner(self) -> User:
        found = None if self.user_id is None else await self.sio.node.user(self.user_id)
        if found is None:
            raise Forbidden("There is no user behind this session.")
        return found

    async def _known(
        self, user: User, command_id: str, action: PersonsAction
    ) -> dict[str, Any] | None:
        """What came of this command before, or of another one's word on the same question."""
        keys = [_key(user, command_id)]
        if isinstance(action, ChangeStateAction) and action.ask_id is not None:
            keys.append(f"confirm:{action.ask_id}")
        for key in keys:
            found = await self.sio.node.streams.known(stream_name(self.sid), key)
            if found is not None:
                return _answer(found.last, found.receipt, command_id)
        return None

    async def _accept(self, action: PersonsAction, user: User, command_id: str) -> dict[str, Any]:
        state = await self.sio.state_of(self.sid)
        key = _key(user, command_id)
        if isinstance(action, ChangeStateAction):
            grant(state.state, action.agent_state)
            if action.agent_state in (Request.CONFIRM, Request.REJECT):
                action = _about(action, state)
                # The log decides who was first, wherever the others answered.
                key = f"confirm:{action.ask_id}"
        elif isinstance(action, MessageAction):
            await self._admit(action, state)
        return await self._append(action, user.author(), command_id, key)

    async def _admit(self, action: MessageAction, state: SessionState) -> None:
        """Whether a message is taken at this moment; one that is taken is never lost."""
        policy = action.policy or await self.sio.policy_of(self.sid)
        busy = state.state in ACTIVE and state.runs > 0
        if policy is InputPolicy.REJECT and busy:
            raise Conflict("The agent is at work and takes no messages.", state=str(state.state))

    async def _append(
        self,
        action: PersonsAction,
        author: Mapping[str, Any],
        command_id: str,
        key: str | None = None,
    ) -> dict[str, Any]:
        node = self.sio.node
        stream = self._stream()
        record = stream.record(
            action,
            f"user:{author['id']}",
            None,
            {"user": dict(author), "command_id": command_id},
            at=node.clock.now_ms(),
        )
        receipt = orjson.dumps({"by": dict(author), "command_id": command_id})
        chosen = key or f"cmd:{author['id']}:{command_id}"
        appended = await node.streams.append_records(stream.name, [record], Dedupe(chosen, receipt))
        return _answer(appended.last, appended.receipt or receipt, command_id)

    def _stream(self) -> EventStream:
        """For masking: the owner knows the session's secrets, every node the server's."""
        live = self.agent_session or self.sio.agent_session(self.sid)
        if live is not None:
            return live.event_stream
        return EventStream(self.sio.node, self.sid, self.sio.secrets)

    # -- to people -------------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """Hears every event of the session on the owner's node. Connections hear them by the node's room of the same
        name, on every node, as `oh_event`; here is what only the owner does."""
        self.latest_event_id = event.offset
        self.idle_since = self.sio.node.clock.monotonic()
        for listener in self.listeners:
            listener(event)

    async def _state_changed(self, state: AgentState, reason: str) -> None:
        if self._replaying is not None:
            await self._replaying.changed(state)
        await self.sio.note_state(self.sid, state, reason)

    # -- the end ---------------------------------------------------------------------------------

    async def close(self) -> None:
        """Put the session aside: everything that was queued is stored, and it goes on with the next message.
        Idempotent."""
        await self.sio.owned.leave(self)


def _persons_action(event: Mapping[str, Any]) -> PersonsAction:
    """What a client may send, typed. Raises `InvalidPayload`, also for an agent's own actions."""
    name = event.get("action")
    if name not in USER_ACTIONS:
        raise InvalidPayload(f"A client cannot send {str(name)[:60]!r}.")
    action = parse_data({"action": name, "args": event.get("args") or {}})
    assert isinstance(action, MessageAction | CommentAction | ChangeStateAction)
    if isinstance(action, MessageAction):
        return MessageAction(content=action.content, policy=action.policy)
    return action


def _about(action: ChangeStateAction, state: SessionState) -> ChangeStateAction:
    """A confirmation with the action that it is about."""
    pending = None if state.pending is None else int(state.pending["id"])
    if pending is None or action.ask_id not in (None, pending):
        raise Conflict("This is not what the agent asks about.", ask_id=pending)
    return ChangeStateAction(agent_state=action.agent_state, ask_id=pending)


def _key(user: User, command_id: str) -> str:
    return f"cmd:{user.id}:{command_id}"


def _answer(event_id: int, receipt: bytes, command_id: str) -> dict[str, Any]:
    told = orjson.loads(receipt) if receipt else {}
    mine = told.get("command_id") == command_id
    return {"id": event_id, "accepted": mine, "by": told.get("by")}


def _initial(message: str | MessageAction | None) -> MessageAction | None:
    if isinstance(message, str):
        return MessageAction(content=message) if message.strip() else None
    return message


__all__ = ["Role", "WebSession"]
