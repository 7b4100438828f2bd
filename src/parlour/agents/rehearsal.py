"""The regression test behind `parlour replay`: the controller runs with the recorded words, answers and results.

What it does is compared with what was recorded, event by event. No model is asked and nothing is carried out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from parlour.agents.errors import ContextTooLong, ModelLimited
from parlour.agents.events import Action, ErrorObservation, MessageAction, Observation, parse_data
from parlour.agents.hands import Hands, Heard
from parlour.agents.kinds import Planned, Situation
from parlour.agents.ports import CommandResult, FileEntry
from parlour.agents.recording import Recorded, Trajectory
from parlour.agents.replay import planned
from parlour.agents.service import Agents
from parlour.agents.session_settings import Wanted
from parlour.agents.web_session import WebSession
from parlour.core.streams import Event
from parlour.errors import ParlourError

SILENCE_S: Final = 30.0
"""Nothing happened for so long: the recording and the controller do not go together."""

_LEFT_OUT: Final = frozenset({"observation:status", "observation:condensation", "action:comment"})
_CHANGING: Final = frozenset(
    {"reference", "resume_at", "ids", "ask_id", "user", "action_id", "node", "detail", "timeout"}
)
"""Parts of events that say when or where, not what."""


@dataclass
class Rehearsal:
    """What was recorded, how far the controller has come, and where it did something else."""

    trajectory: Trajectory
    differences: list[str] = field(default_factory=list)
    position: int = 0

    def __post_init__(self) -> None:
        self.expected = [one for one in self.trajectory.events if one.type not in _LEFT_OUT]
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def over(self) -> bool:
        return bool(self.differences) or self.position >= len(self.expected)

    def hear(self, event: Event) -> None:
        """The callback on the stream."""
        if event.type in _LEFT_OUT or self.over:
            return
        wanted = essence(self.expected[self.position].data)
        found = essence(event.data)
        if wanted != found:
            number = self.expected[self.position].id
            self.differences.append(f"event {number}: recorded {wanted}, now {found}")
        self.position += 1
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)

    async def reach(self, place: int) -> None:
        """Wait until everything before `place` was heard again. Raises `Differs` where that will not happen."""
        while self.position < place:
            if self.differences:
                raise Differs()
            await self._more()
        if self.differences:
            raise Differs()

    async def watch(self) -> None:
        """Wait for the end, or for a silence."""
        while not self.over:
            try:
                async with asyncio.timeout(SILENCE_S):
                    await self._more()
            except TimeoutError:
                wanted = essence(self.expected[self.position].data)
                number = self.expected[self.position].id
                self.differences.append(f"event {number}: recorded {wanted}, now nothing")

    async def _more(self) -> None:
        """Wait for the next event."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await waiting

    def next(self, fits: Callable[[Recorded], bool]) -> int | None:
        """The place of the next recorded event of a kind."""
        for place in range(self.position, len(self.expected)):
            if fits(self.expected[place]):
                return place
        return None


class Differs(ParlourError):
    """The controller did something else than was recorded."""

    code = "replay_differs"


def essence(data: Mapping[str, Any]) -> dict[str, Any]:
    """What an event says, without when, where and under which number."""
    if "action" in data:
        args = {k: v for k, v in (data.get("args") or {}).items() if k not in _CHANGING}
        return {"action": data["action"], **args}
    extras = {k: v for k, v in (data.get("extras") or {}).items() if k not in _CHANGING}
    told: dict[str, Any] = {"observation": data.get("observation"), **extras}
    if data.get("observation") != "error":
        told["content"] = data.get("content", "")
    if data.get("observation") == "input_taken":
        told["count"] = len((data.get("extras") or {}).get("ids", ()))
    return told


