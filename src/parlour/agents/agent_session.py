"""The agent side of a session: its stream, runtime, agent, memory and controller, set up and taken down in order.

The order is the table `core.agents.PHASES`. A session is the same thing whether it is new, was put aside, or comes
from a node that died: it is set up over what its stream says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog

from parlour.agents.controller import Controller, Parts
from parlour.agents.events import ErrorObservation, StateObservation, StatusObservation
from parlour.agents.hands import Hands
from parlour.agents.kinds import Agent, FunctionAgent
from parlour.agents.ledger import Ledger
from parlour.agents.llm.usage import AbsentModel, ModelInUse
from parlour.agents.ports import FileEntry, Memory, Registry, Runtime, RuntimeFactory
from parlour.agents.secrets import Secrets
from parlour.agents.session_settings import InForce
from parlour.agents.stream import EventStream
from parlour.core.agent_state import SessionState
from parlour.core.agents import ACTIVE, STATES, AgentState, Phase, advance
from parlour.core.streams import Event
from parlour.errors import CommandError, LeaseLost, NotFound, ParlourError, PositionLost
from parlour.ports import Checkpoint, Lease

if TYPE_CHECKING:
    from parlour.server.node import Node

log = structlog.get_logger(__name__)

CHECKPOINT_EVERY: Final = 200
"""Events after which the fold is stored."""

GATHER_SECONDS: Final = 0.05
"""How long the words of a model, or a command's output, are gathered before they are shown."""


@dataclass(slots=True)
class Equipment:
    """What a node gives to each of its sessions."""

    llm_registry: Registry
    runtimes: RuntimeFactory
    memory: Memory
    agents: Mapping[str, Agent]
    hands: Callable[[Runtime, float], Hands] = Hands


@dataclass(slots=True)
class Statistics:
    """What a session has used since it is on this node."""

    iterations: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    actions: int = 0
    errors: int = 0
    phases: dict[str, float] = field(default_factory=dict)
    """Seconds of each phase of the set-up."""


