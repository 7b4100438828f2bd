"""Who has a document open, on all nodes, and what their editors say of themselves (awareness).

Each node's people are one slot, replaced or changed by what that node tells; a node that dies takes
its slot with it. Pure: whoever calls tells the connections.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from parlour.core.documents import AwarenessState, newer, signed
from parlour.wire.told import DocumentPerson


@dataclass(slots=True)
class Participant:
    """One connection in the document. `states` are its editor's, by client id."""

    sid: str
    session_id: str
    user_id: str
    name: str
    color: str
    states: dict[int, AwarenessState] = field(default_factory=dict)

    def to_wire(self) -> dict[str, Any]:
        """For the other nodes."""
        return {
            "sid": self.sid,
            "session_id": self.session_id,
            "user_id": self.user_id,
            "name": self.name,
            "color": self.color,
            "states": [[s.client, s.clock, s.state] for s in self.states.values()],
        }

    @classmethod
    def from_wire(cls, told: Mapping[str, Any]) -> Participant:
        states = {client: AwarenessState(client, clock, s) for client, clock, s in told["states"]}
        return cls(
            told["sid"],
            told["session_id"],
            told["user_id"],
            told["name"],
            told["color"],
            states,
        )

    def person(self, document_id: str) -> DocumentPerson:
        """The payload of `ydoc:user:joined` and `ydoc:user:left`."""
        return {
            "document_id": document_id,
            "user_id": self.user_id,
            "user_name": self.name,
            "user_color": self.color,
        }


@dataclass(frozen=True, slots=True)
class Moved:
    """What changed: users who are there now and were not, those who left, and awareness."""

    joined: tuple[Participant, ...] = ()
    left: tuple[Participant, ...] = ()
    states: tuple[AwarenessState, ...] = ()


class Participants:
    """By node and connection."""

    def __init__(self) -> None:
        self._slots: dict[str, dict[str, Participant]] = {}

    def __iter__(self) -> Iterator[Participant]:
        for slot in self._slots.values():
            yield from slot.values()

    def of(self, node: str) -> list[Participant]:
        return list(self._slots.get(node, {}).values())

    def find(self, node: str, sid: str) -> Participant | None:
        return self._slots.get(node, {}).get(sid)

    def states(self) -> list[AwarenessState]:
        """Every state that is not gone."""
        return [s for one in self for s in one.states.values() if s.state is not None]

    def users(self) -> list[Participant]:
        """One participant of each user."""
        return list({one.user_id: one for one in self}.values())

    # -- changes ---------------------------------------------------------------------------------

    def enter(self, node: str, participants: Iterable[Participant]) -> Moved:
        """Add connections of a node, or renew what is known of them."""
        before = {one.user_id for one in self}
        slot = self._slots.setdefault(node, {})
        changed: list[AwarenessState] = []
        for one in participants:
            known = slot.get(one.sid)
            for client, state in one.states.items():
                if newer(known.states.get(client) if known else None, state):
                    changed.append(state)
            slot[one.sid] = one
        joined = {one.user_id: one for one in slot.values() if one.user_id not in before}
        return Moved(joined=tuple(joined.values()), states=tuple(changed))

    def leave(self, node: str, sids: Iterable[str]) -> Moved:
        """Connections of a node are gone."""
        slot = self._slots.get(node, {})
        gone = [slot.pop(sid) for sid in sids if sid in slot]
        if not slot:
            self._slots.pop(node, None)
        still = {one.user_id for one in self}
        kept = {client for one in self for client in one.states}
        left = {one.user_id: one for one in gone if one.user_id not in still}
        ended = [
            AwarenessState(state.client, state.clock + 1, None)
            for one in gone
            for state in one.states.values()
            if state.state is not None and state.client not in kept
        ]
        return Moved(left=tuple(left.values()), states=tuple(ended))

    def replace(self, node: str, participants: Iterable[Participant]) -> Moved:
        """A node told all that it has."""
        told = {one.sid: one for one in participants}
        gone = self.leave(node, [one.sid for one in self.of(node) if one.sid not in told])
        came = self.enter(node, told.values())
        return Moved(came.joined, gone.left, gone.states + came.states)

    def depart(self, node: str) -> Moved:
        """A node is gone, and everybody on it."""
        return self.leave(node, [one.sid for one in self.of(node)])

    def tell(self, node: str, sid: str, states: Iterable[AwarenessState]) -> list[AwarenessState]:
        """What a connection says of itself; gives back what is news, under its verified name. A client id
        that somebody else uses is not this connection's to speak for."""
        speaker = self.find(node, sid)
        if speaker is None:
            return []
        news = []
        for state in states:
            other = self._user_of(state.client)
            if other is not None and other != speaker.user_id:
                continue
            if newer(speaker.states.get(state.client), state):
                told = signed(state, speaker.user_id, speaker.name)
                speaker.states[state.client] = told
                news.append(told)
        self._bound(speaker)
        return news

    def _user_of(self, client: int) -> str | None:
        for one in self:
            state = one.states.get(client)
            if state is not None and state.state is not None:
                return one.user_id
        return None

    def _bound(self, speaker: Participant) -> None:
        """An editor that is gone need not be remembered for ever, nor any number of them."""
        ended = [c for c, state in speaker.states.items() if state.state is None]
        for client in [*ended, *speaker.states][: max(0, len(speaker.states) - KEPT_STATES)]:
            speaker.states.pop(client, None)


KEPT_STATES = 8
