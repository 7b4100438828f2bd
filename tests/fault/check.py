"""What one reader saw, judged: lost, doubled, reordered; text against what is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from parlour.client import Snapshot
from parlour.core.streams import Event, Position
from parlour.core.thread import ThreadState, fold


@dataclass
class Reader:
    """Folds what a following gives, and counts what must never happen."""

    state: ThreadState = field(default_factory=ThreadState)
    position: Position | None = None
    events: int = 0
    snapshots: int = 0
    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    shrunk: int = 0
    reloaded: bool = False
    longest: dict[str, str] = field(default_factory=dict)

    def reloads(self) -> None:
        """The next snapshot was asked for; it must still hold everything that was seen."""
        self.reloaded = True

    def take(self, item: Event | Snapshot) -> None:
        if isinstance(item, Snapshot):
            self._restart(item)
        else:
            self._advance(item)
        for message in self.state.messages.values():
            self._compare_with_seen(message)

    def _restart(self, snapshot: Snapshot) -> None:
        if self.position is not None:
            self.snapshots += not self.reloaded
            self.reloaded = False
            same = snapshot.position.epoch == self.position.epoch
            if same and snapshot.position.offset < self.position.offset:
                self.lost += self.position.offset - snapshot.position.offset
        self.state = ThreadState.from_wire(snapshot.state, snapshot.state["messages"])
        self.position = snapshot.position

    def _advance(self, event: Event) -> None:
        assert self.position is not None, "an event came before any snapshot"
        expected = self.position.offset + 1
        if event.epoch != self.position.epoch:
            self.reordered += 1
        elif event.offset > expected:
            self.lost += max(0, event.offset - expected - _joined(event))
        elif event.offset == self.position.offset:
            self.doubled += 1
        elif event.offset < expected:
            self.reordered += 1
        self.state, _ = fold(self.state, [event])
        self.position = event.position
        self.events += 1

    def _compare_with_seen(self, message: Mapping[str, Any]) -> None:
        """What a client has seen never disappears: a text only ever grows in this run."""
        text, seen = message["content"], self.longest.get(message["id"], "")
        if text != seen:
            if not text.startswith(seen):
                self.shrunk += 1
            self.longest[message["id"]] = text


def _joined(event: Event) -> int:
    """How many events left with this one as one: deltas of one message may (`since` on the wire), and each
    that the app streams is one number."""
    return len(str(event.data["text"]).split()) - 1 if event.type == "message:delta" else 0


def count_errors(text: str, complete: int | None) -> tuple[int, int, int]:
    """`(lost, doubled, reordered)` of a text "0 1 2 …"; with `complete` it must hold that many numbers."""
    numbers = [int(word) for word in text.split()]
    lost = len(set(range(max(numbers, default=-1) + 1)) - set(numbers))
    doubled = len(numbers) - len(set(numbers))
    reordered = sum(1 for a, b in pairwise(numbers) if b < a)
    if complete is not None:
        lost += max(0, complete - len(numbers) - lost)
    return lost, doubled, reordered
