"""The loop of think, act, observe.

What to do next is decided by `core.agent_state.next_step` from the fold of the events alone; the controller
carries it out and records it. There is one task, and only while there is something to do. An action is recorded
before it is begun, and only its recorder begins it, once: what another owner left without a result is told to the
agent as of unknown outcome.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import structlog

from parlour.agents.errors import ContextTooLong, ModelLimited, ModelUnavailable
from parlour.agents.events import (
    Action,
    DelegateAction,
    DelegateObservation,
    ErrorObservation,
    FinishAction,
    InputTakenObservation,
    MessageAction,
    RejectAction,
    StateObservation,
    ThinkAction,
    ThinkObservation,
    UserRejectedObservation,
    parse_data,
)
from parlour.agents.hands import Hands, Heard
from parlour.agents.kinds import Agent, Planned, Situation
from parlour.agents.ledger import Ledger, of_delegate
from parlour.agents.memory import Knowledge, condense, words_of_people
from parlour.agents.ports import Memory, Model
from parlour.agents.secrets import MaskedText
from parlour.agents.session_settings import InForce
from parlour.agents.stream import EventStream, Given
from parlour.core.agent_state import (
    Act,
    Become,
    Discard,
    Disown,
    Refuse,
    Rest,
    Step,
    Take,
    Think,
    Wait,
    interrupts,
    next_step,
)
from parlour.core.agents import AgentState, change, needs_confirmation
from parlour.core.streams import Event
from parlour.errors import CommandError, LeaseLost, NotFound, ParlourError
from parlour.ports import Clock

log = structlog.get_logger(__name__)

T = TypeVar("T")

DEPTH: Final = 3
"""How deep sub-agents may ask others."""

FIRST_BACK_OFF: Final = 1.0
LONGEST_BACK_OFF: Final = 60.0
"""Seconds that a model is left alone that does not answer; doubled each time."""

GIVES_UP_AFTER: Final = 8
"""Failures of a model in a row after which the run ends with an error. Being asked to wait is no failure."""

SMALLEST_SHARE: Final = 0.2
"""Of the budget for the context, below which a conversation that is too long for the model ends the run."""

LOST_OUTCOME: Final = (
    "The server that carried this out stopped before its result was known. It may have happened, in part or in whole: "
    "look before you do it again."
)


@dataclass(slots=True)
class Parts:
    """What a controller works with."""

    session_id: str
    stream: EventStream
    ledger: Ledger
    hands: Hands
    memory: Memory
    model: Model
    agents: Mapping[str, Agent]
    settings: InForce
    clock: Clock
    owns: Callable[[], bool]
    """Whether the lease still is this owner's, by the clock of this process."""
    told: Callable[[str, Mapping[str, Any]], None] = lambda name, body: None
    """Sends a signal to whoever watches."""
    changed: Callable[[AgentState, str], Awaitable[None]] | None = None
    """Called after each change of the agent's state."""
    failed: Callable[[BaseException], str] = lambda error: ""
    """Logs an exception and gives back its reference."""
    acted: Callable[[str, str], None] = lambda action, outcome: None
    spent: Callable[[Mapping[str, Any]], None] = lambda usage: None


