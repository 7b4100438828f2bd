"""What a session's owner knows of its events: their fold, and the part of the history that a model is shown."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from parlour.agents.stream import EventStream
from parlour.core.agent_state import SessionState, fold
from parlour.core.agents import TERMINAL
from parlour.core.streams import Event

REMEMBERED: Final = 5_000
"""Newest events that a model's memory is made from."""

UNSAID: Final = frozenset(
    {
        "action:comment",
        "action:change_agent_state",
        "observation:input_taken",
        "observation:status",
    }
)
"""Events that no model is shown."""


CHANGED: Final = "observation:agent_state_changed"


class Ledger:
    """Hears a session's events in order. `state` is their fold at any time.

    A person's message is placed where the agent took it, not where it came in: between a call and its result,
    or in the middle of a run that it had to wait for, it would tell the model a wrong story."""

    def __init__(self, state: SessionState | None = None) -> None:
        self.state = state or SessionState()
        self._history: deque[Event] | None = None
        self._untaken: dict[int, Event] = {}

    def hear(self, event: Event) -> None:
        """The callback on the stream."""
        self.state = fold(self.state, [event])
        if self._history is not None:
            self._place(event)

    async def history(self, stream: EventStream) -> Sequence[Event]:
        """The events in the order in which the agent lived them; read once, then kept current."""
        if self._history is None:
            await self._load(stream)
        assert self._history is not None
        return list(self._history)

    async def _load(self, stream: EventStream) -> None:
        while True:
            until = stream.position.offset
            read = [
                event async for event in stream.search_events(max(1, until - REMEMBERED), until)
            ]
            if stream.position.offset != until:
                continue
            self._history, self._untaken = deque(maxlen=REMEMBERED), {}
            for event in read:
                self._place(event)
            return

    def forget(self) -> None:
        """Give the history back; it is read again when it is needed."""
        self._history, self._untaken = None, {}

    def _place(self, event: Event) -> None:
        assert self._history is not None
        if event.type == "action:message" and event.source.startswith("user:"):
            self._untaken[event.offset] = event
        elif event.type == "observation:input_taken":
            for taken in event.data.get("extras", {}).get("ids", ()):
                message = self._untaken.pop(taken, None)
                if message is not None:
                    self._history.append(message)
        elif event.type not in UNSAID and (event.type != CHANGED or _ends(event)):
            self._history.append(event)


def of_delegate(history: Sequence[Event], state: SessionState) -> Sequence[Event]:
    """What the agent at work is shown: a sub-agent its task and what happened since, the session's own agent
    everything but what sub-agents did."""
    if not state.delegates:
        return _without_delegates(history)
    begun = int(state.delegates[-1]["id"])
    for place, event in enumerate(history):
        if event.offset == begun:
            return [_as_task(event), *_without_delegates(history[place + 1 :])]
    return _without_delegates(history)


def _as_task(delegated: Event) -> Event:
    words = str(delegated.data.get("args", {}).get("task", ""))
    data = {"action": "message", "args": {"content": words}, "message": words}
    at = delegated
    return Event(at.stream, at.epoch, at.offset, "action:message", data, at.at, "user:delegate")


def _without_delegates(history: Sequence[Event]) -> list[Event]:
    """Leave out what sub-agents did that have ended, and the marks of where runs ended."""
    kept: list[Event] = []
    inside: str | None = None
    for event in history:
        if event.type == CHANGED:
            inside = None
        elif inside is None:
            kept.append(event)
            inside = str(event.offset) if event.type == "action:delegate" else None
        elif event.cause == inside and event.type.startswith("observation:"):
            inside = None
            kept.append(event)
    return kept


def _ends(event: Event) -> bool:
    """Whether a run ended here, with everything that went on in it."""
    return event.data.get("extras", {}).get("agent_state") in TERMINAL
