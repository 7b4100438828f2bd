"""A recorded history carried out anew in a live session (`initialize_agent(replay_json=…)`).

The recorded actions are done again in the real workspace, and the model goes on where they end. How far it has come
is known to the session's owner only: where that dies, the model goes on from there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from parlour.agents.events import Action, MessageAction, parse_data
from parlour.agents.kinds import Agent, Planned, Situation
from parlour.agents.recording import Recorded, Trajectory
from parlour.core.agents import TAKES_INPUT, AgentState

Say = Callable[[str], Awaitable[Any]]


class ReplayAgent:
    """Wants what was recorded, one action after the other; then asks the agent behind it. Where the recorded
    person said something, it is said again."""

    def __init__(self, trajectory: Trajectory, behind: Agent, say: Say) -> None:
        self._tape = deque(
            one
            for one in trajectory.events
            if one.source == "agent" or one.type == "action:message"
        )
        self._behind = behind
        self._say = say

    async def step(self, situation: Situation) -> Sequence[Planned]:
        await self.speak()
        if not self._tape:
            return await self._behind.step(situation)
        recorded = self._tape.popleft()
        return [planned(recorded)]

    async def speak(self) -> None:
        """Say what the person says next, if that comes next."""
        while self._tape and self._tape[0].source == "user":
            action = parse_data(self._tape.popleft().data)
            assert isinstance(action, MessageAction)
            await self._say(action.content)

    async def changed(self, state: AgentState) -> None:
        """The agent rests: what the person said then begins the next run."""
        if state in TAKES_INPUT and self._tape and self._tape[0].source == "user":
            action = parse_data(self._tape.popleft().data)
            assert isinstance(action, MessageAction)
            await self._say(action.content)


def planned(recorded: Recorded) -> Planned:
    action = parse_data(recorded.data)
    assert isinstance(action, Action)
    kept: dict[str, Any] = {
        name: recorded.data[name] for name in ("usage", "tool") if name in recorded.data
    }
    return Planned(action, kept)