class AgentSession:
    """One session on the node that owns it. Made by `WebSession`; the constructor does nothing.

    Attributes of the reference: `event_stream`, `runtime`, `memory`, `controller`, `llm_registry`.
    """

    def __init__(
        self,
        sid: str,
        node: Node,
        equipment: Equipment,
        settings: InForce,
        statistics: Statistics | None = None,
    ) -> None:
        self.sid = sid
        self.settings = settings
        self.phase = Phase.CREATED
        self.statistics = statistics or Statistics()
        self.llm_registry = equipment.llm_registry
        server = [value.get_secret_value() for value in node.settings.agent_secrets]
        own = [value.get_secret_value() for value in settings.secrets.values()]
        self.event_stream = EventStream(node, sid, Secrets([*server, *own]))
        self.runtime: Runtime | None = None
        self.memory: Memory | None = None
        self.controller: Controller | None = None
        self.ledger = Ledger()
        self.valid_until = 0.0
        self.on_state: Callable[[AgentState, str], Awaitable[None]] | None = None
        self._node = node
        self._equipment = equipment
        self._hands: Hands | None = None
        self._lease: Lease | None = None
        self._checkpointed = 0
        self._closed = asyncio.Event()
        self._unsaid: dict[str, str] = {}
        self._signalling: asyncio.TimerHandle | None = None

    @property
    def state(self) -> SessionState:
        """The fold of what was heard."""
        return self.ledger.state

    @property
    def lease(self) -> Lease | None:
        return self._lease

    def hold(self, lease: Lease, until: float) -> None:
        """The lease under which this session writes; valid until `until` by this process's clock."""
        self._lease = lease
        self.valid_until = until
        self.event_stream.fence = lease.generation

    def owns(self) -> bool:
        """Whether nobody else can own the session at this moment. A process that stood still finds out here,
        before it begins something."""
        return self._node.clock.monotonic() < self.valid_until

    # -- set-up ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Set up and go on where the stream ends. Where a step fails this is told in the stream, everything is
        taken down again, and the error is raised."""
        try:
            async with self._step(Phase.INITIALIZING):
                await self._open_stream()
            async with self._step(Phase.RUNTIME_SETUP):
                await self._make_runtime()
            async with self._step(Phase.AGENT_SETUP):
                self._check_agent()
            async with self._step(Phase.MEMORY_SETUP):
                self.memory = self._equipment.memory
            async with self._step(Phase.CONTROLLER_SETUP):
                self._make_controller()
        except BaseException as error:
            await self._fail(error)
            raise
        self.phase = advance(self.phase, Phase.READY)
        self._tell_ready()
        self.phase = advance(self.phase, Phase.RUNNING)
        assert self.controller is not None
        self.event_stream.subscribe("controller", self.controller.hear)
        self.controller.wake()

    @asynccontextmanager
    async def _step(self, phase: Phase) -> AsyncIterator[None]:
        """One phase of the set-up, timed."""
        self.phase = advance(self.phase, phase)
        began = self._node.clock.monotonic()
        yield
        seconds = self._node.clock.monotonic() - began
        self.statistics.phases[str(phase)] = round(seconds, 4)
        self._node.metrics.agent_phase_seconds.labels(str(phase)).observe(seconds)

    async def _open_stream(self) -> None:
        """Fold from the last checkpoint on; from the beginning where that is not of this history."""
        stored = await self._node.agents.checkpoint(self.sid)
        self.event_stream.subscribe("ledger", self._hear)
        if stored is not None:
            self.ledger = Ledger(SessionState.from_json(stored.state))
            try:
                await self.event_stream.open(stored.position)
            except PositionLost:
                self.ledger = Ledger()
            else:
                self._checkpointed = stored.position.offset
                return
        await self.event_stream.open()

    async def _make_runtime(self) -> None:
        """Opened at once where the agent goes on working, else with its first action: a session that waits needs no
        shell."""
        self.runtime = self._equipment.runtimes(self.sid)
        self._hands = self._equipment.hands(self.runtime, self.settings.command_seconds)
        if self.state.state in ACTIVE and (self.state.inputs or self.state.runs):
            await self._hands.open()

    def _check_agent(self) -> None:
        if self.settings.agent not in self._equipment.agents:
            raise NotFound(f"There is no agent {self.settings.agent!r}.")

    def _make_controller(self) -> None:
        assert self.memory is not None
        assert self._hands is not None
        parts = Parts(
            session_id=self.sid,
            stream=self.event_stream,
            ledger=self.ledger,
            hands=self._hands,
            memory=self.memory,
            model=self._model(),
            agents=self._equipment.agents,
            settings=self.settings,
            clock=self._node.clock,
            owns=self.owns,
            told=self._signal,
            changed=self._state_changed,
            failed=self._failed,
            acted=self._acted,
            spent=self._spent,
        )
        self.controller = Controller(parts, self._node.tasks.spawn)

    def _model(self) -> ModelInUse:
        name = self.settings.model
        said = partial(self._node.usage.during, name, self.sid)
        try:
            model = self.llm_registry.service(name)
        except NotFound as error:
            agent = self._equipment.agents[self.settings.agent]
            if not isinstance(agent, FunctionAgent):
                raise
            # A function may do without; one that asks after all is told then.
            model = AbsentModel(error)
        return ModelInUse(model, said)

    def _tell_ready(self) -> None:
        first = self.state.offset == 0 or self.state.state is AgentState.LOADING
        told = StatusObservation(
            content="The session is ready." if first else "The session goes on here.",
            status="ready" if first else "moved",
            node=self._node.id,
            detail={
                "phases": dict(self.statistics.phases),
                "generation": self._lease.generation if self._lease else 0,
                "settings": self.settings.to_json(),
            },
        )
        self.event_stream.add_event(told, "system")

    async def _fail(self, error: BaseException) -> None:
        """A step failed, or was cancelled: say so, and clean up."""
        self.phase = advance(self.phase, Phase.ERROR)
        if isinstance(error, Exception) and not isinstance(error, LeaseLost):
            await self._tell_failure(error)
        await self.close()

    async def _tell_failure(self, error: Exception) -> None:
        reference = self._failed(error)
        known = isinstance(error, CommandError)
        told = ErrorObservation(
            content=str(error) if known else f"The session cannot be set up ({reference}).",
            code=error.code if isinstance(error, CommandError) else "internal",
            reference=reference,
            retryable=bool(getattr(error, "retryable", False)),
        )
        events: list[Any] = [(told, "system", None, {})]
        if AgentState.ERROR in STATES[self.state.state]:
            changed = StateObservation(agent_state=AgentState.ERROR, reason="set_up_failed")
            events.append((changed, "system", None, {}))
        try:
            await self.event_stream.add_events(*events)
        except ParlourError as refused:
            log.warning("a failed set-up could not be told", session=self.sid, error=str(refused))
            return
        await self._state_changed(self.state.state, "set_up_failed")

    # -- what happens ----------------------------------------------------------------------------

    def _hear(self, event: Event) -> None:
        self.ledger.hear(event)
        # The event holds the whole of what was being said: nothing of it may be shown after it.
        self._unsaid.clear()
        if event.offset - self._checkpointed >= CHECKPOINT_EVERY and self.owns():
            self._checkpointed = event.offset
            self._node.tasks.spawn(self.checkpoint(), f"checkpoint of {self.sid}")

    async def checkpoint(self) -> None:
        """Store the fold, so that whoever opens the session next need not read everything. What it says is right for
        its position whoever writes it, so it needs no fence."""
        state, position = self.state, self.event_stream.position
        if state.offset != position.offset:
            return
        try:
            await self._node.agents.write_checkpoint(
                self.sid, Checkpoint(position, state.to_json())
            )
        except ParlourError as error:
            log.warning("a checkpoint was not stored", session=self.sid, error=str(error))

    async def _state_changed(self, state: AgentState, reason: str) -> None:
        self._node.metrics.agent_states.labels(str(state), reason or "-").inc()
        if self.on_state is not None:
            await self.on_state(state, reason)

    def _signal(self, kind: str, body: Mapping[str, Any]) -> None:
        """Gather what comes within a moment: a signal per token would cost more than the token."""
        self._unsaid[kind] = self._unsaid.get(kind, "") + str(body.get("text", ""))
        if self._signalling is None:
            loop = asyncio.get_running_loop()
            self._signalling = loop.call_later(GATHER_SECONDS, self._send_signals)

    def _send_signals(self) -> None:
        self._signalling = None
        unsaid, self._unsaid = self._unsaid, {}
        if self.phase is not Phase.RUNNING:
            return
        for kind, text in unsaid.items():
            told = {"conversation_id": self.sid, "type": kind, "text": text}
            self._node.routing.signal_room("oh_signal", told, self.event_stream.name)

    def _failed(self, error: BaseException) -> str:
        """Log what happened; people get the reference only."""
        reference = self._node.new_id()[:12]
        self.statistics.errors += 1
        log.error("agent session failed", session=self.sid, reference=reference, exc_info=error)
        return reference

    def _acted(self, action: str, outcome: str) -> None:
        self.statistics.actions += 1
        self._node.metrics.agent_actions.labels(action, outcome).inc()

    def _spent(self, usage: Mapping[str, Any]) -> None:
        if not usage:
            return
        statistics, metrics = self.statistics, self._node.metrics
        statistics.iterations += 1
        for kind, name in (("prompt", "prompt_tokens"), ("completion", "completion_tokens")):
            count = int(usage.get(kind, 0))
            setattr(statistics, name, getattr(statistics, name) + count)
            metrics.agent_tokens.labels(kind).inc(count)
        cost = float(usage.get("cost", 0.0))
        statistics.cost += cost
        metrics.agent_cost.inc(cost)

    # -- the workspace's files -------------------------------------------------------------------

    async def list_files(self) -> Sequence[FileEntry]:
        """Raises `RuntimeUnavailable`."""
        assert self._hands is not None
        await self._hands.open()
        return await self._hands.runtime.list_files()

    async def read_file(self, path: str) -> str:
        """A text file of the workspace, with secrets masked. Raises `NotFound`, `WorkspaceEscape`, `TooLarge`."""
        assert self._hands is not None
        await self._hands.open()
        return self.event_stream.secrets.mask_text(await self._hands.runtime.read_file(path))

    # -- the end ---------------------------------------------------------------------------------

    async def close(self, patience: float = 0.0) -> None:
        """Take everything down: what runs may end within `patience` seconds, what is queued is written, every
        process of the workspace ends. Idempotent; the session itself goes on wherever it is opened next."""
        if self.phase is Phase.CLOSING or self.phase is Phase.CLOSED:
            await self._closed.wait()
            return
        self.phase = advance(self.phase, Phase.CLOSING)
        try:
            if self.controller is not None:
                await self.controller.stop(patience)
            await self._close_hands()
            if self.owns() and self.event_stream.failed is None and self.state.offset:
                await self.checkpoint()
            await self.event_stream.close()
        finally:
            self.phase = advance(self.phase, Phase.CLOSED)
            self._closed.set()

    async def _close_hands(self) -> None:
        try:
            if self._hands is not None:
                await self._hands.close()
        except Exception as error:  # noqa: BLE001 - a workspace that cannot be closed must not keep the session
            self._failed(error)
