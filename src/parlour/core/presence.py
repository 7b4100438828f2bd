"""Who is there, as a value that nodes can exchange in any order.

Each node writes one slot: the people connected to it, with a version that rises at each change. A
merge takes, slot by slot, the higher version; hence it is commutative, associative and idempotent,
needs no clock and leaves nothing behind (a person who leaves is simply not in the next version, a
node that dies takes its slot along).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

AWAY_AFTER_MS: Final = 90_000
"""Connected, but silent for three heartbeats."""


class Status(StrEnum):
    ONLINE = "online"
    AWAY = "away"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True, order=True)
class Present:
    """A person who is there; `away` where every connection is away."""

    id: str
    name: str
    away: bool = False

    @property
    def status(self) -> Status:
        return Status.AWAY if self.away else Status.ONLINE

    def to_wire(self) -> dict[str, Any]:
        return {"id": self.id, "name": self.name, "status": str(self.status)}


@dataclass(frozen=True, slots=True)
class Slot:
    """The people of one node. `version` is the node's own."""

    version: int
    people: Mapping[str, Present] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed between two presences."""

    joined: tuple[Present, ...] = ()
    left: tuple[Present, ...] = ()
    changed: tuple[Present, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.joined or self.left or self.changed)


@dataclass(frozen=True, slots=True)
class Presence:
    """Node → slot. Never changes; each step gives a new value."""

    slots: Mapping[str, Slot] = field(default_factory=dict)

    def join(self, node: str, person: Present, version: int) -> Presence:
        return self.change(node, version, present=[person])

    def leave(self, node: str, user_id: str, version: int) -> Presence:
        return self.change(node, version, gone=[user_id])

    def change(
        self,
        node: str,
        version: int,
        present: Iterable[Present] = (),
        gone: Iterable[str] = (),
    ) -> Presence:
        """The next version of a node's slot; a version that is not newer changes nothing."""
        slot = self.slots.get(node, Slot(0))
        if version <= slot.version:
            return self
        people = {**slot.people, **{person.id: person for person in present}}
        for user_id in gone:
            people.pop(user_id, None)
        return Presence({**self.slots, node: Slot(version, people)})

    def merge(self, other: Presence) -> Presence:
        """Slot by slot the newer one."""
        slots = dict(self.slots)
        for node, slot in other.slots.items():
            mine = slots.get(node)
            if mine is None or _rank(slot) > _rank(mine):
                slots[node] = slot
        return Presence(slots)

    def without(self, node: str) -> Presence:
        """The node is gone, and whoever was connected to it."""
        return Presence({name: slot for name, slot in self.slots.items() if name != node})

    def person(self, user_id: str) -> Present | None:
        """One person over all nodes: online where any connection is."""
        found = [slot.people[user_id] for slot in self.slots.values() if user_id in slot.people]
        return min(found, key=lambda one: (one.away, one.name), default=None)

    def people(self) -> dict[str, Present]:
        """Everybody who is there, by id."""
        ids = {user_id for slot in self.slots.values() for user_id in slot.people}
        return {user_id: person for user_id in sorted(ids) if (person := self.person(user_id))}

    def difference(self, after: Presence, user_ids: Iterable[str] | None = None) -> Difference:
        """How `after` differs from this, of these people (default: of everybody)."""
        if user_ids is None:
            user_ids = sorted({*self.people(), *after.people()})
        joined, left, changed = [], [], []
        for user_id in user_ids:
            before, now = self.person(user_id), after.person(user_id)
            if before is None and now is not None:
                joined.append(now)
            elif before is not None and now is None:
                left.append(before)
            elif before is not None and now is not None and before != now:
                changed.append(now)
        return Difference(tuple(joined), tuple(left), tuple(changed))


def _rank(slot: Slot) -> tuple[int, list[Present]]:
    """Versions decide; the people only where two slots claim the same version, so that even then the
    order of merges does not matter."""
    return slot.version, sorted(slot.people.values())


def status_at(last_seen: Iterable[int], now: int) -> Status:
    """A user's status by when each connection was last active (ms)."""
    newest = max(last_seen, default=None)
    if newest is None:
        return Status.OFFLINE
    return Status.ONLINE if now - newest < AWAY_AFTER_MS else Status.AWAY