class Controller:
    """Runs one session's agent. `wake` after every event; `stop` before the session lets go."""

    def __init__(self, parts: Parts, spawn: Callable[[Any, str], asyncio.Task[Any]]) -> None:
        self.parts = parts
        self._spawn = spawn
        self._mine: int | None = None
        self._plan: deque[Planned] = deque()
        self._task: asyncio.Task[None] | None = None
        self._work: asyncio.Task[Any] | None = None
        self._thinking = False
        self._interrupted = False
        self._closing = False
        self._broken = False
        self._news = asyncio.Event()
        self._failures = 0
        self._share = 1.0
        self._knowledge: Knowledge | None = None

    @property
    def agent_id(self) -> str:
        return f"agent:{self.parts.session_id}"

    @property
    def busy(self) -> bool:
        """Whether the loop runs at this moment."""
        return self._task is not None

    # -- life ------------------------------------------------------------------------------------

    def hear(self, event: Event) -> None:
        """The callback on the stream, after the ledger's."""
        self._news.set()
        self._broken = False
        state, policy = self.parts.ledger.state, self.parts.settings.input_policy
        if self._work is not None and interrupts(state, policy, thinking=self._thinking):
            self._interrupted = True
            self._work.cancel()
        self.wake()

    def wake(self) -> None:
        """Begin the loop if there is something to do."""
        idle = self._task is None and not self._closing and not self._broken
        if idle and self.parts.stream.failed is None and not isinstance(self._next(), Rest):
            self._task = self._spawn(self._run(), f"controller of {self.parts.session_id}")

    async def stop(self, patience: float = 0.0) -> None:
        """Do nothing more. What runs may end within `patience` seconds; then it is cancelled, and that is recorded."""
        self._closing = True
        self._news.set()
        if self._thinking and self._work is not None:
            self._work.cancel()
        task = self._task
        if task is None:
            return
        if patience > 0:
            await asyncio.wait({task}, timeout=patience)
        if self._work is not None:
            self._interrupted = True
            self._work.cancel()
        await asyncio.wait({task})

    async def _run(self) -> None:
        with structlog.contextvars.bound_contextvars(agent_session=self.parts.session_id):
            try:
                while not self._closing:
                    step = self._next()
                    if isinstance(step, Rest):
                        return
                    await self._do(step)
            except LeaseLost:
                log.warning("the session goes on elsewhere")
            except ParlourError as error:
                self._broken = True
                log.warning("the controller stopped", code=error.code, error=error.message)
            except Exception as error:  # noqa: BLE001 - a defect must end the run, visibly, not the node
                await self._break(error)
            finally:
                # Nothing is awaited between the last look and this: news either was seen or begins the next loop.
                self._task = None
        self.wake()

    def _next(self) -> Step:
        settings = self.parts.settings
        return next_step(
            self.parts.ledger.state,
            now=self.parts.clock.now_ms(),
            limits=settings.limits,
            policy=settings.input_policy,
            mine=self._mine,
        )

    async def _do(self, step: Step) -> None:
        match step:
            case Become():
                await self._become(step)
            case Refuse(cause, request):
                state = self.parts.ledger.state.state
                words = f"The agent is {state}: it cannot be asked for {request} now."
                await self._add(ErrorObservation(content=words, code="illegal_transition"), cause)
            case Take(ids):
                self._plan.clear()
                await self._add(InputTakenObservation(ids=list(ids)))
            case Act(action):
                await self._act(action)
            case Disown(action):
                await self._add(
                    ErrorObservation(content=LOST_OUTCOME, code="interrupted"), action["id"]
                )
            case Discard(action, cause):
                await self._discard(action, cause)
            case Think():
                await self._think()
            case Wait(until):
                await self._wait(until)
            case Rest():
                return

    # -- changes of state ------------------------------------------------------------------------

    async def _become(self, step: Become) -> None:
        pending = self.parts.ledger.state.pending
        await self._change(
            step.state, step.reason, cause=step.cause, began=step.began, confirmed=step.confirmed
        )
        if step.began:
            self._plan.clear()
            self._knowledge = None
            self._failures, self._share = 0, 1.0
        if step.confirmed and pending is not None:
            # This owner told that it was confirmed: nobody else begins it.
            self._mine = pending["id"]
        if step.state is not AgentState.RUNNING:
            self._plan.clear()

    async def _change(
        self,
        state: AgentState,
        reason: str = "",
        *,
        before: Sequence[Given] = (),
        cause: int | str | None = None,
        **more: Any,
    ) -> None:
        change(self.parts.ledger.state.state, state)
        given = {name: value for name, value in more.items() if value}
        observation = StateObservation(agent_state=state, reason=reason, content=reason, **given)
        await self.parts.stream.add_events(*before, (observation, "system", cause, {}))
        if self.parts.changed is not None:
            await self.parts.changed(state, reason)

    async def _discard(self, action: Mapping[str, Any], cause: int | None) -> None:
        words = "The person did not want this to be done."
        refused = UserRejectedObservation(content=words, action_id=action["id"])
        self._plan.clear()
        await self._change(
            AgentState.AWAITING_USER_INPUT,
            "rejected" if cause is not None else "interrupted",
            before=[(refused, "system", action["id"], {})],
            cause=cause,
        )

    async def _break(self, error: BaseException) -> None:
        """A defect: the run ends, with a reference for whoever looks into the log."""
        self._broken = True
        reference = self.parts.failed(error)
        words = f"Something went wrong in the agent (reference {reference})."
        try:
            await self._end_in_error(words, "internal", reference)
        except (ParlourError, asyncio.CancelledError):
            log.warning("an agent's failure could not be told", reference=reference)

    async def _end_in_error(self, words: str, code: str, reference: str | None = None) -> None:
        told = ErrorObservation(content=words, code=code, reference=reference)
        await self._change(AgentState.ERROR, code, before=[(told, "system", None, {})])

    async def _wait(self, until: int) -> None:
        """Until a time, or until something happens."""
        self._news.clear()
        seconds = max(0.0, (until - self.parts.clock.now_ms()) / 1000)
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass

    # -- thinking --------------------------------------------------------------------------------

    async def _think(self) -> None:
        if not self._plan:
            planned = await self._ask()
            if planned is None:
                return
            self._plan.extend(planned)
        await self._record(self._plan.popleft())

    async def _ask(self) -> Sequence[Planned] | None:
        """The agent's next actions; None where it was interrupted, or has to wait."""
        try:
            planned = await self._cancellable(self._step(), thinking=True)
        except ModelLimited as error:
            await self._back_off(error.retry_after, "model_limited")
        except ModelUnavailable as error:
            await self._model_failed(error)
        except ContextTooLong as error:
            await self._shorten(error)
        except CommandError as error:
            await self._end_in_error(error.message, error.code)
        else:
            self._failures, self._share = 0, 1.0
            return None if planned is None else _counted(planned)
        return None

    async def _step(self) -> Sequence[Planned]:
        parts, state = self.parts, self.parts.ledger.state
        budget = int(parts.settings.context_tokens * self._share)
        history = await self._remembered(budget)
        name = state.delegates[-1]["agent"] if state.delegates else parts.settings.agent
        text = MaskedText(parts.stream.secrets)
        situation = Situation(
            messages=parts.memory.view(history, budget),
            model=parts.model,
            depth=len(state.delegates),
            instructions=await self._instructions(history),
            agents=self._others(state.delegates),
            on_delta=lambda piece: self._say("delta", text.feed(piece)),
        )
        return await self._agent(name).step(situation)

    async def _remembered(self, budget: int) -> Sequence[Event]:
        """What the agent at work lived through; where it has outgrown the budget, its beginning is summed up."""
        parts = self.parts
        history = of_delegate(await parts.ledger.history(parts.stream), parts.ledger.state)
        try:
            condensed = await condense(parts.model, history, budget)
        except CommandError as error:
            # Nothing is forgotten then; the memory's window still holds.
            log.warning("a history could not be summed up", error=error.message)
            return history
        if condensed is None:
            return history
        parts.spent(condensed.usage)
        await parts.stream.add_event(condensed.event, "system", usage=condensed.usage)
        return of_delegate(await parts.ledger.history(parts.stream), parts.ledger.state)

    async def _instructions(self, history: Sequence[Event]) -> str:
        """The session's own, and what the workspace says about what people speak of; read once in a run."""
        if self._knowledge is None:
            self._knowledge = await self.parts.hands.knowledge()
        recalled = self._knowledge.recall(words_of_people(history))
        return "\n\n".join(part for part in (self.parts.settings.instructions, recalled) if part)

    def _agent(self, name: str) -> Agent:
        agent = self.parts.agents.get(name)
        if agent is None:
            raise NotFound(f"There is no agent {name!r}.")
        return agent

    def _others(self, delegates: Sequence[Any]) -> list[str]:
        if len(delegates) >= DEPTH:
            return []
        return [name for name in self.parts.agents if name != self.parts.settings.agent]

    def _say(self, kind: str, text: str) -> None:
        if text:
            self.parts.told(kind, {"text": text})

    async def _back_off(self, seconds: float | None, reason: str) -> None:
        self._failures += 1
        wait = min(FIRST_BACK_OFF * 2 ** (self._failures - 1), LONGEST_BACK_OFF)
        wait = wait if seconds is None else max(0.0, seconds)
        resume_at = self.parts.clock.now_ms() + int(wait * 1000)
        await self._change(AgentState.RATE_LIMITED, reason, resume_at=resume_at)

    async def _model_failed(self, error: ModelUnavailable) -> None:
        if self._failures + 1 >= GIVES_UP_AFTER:
            await self._end_in_error(error.message, error.code)
        else:
            await self._back_off(None, "model_unavailable")

    async def _shorten(self, error: ContextTooLong) -> None:
        """Show the model half as much."""
        self._share /= 2
        if self._share < SMALLEST_SHARE:
            await self._end_in_error(error.message, error.code)

    # -- acting ----------------------------------------------------------------------------------

    async def _record(self, planned: Planned) -> None:
        action = planned.action
        record = dict(planned.record)
        self.parts.spent(record.get("usage") or {})
        match action:
            case MessageAction(wait=True):
                said: Given = (action, self.agent_id, None, record)
                await self._change(AgentState.AWAITING_USER_INPUT, before=[said])
            case MessageAction():
                await self.parts.stream.add_event(action, self.agent_id, **record)
            case FinishAction() | RejectAction():
                await self._finish(action, record)
            case DelegateAction():
                await self._delegate(action, record)
            case ThinkAction():
                event = await self.parts.stream.add_event(action, self.agent_id, **record)
                noted = _mistake(planned.mistake) if planned.mistake else ThinkObservation()
                await self._add(noted, event.offset)
            case _:
                await self._prepare(action, record)

    async def _prepare(self, action: Action, record: Mapping[str, Any]) -> None:
        """Record an action of the hands; it is begun in the next step, or when a person has agreed."""
        mode = self.parts.settings.confirmation
        asked = needs_confirmation(mode, action.name)
        marked = {**record, "confirmation_state": "awaiting_confirmation"} if asked else record
        event = await self.parts.stream.add_event(action, self.agent_id, **marked)
        if asked:
            await self._change(
                AgentState.AWAITING_USER_CONFIRMATION, cause=event.offset, ask_id=event.offset
            )
        else:
            self._mine = event.offset

    async def _finish(self, action: FinishAction | RejectAction, record: Mapping[str, Any]) -> None:
        self._plan.clear()
        delegates = self.parts.ledger.state.delegates
        said: Given = (action, self.agent_id, None, record)
        if not delegates:
            finished = isinstance(action, FinishAction)
            state = AgentState.FINISHED if finished else AgentState.REJECTED
            await self._change(state, before=[said])
            return
        asked = delegates[-1]
        outputs = action.outputs if isinstance(action, FinishAction) else {"rejected": True}
        answer = DelegateObservation(content=action.content, agent=asked["agent"], outputs=outputs)
        await self.parts.stream.add_events(said, (answer, "system", asked["id"], {}))

    async def _delegate(self, action: DelegateAction, record: Mapping[str, Any]) -> None:
        others = self._others(self.parts.ledger.state.delegates)
        if action.agent not in others:
            words = f"{action.agent} cannot be asked; known are: {', '.join(others) or 'none'}."
            thought = ThinkAction(thought=f"A task cannot be given away: {words}")
            event = await self.parts.stream.add_event(thought, self.agent_id, **record)
            await self._add(_mistake(words), event.offset)
            return
        self._plan.clear()
        await self.parts.stream.add_event(action, self.agent_id, **record)

    async def _act(self, pending: Mapping[str, Any]) -> None:
        """Carry out the pending action. From here on nobody begins it again, whatever happens."""
        self._mine = None
        if not self.parts.owns():
            raise LeaseLost("The lease ran out before the action was begun.")
        data = {"action": pending["action"], "args": pending["args"]}
        action = parse_data(data)
        assert isinstance(action, Action)
        text = MaskedText(self.parts.stream.secrets)

        def printed(piece: str) -> None:
            self._say("output", text.feed(piece))

        heard = Heard(printed)
        try:
            outcome = await self._cancellable(self.parts.hands.do(action, heard), thinking=False)
            observation = outcome or self.parts.hands.interrupted(action, heard)
        except CommandError as error:
            observation = ErrorObservation(
                content=error.message, code=error.code, retryable=error.retryable
            )
        except Exception as error:  # noqa: BLE001 - whatever a workspace raises is an answer to the agent
            reference = self.parts.failed(error)
            words = f"Something went wrong on the server (reference {reference})."
            observation = ErrorObservation(content=words, code="internal", reference=reference)
        self.parts.acted(action.name, observation.name)
        await self._add(observation, pending["id"])

    async def _cancellable(self, work: Coroutine[Any, Any, T], *, thinking: bool) -> T | None:
        """What the agent does at this moment, in a task that an interruption ends; None where one did."""
        self._interrupted = False
        self._thinking = thinking
        self._work = running = asyncio.create_task(work)
        state, policy = self.parts.ledger.state, self.parts.settings.input_policy
        if interrupts(state, policy, thinking=thinking) or (thinking and self._closing):
            self._interrupted = True
            self._work.cancel()
        try:
            await asyncio.wait({running})
            return None if running.cancelled() else running.result()
        except asyncio.CancelledError:
            # The node ends this loop itself: nothing that it began may go on.
            running.cancel()
            await asyncio.wait({running})
            raise
        finally:
            self._work = None
            self._thinking = False

    async def _add(self, observation: Any, cause: int | None = None) -> Event:
        return await self.parts.stream.add_event(observation, "system", cause)


def _counted(planned: Sequence[Planned]) -> Sequence[Planned]:
    """An answer counts as one iteration, whether or not its agent said what it cost."""
    first = planned[0]
    usage = first.record.get("usage") or {"prompt": 0, "completion": 0, "cost": 0.0}
    return [Planned(first.action, {**first.record, "usage": usage}, first.mistake), *planned[1:]]


def _mistake(words: str) -> ErrorObservation:
    return ErrorObservation(content=words, code="invalid_call")
