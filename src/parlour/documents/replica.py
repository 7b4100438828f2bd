"""One document on this node: the live copy, and its place in the log that all nodes share.

Every node may append. A change is applied here at once, stored together with what came meanwhile,
and only then acknowledged and told to anybody: what somebody has seen is in the log. Changes of other
nodes arrive over the bus with their offsets; a gap is read from the store. Since updates commute, it
does not matter in which order two nodes apply them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from pycrdt import Doc, get_update

from parlour.core.documents import (
    COMPACT_UPDATES,
    PENDING_BYTES,
    PENDING_UPDATES,
    wants_compaction,
)
from parlour.documents.live import Applied, LiveDocument
from parlour.errors import (
    Conflict,
    InvalidPayload,
    NotFound,
    ParlourError,
    StaleGeneration,
    TooLarge,
    Unavailable,
)
from parlour.ports import DocumentHead, DocumentStore
from parlour.server.tasks import Tasks

log = structlog.get_logger(__name__)

READ_AT_ONCE: Final = 500
WRITTEN_AT_ONCE: Final = 200
WAITING: Final = 2_000
"""Changes that may wait for the store; more are refused."""

FIRST_WAIT: Final = 0.1
LONGEST_WAIT: Final = 5.0
CLOSING_UPDATES: Final = 20
"""A log that is longer is compacted when the document leaves the memory."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who made a change, and on which connection."""

    user_id: str
    sid: str | None = None


@dataclass(slots=True)
class Change:
    """An update on its way into the log."""

    update: bytes
    author: Author | None
    stored: asyncio.Future[int] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Told:
    """A change that is in the log, for whoever has the document open here."""

    update: bytes
    author: Author | None
    offset: int


@dataclass(frozen=True, slots=True)
class Stored:
    """Changes of this node that were stored together: the other nodes are told."""

    generation: int
    epoch: str
    first: int
    changes: Sequence[Change]


