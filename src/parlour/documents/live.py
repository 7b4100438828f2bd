"""A document in memory: what is in it, and what waits for updates that have not come yet.

pycrdt's document keeps updates whose ground is missing to itself: they are in neither its state nor
its snapshot. So they are kept here as they came, until they are in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pycrdt import Doc, merge_updates

from parlour.core.documents import UpdateShape, read_state_vector, scan_update
from parlour.errors import InvalidPayload

EMPTY_UPDATE = b"\x00\x00"


@dataclass(frozen=True, slots=True)
class Applied:
    """What an update did: `news` is what became visible by it (None: nothing), `complete` whether
    nothing of it waits."""

    news: bytes | None
    complete: bool

    @property
    def known(self) -> bool:
        """Everything of it was here before."""
        return self.news is None and self.complete


class LiveDocument:
    """To be used by one thread only; `doc` may be read freely, but changed only by the methods."""

    def __init__(self) -> None:
        self.doc: Doc[Any] = Doc()
        self.pending: list[bytes] = []
        self._closed = False
        heard = self._heard = []
        # The closure must not hold this object: a cycle could be collected in another thread.
        self._subscription = self.doc.observe(lambda event: heard.append(event.update))

    _heard: list[bytes]

    @property
    def pending_bytes(self) -> int:
        return sum(map(len, self.pending))

    def apply(self, update: bytes, *, checked: bool = False) -> Applied:
        """Raises `InvalidPayload` for what is not a whole, well-formed update; then nothing changed.
        `checked`: it comes from the log, where only such updates are."""
        shape = None if checked else scan_update(update)
        if shape is not None and shape.empty:
            return Applied(None, True)
        news = self._merge(update)
        complete = news == update or (shape or scan_update(update)).covered_by(self.state())
        if not complete and update not in self.pending:
            self.pending.append(update)
        if news is not None and self.pending:
            self._sort_out()
        return Applied(news, complete)

    def load(self, snapshot: bytes) -> bytes | None:
        """Apply a snapshot of the store, in which nothing is pending; gives back what is news by it."""
        news = self._merge(snapshot)
        if news is not None and self.pending:
            self._sort_out()
        return news

    def edit(self, work: Callable[[Doc[Any]], None]) -> bytes | None:
        """Change the document here; gives back the update that says so, None where nothing changed."""
        del self._heard[:]
        with self.doc.transaction():
            work(self.doc)
        return self._take()

    def _merge(self, update: bytes) -> bytes | None:
        del self._heard[:]
        try:
            self.doc.apply_update(update)
        except ValueError as error:
            raise InvalidPayload("This is not an update of a document.", field="update") from error
        return self._take()

    def _take(self) -> bytes | None:
        heard = self._heard[0] if self._heard else None
        del self._heard[:]
        return None if heard == EMPTY_UPDATE else heard

    def _sort_out(self) -> None:
        """Forget what is in by now."""
        state = self.state()
        shapes: list[tuple[bytes, UpdateShape]] = [(one, scan_update(one)) for one in self.pending]
        self.pending = [update for update, shape in shapes if not shape.covered_by(state)]

    def state(self) -> dict[int, int]:
        return read_state_vector(self.doc.get_state())

    def state_vector(self) -> bytes:
        return self.doc.get_state()

    def snapshot(self) -> bytes:
        """Everything that is in, as one update. What is pending is not."""
        return self.doc.get_update()

    def since(self, state_vector: bytes | None) -> bytes:
        """What a copy in this state lacks, with what is pending. Raises `InvalidPayload`."""
        if state_vector is not None:
            read_state_vector(state_vector)
        found = self.doc.get_update(state_vector or None)
        return merge_updates(found, *self.pending) if self.pending else found

    def close(self) -> None:
        """Let the CRDT go, here and now: it may be freed only by the thread that made it, and whatever holds
        this object may be collected by any."""
        if not self._closed:
            self._closed = True
            self.doc.unobserve(self._subscription)
            del self.doc, self._subscription