class TapeAgent:
    """Wants what was recorded, at the recorded moment; fails as the model did."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self._rehearsal = rehearsal

    async def step(self, situation: Situation) -> Sequence[Planned]:
        rehearsal = self._rehearsal
        place = rehearsal.next(_by_agent_or_failed)
        if place is None:
            await asyncio.Event().wait()  # the recording ends here; the rehearsal ends this
            raise AssertionError
        await rehearsal.reach(place)
        recorded = rehearsal.expected[place]
        if recorded.source == "agent":
            return self._answer(place)
        raise _failure(recorded)

    def _answer(self, place: int) -> list[Planned]:
        """The actions of one answer of the model: the first of them says what it cost."""
        wanted = [self._planned(self._rehearsal.expected[place])]
        for one in self._rehearsal.expected[place + 1 :]:
            if one.source == "agent":
                if "usage" in one.data:
                    break
                wanted.append(self._planned(one))
            elif one.type == "observation:input_taken":
                break
        return wanted

    def _planned(self, recorded: Recorded) -> Planned:
        """As the agent wanted it; a call that did not fit does not fit again."""
        wanted = planned(recorded)
        for one in self._rehearsal.expected:
            extras = one.data.get("extras") or {}
            if one.cause == recorded.id and extras.get("code") == "invalid_call":
                return Planned(wanted.action, wanted.record, one.data.get("content") or "wrong")
        return wanted


def _by_agent_or_failed(one: Recorded) -> bool:
    if one.source == "agent":
        return True
    state = one.data.get("extras", {}).get("agent_state")
    told = one.type == "observation:error" and one.cause is None
    return told or (one.type == "observation:agent_state_changed" and state == "rate_limited")


def _failure(recorded: Recorded) -> Exception:
    extras = recorded.data.get("extras", {})
    if extras.get("agent_state") == "rate_limited":
        return ModelLimited(retry_after=0.0)
    if extras.get("code") == "context_too_long":
        return ContextTooLong()
    return RuntimeError("as it was recorded")


class TapeHands(Hands):
    """Give the recorded results instead of carrying anything out."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        super().__init__(NoWorkspace(), 0.0)
        self._rehearsal = rehearsal
        self._result: Observation | None = None

    async def do(self, action: Action, heard: Heard) -> Observation:
        rehearsal = self._rehearsal
        asked = max(
            place
            for place in range(rehearsal.position)
            if rehearsal.expected[place].source == "agent"
        )
        number = rehearsal.expected[asked].id
        place = rehearsal.next(lambda one: one.cause == number and one.type[:11] == "observation")
        if place is None:
            await asyncio.Event().wait()  # the recording ends in the middle of this action
            raise AssertionError
        result = parse_data(rehearsal.expected[place].data)
        assert isinstance(result, Observation)
        self._result = result
        if getattr(result, "interrupted", False) or _withdrawn(result):
            await asyncio.Event().wait()  # it did not end by itself: whoever ended it comes
        await rehearsal.reach(place)
        return result

    def interrupted(self, action: Action, heard: Heard) -> Observation:
        return self._result or super().interrupted(action, heard)


def _withdrawn(result: Observation) -> bool:
    return isinstance(result, ErrorObservation) and result.content == "This was interrupted."


class NoWorkspace:
    """A runtime in which nothing is."""

    async def open(self) -> None:
        return None

    async def close(self) -> None:
        return None

    async def run(self, command: str, **options: Any) -> CommandResult:
        raise Differs()

    async def run_cell(self, code: str, timeout_s: float) -> CommandResult:
        raise Differs()

    async def read_file(self, path: str) -> str:
        raise Differs()

    async def write_file(self, path: str, text: str) -> None:
        raise Differs()

    async def edit_file(self, path: str, old: str, new: str) -> None:
        raise Differs()

    async def list_files(self) -> Sequence[FileEntry]:
        return []


async def rehearse(agents: Agents, trajectory: Trajectory, user_id: str) -> Rehearsal:
    """Run a recording against the controller of this node. `differences` is empty where it did the same."""
    rehearsal = Rehearsal(trajectory)
    recorded = dict(trajectory.session.get("settings") or {})
    settings = {name: recorded[name] for name in Wanted.model_fields if name in recorded}
    settings.pop("secrets", None)
    names = {str(recorded.get("agent") or "coder"), *_delegates(rehearsal)}
    agent = TapeAgent(rehearsal)
    agents.replace(dict.fromkeys(names, agent), lambda runtime, seconds: TapeHands(rehearsal))
    web = WebSession(agents.node.new_id(), sio=agents, user_id=user_id)
    web.listeners.append(rehearsal.hear)
    await web.initialize_agent(settings, _first_words(rehearsal))
    speaking = agents.node.tasks.spawn(_speak(web, rehearsal), "recorded people")
    try:
        await rehearsal.watch()
    finally:
        speaking.cancel()
        await asyncio.wait({speaking})
        await web.close()
    return rehearsal


def _delegates(rehearsal: Rehearsal) -> set[str]:
    """The sub-agents that were asked."""
    asked = (
        one.data["args"]["agent"] for one in rehearsal.expected if one.type == "action:delegate"
    )
    return set(asked)


def _first_words(rehearsal: Rehearsal) -> MessageAction | None:
    """A session that was begun with a message has it before anything else."""
    first = rehearsal.expected[0] if rehearsal.expected else None
    if first is None or first.source != "user" or first.type != "action:message":
        return None
    words = parse_data(first.data)
    assert isinstance(words, MessageAction)
    return words


async def _speak(web: WebSession, rehearsal: Rehearsal) -> None:
    """Do what people did, each at its moment."""
    while (place := rehearsal.next(lambda one: one.source == "user")) is not None:
        await rehearsal.reach(place)
        data = rehearsal.expected[place].data
        args = {k: v for k, v in (data.get("args") or {}).items() if k != "ask_id"}
        try:
            await web.dispatch({"action": data["action"], "args": args})
        except ParlourError as error:
            rehearsal.differences.append(f"event {rehearsal.expected[place].id}: {error.message}")
            return
        await rehearsal.reach(place + 1)