class Replica:
    """`tell` hears changes once they are in the log, `publish` those that this node stored, `ended`
    that the document is gone or has begun a new history. None of them may wait or raise."""

    def __init__(
        self,
        document_id: str,
        store: DocumentStore,
        tasks: Tasks,
        *,
        limit: int,
        tell: Callable[[Sequence[Told]], None],
        publish: Callable[[Stored], None],
        ended: Callable[[ParlourError], None],
    ) -> None:
        self.document_id = document_id
        self.live = LiveDocument()
        self.head = DocumentHead(0, "", 0)
        self.known = 0
        """Everything up to this offset is in the live copy."""
        self.over: ParlourError | None = None
        self._store = store
        self._tasks = tasks
        self._limit = limit
        self._tell = tell
        self._publish = publish
        self._ended = ended
        self._queue: deque[Change] = deque()
        self._writing: list[Change] = []
        self._writer: asyncio.Task[None] | None = None
        self._reading = asyncio.Lock()
        self._size = 0
        self._grown = 0
        self._refused = 0

    @property
    def generation(self) -> int:
        return self.head.generation

    @property
    def epoch(self) -> str:
        return self.head.epoch

    @property
    def busy(self) -> bool:
        """Something here is not stored yet."""
        return bool(self._queue or self._writing)

    # -- opening and closing ---------------------------------------------------------------------

    async def open(self) -> None:
        """Read the whole log. Raises `NotFound`, `Unavailable`."""
        async with self._reading:
            log_part = await self._store.read(self.document_id, limit=READ_AT_ONCE)
            self.head = log_part.head
            self._take(log_part.snapshot, log_part.updates, log_part.through)
            while self.known < log_part.head.offset:
                log_part = await self._store.read(
                    self.document_id, after=self.known, limit=READ_AT_ONCE
                )
                self.head = log_part.head
                self._take(log_part.snapshot, log_part.updates, log_part.through)
        self._size, self._grown = self.head.snapshot_bytes, self.head.log_bytes

    async def close(self) -> None:
        """Wait for what is on its way, and leave a short log behind."""
        try:
            await self.settled()
            if self.over is None and self.head.offset - self.head.base >= CLOSING_UPDATES:
                await self._compact()
        except ParlourError as error:
            log.warning("a document was closed early", document=self.document_id, error=str(error))
        if self._writer is not None:
            self._writer.cancel()
        self.over = self.over or Unavailable("The document was closed; try again.")
        self._fail(self.over)
        self.live.close()

    # -- changes of this node --------------------------------------------------------------------

    async def submit(self, update: bytes, author: Author | None) -> int:
        """Take an update; gives back its offset once it is stored. One that brings nothing new is stored
        no second time.

        Raises `InvalidPayload`, `TooLarge`, `Conflict`, `StaleGeneration`, `NotFound`, `Unavailable`.
        """
        self._check_open()
        self._check_size(update)
        applied = self.live.apply(update)
        if applied.known:
            await self.settled()
            return self.known
        self._check_pending(update, applied)
        self._keep_refused(update, applied)
        return await self._enqueue(update, author)

    async def edit(self, work: Callable[[Doc[Any]], None], author: Author | None) -> int:
        """Change the document by a function; as `submit`."""
        self._check_open()
        update = self.live.edit(work)
        if update is None:
            await self.settled()
            return self.known
        return await self._enqueue(update, author)

    def note(self, update: bytes, author: Author | None) -> asyncio.Future[int]:
        """As `submit`, for an update that is applied already; the future is its offset."""
        return self._put(update, author).stored

    async def settled(self) -> None:
        """Wait until everything that came before is stored. Raises `Unavailable` where it cannot be."""
        self._check_open()
        waiting = [change.stored for change in (*self._writing, *self._queue)]
        if not waiting:
            return
        self._write_on()
        last = waiting[-1]
        if last.done():
            # It failed before and is tried again: whoever asks now hears how that goes.
            change = self._queue[-1] if self._queue else self._writing[-1]
            change.stored = last = asyncio.get_running_loop().create_future()
            last.add_done_callback(_seen)
        await asyncio.shield(last)

    async def _enqueue(self, update: bytes, author: Author | None) -> int:
        return await asyncio.shield(self._put(update, author).stored)

    def _put(self, update: bytes, author: Author | None) -> Change:
        stored: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        stored.add_done_callback(_seen)
        change = Change(update, author, stored)
        self._queue.append(change)
        self._grown += len(update)
        self._write_on()
        return change

    def _write_on(self) -> None:
        if self._writer is None or self._writer.done():
            self._writer = self._tasks.spawn(self._write(), f"write {self.document_id}")

    async def _write(self) -> None:
        wait = FIRST_WAIT
        while self._queue and self.over is None:
            while self._queue and len(self._writing) < WRITTEN_AT_ONCE:
                self._writing.append(self._queue.popleft())
            batch = self._writing
            try:
                head = await self._store.append(
                    self.document_id, [one.update for one in batch], generation=self.generation
                )
            except (NotFound, StaleGeneration) as error:
                self._end(error)
                return
            except ParlourError as error:
                # Nobody is told that it is stored; what is applied here has to get into the log.
                log.warning("a document is not stored", document=self.document_id, error=str(error))
                self._fail(Unavailable("The document cannot be stored now; try again."))
                self._queue.extendleft(reversed(batch))
                self._writing = []
                await asyncio.sleep(wait)
                wait = min(LONGEST_WAIT, wait * 2)
                continue
            self._writing = []
            self._stored(batch, head)
            wait = FIRST_WAIT
            await self._compact_if_long()

    def _stored(self, batch: Sequence[Change], head: DocumentHead) -> None:
        first = head.offset - len(batch) + 1
        same = head.epoch == self.epoch
        if same:
            self.head = head
        if same and first == self.known + 1:
            self.known = head.offset
        else:
            self._tasks.spawn(self._catch_up_later(), f"catch up {self.document_id}")
        for offset, change in enumerate(batch, first):
            if not change.stored.done():
                change.stored.set_result(offset)
        self._tell(
            [Told(one.update, one.author, offset) for offset, one in enumerate(batch, first)]
        )
        self._publish(Stored(head.generation, head.epoch, first, batch))

    # -- limits ----------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self.over is not None:
            raise self.over
        if len(self._queue) >= WAITING:
            raise Unavailable("Too much of this document waits to be stored.")

    def _check_size(self, update: bytes) -> None:
        """The limit is on what the document's state takes, so only what is new counts, and taking something
        out is always possible."""
        if self._size + self._grown + len(update) <= self._limit:
            return
        self._measure()
        if self._size + len(update) <= self._limit:
            return
        try:
            new = get_update(update, self.live.state_vector())
        except ValueError as error:
            raise InvalidPayload("This is not an update of a document.") from error
        if new[:1] != b"\0" and self._size + len(new) > self._limit:
            raise TooLarge(
                f"The document would be larger than {self._limit} bytes.",
                limit=self._limit,
                size=self._size + len(new),
            )

    def _measure(self) -> None:
        self._size, self._grown = len(self.live.snapshot()), 0

    def _check_pending(self, update: bytes, applied: Applied) -> None:
        live = self.live
        if applied.complete or (
            len(live.pending) <= PENDING_UPDATES and live.pending_bytes <= PENDING_BYTES
        ):
            return
        live.pending.remove(update)
        self._refused += len(update)
        if self._refused > PENDING_BYTES:
            self._renew_live()
        self._keep_refused(update, applied)
        raise Conflict(
            "Too many updates wait for others that are not here: join again.", retryable_by="join"
        )

    def _keep_refused(self, update: bytes, applied: Applied) -> None:
        """The CRDT has refused updates too, and takes them in when their ground comes. What is in the
        document has to be in the log: else the next one to send it would hear that it is known."""
        if self._refused and applied.news is not None and applied.news != update:
            self._put(applied.news, None)

    def _renew_live(self) -> None:
        """Forget the refused updates that the CRDT keeps for itself."""
        old, self.live = self.live, LiveDocument()
        for update in (old.snapshot(), *old.pending):
            self.live.apply(update)
        self._refused = 0
        old.close()

    # -- changes of other nodes ------------------------------------------------------------------

    def hear(
        self,
        generation: int,
        epoch: str,
        first: int,
        updates: Sequence[tuple[bytes, Author | None]],
    ) -> None:
        """Updates that another node stored, as it told them."""
        strange = (generation, epoch) != (self.generation, self.epoch)
        if self.over is not None or (not strange and first + len(updates) - 1 <= self.known):
            return
        if strange or first > self.known + 1 or self._reading.locked():
            self._tasks.spawn(self._catch_up_later(), f"catch up {self.document_id}")
            return
        for offset, (update, author) in enumerate(updates, first):
            if offset > self.known:
                self._take_one(update, author, offset)
                self.known = offset

    def _take_snapshot(self, snapshot: bytes, offset: int) -> None:
        try:
            news = self.live.load(snapshot)
        except InvalidPayload:
            log.error("a document's snapshot cannot be read", document=self.document_id)
            return
        if news is not None:
            self._tell([Told(news, None, offset)])

    def _take_one(self, update: bytes, author: Author | None, offset: int) -> None:
        try:
            applied = self.live.apply(update, checked=True)
        except InvalidPayload:
            log.error(
                "an update of a document cannot be read", document=self.document_id, at=offset
            )
            return
        if not applied.known:
            self._grown += len(update)
            self._keep_refused(update, applied)
            self._tell([Told(update, author, offset)])

    async def _catch_up_later(self) -> None:
        try:
            await self.catch_up()
        except ParlourError as error:
            log.warning("a document is behind", document=self.document_id, error=str(error))

    async def check(self) -> None:
        """See whether anything was missed. Raises `Unavailable`."""
        if self.over is not None:
            return
        try:
            head = await self._store.head(self.document_id)
        except NotFound as error:
            self._end(error)
            return
        if (head.generation, head.epoch) != (
            self.generation,
            self.epoch,
        ) or head.offset > self.known:
            await self.catch_up()

    async def catch_up(self) -> None:
        """Read what the log has beyond what is known. Raises `Unavailable`."""
        async with self._reading:
            while self.over is None:
                try:
                    part = await self._store.read(
                        self.document_id, after=self.known, limit=READ_AT_ONCE
                    )
                except NotFound as error:
                    self._end(error)
                    return
                if self.over is not None:
                    return
                if part.head.generation != self.generation:
                    self._end(StaleGeneration(generation=part.head.generation))
                    return
                if part.head.epoch != self.epoch:
                    await self._heal()
                    return
                self._take(part.snapshot, part.updates, part.through)
                self.head = part.head
                if self.known >= part.head.offset:
                    return

    def _take(self, snapshot: bytes | None, updates: Sequence[bytes], through: int) -> None:
        if snapshot is not None:
            self._take_snapshot(snapshot, through)
        for update in updates:
            self._take_one(update, None, through)
        self.known = max(self.known, through)

    async def _heal(self) -> None:
        """The store lost its newest updates: whatever this node has of them goes back."""
        stored = LiveDocument()
        after: int | None = None
        while True:
            part = await self._store.read(self.document_id, after=after, limit=READ_AT_ONCE)
            for update in [*([part.snapshot] if part.snapshot is not None else []), *part.updates]:
                with suppress(
                    InvalidPayload
                ):  # a damaged record, which was told of when it was met
                    stored.apply(update)
            after = part.through
            if after >= part.head.offset:
                break
        if self.over is not None:
            stored.close()
            return
        self.head, self.known = part.head, after
        self._take_one(stored.since(None), None, after)
        lost = self.live.since(stored.state_vector())
        if not stored.apply(lost).known:
            log.warning("a document's lost updates are put back", document=self.document_id)
            self._put(lost, None)
        stored.close()

    # -- the log's length ------------------------------------------------------------------------

    async def _compact_if_long(self) -> None:
        head = self.head
        updates = head.offset - head.base
        if not wants_compaction(updates, head.log_bytes, head.snapshot_bytes):
            return
        try:
            if self.live.pending and updates >= 4 * COMPACT_UPDATES:
                await self._carry_forward()
            await self._compact()
        except ParlourError as error:
            log.warning("a document is not compacted", document=self.document_id, error=str(error))

    async def _compact(self) -> None:
        """Only what is complete: while something is pending, or unknown here, the log stays."""
        head = self.head
        if self.live.pending or self.busy or self.known != head.offset or self.over is not None:
            return
        await self._replace(head, self.live.snapshot(), head.offset)

    async def _carry_forward(self) -> None:
        """What has been pending for long is appended again, so that everything before it can go."""
        pending = list(self.live.pending)
        if self.known != self.head.offset or self._queue:
            return
        head = await self._store.append(self.document_id, pending, generation=self.generation)
        if head.offset != self.known + len(pending) or head.epoch != self.epoch:
            return
        self.head, self.known = head, head.offset
        await self._replace(head, self.live.snapshot(), head.offset - len(pending))

    async def _replace(self, head: DocumentHead, snapshot: bytes, through: int) -> None:
        await self._store.compact(
            self.document_id,
            snapshot,
            generation=head.generation,
            epoch=head.epoch,
            base=head.base,
            through=through,
        )
        self._size, self._grown = len(snapshot), 0
        after = await self._store.head(self.document_id)
        if (after.generation, after.epoch) == (self.generation, self.epoch):
            self.head = after

    # -- the end ---------------------------------------------------------------------------------

    def _end(self, error: ParlourError) -> None:
        if self.over is None:
            self.over = error
            self._fail(error)
            self._ended(error)

    def _fail(self, error: ParlourError) -> None:
        for change in (*self._writing, *self._queue):
            if not change.stored.done():
                change.stored.set_exception(error)


def _seen(stored: asyncio.Future[int]) -> None:
    """Nobody may wait any more for what failed."""
    if not stored.cancelled():
        stored.exception()
