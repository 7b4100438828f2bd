"""Documents in Redis, in front of a lasting store: the newest updates are here, older ones there.

A document's updates after `settled` stand in one list, its numbers in one hash. The lasting store
holds everything up to `settled` and all snapshots. Writing behind is safe to do from any node at
once: the lasting store skips what it has, by offset and epoch. An `epoch` is one life of a document
in Redis: when Redis lost its data, the next life has another one and offsets may be given again;
whoever has the document open notices and puts back what is missing.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Protocol
from weakref import WeakValueDictionary

import structlog

from parlour.backends.redis.connection import Redis
from parlour.backends.redis.scripts import script
from parlour.errors import NotFound, StaleGeneration, Unavailable
from parlour.ports import DocumentHead, DocumentLog, DocumentStore

log = structlog.get_logger(__name__)

SETTLED_AT_ONCE: Final = 500
UNSETTLED_BYTES: Final = 16_000_000
"""What one document may hold here that the lasting store lacks; beyond it appends are refused."""

FENCE_MS: Final = 10_000
HEAD: Final = 8
"""Numbers of a head in a script's answer, behind its status."""

EVERYTHING: Final = 10_000_000


class LastingDocuments(DocumentStore, Protocol):
    """A store that can be written behind."""

    async def absorb(
        self,
        document_id: str,
        updates: Sequence[bytes],
        *,
        generation: int,
        epoch: str,
        after: int,
    ) -> DocumentHead: ...


class _Found:
    """A document as Redis has it."""

    def __init__(self, answer: Sequence[bytes]) -> None:
        numbers = answer[1 : 1 + HEAD]
        self.settled = int(numbers[7])
        self.head = DocumentHead(
            generation=int(numbers[0]),
            epoch=numbers[1].decode(),
            offset=int(numbers[2]),
            base=int(numbers[3]),
            log_bytes=int(numbers[4]) + int(numbers[5]),
            snapshot_bytes=int(numbers[6]),
        )
        self.updates = list(answer[1 + HEAD :])


class RedisDocumentStore:
    """`ports.HotDocuments`. With `settles` an append returns when the lasting store has it."""

    def __init__(self, redis: Redis, lasting: LastingDocuments, *, settles: bool = False) -> None:
        self._redis = redis
        self._lasting = lasting
        self._settles = settles
        self._settling: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def create(self, document_id: str) -> DocumentHead:
        await self._lasting.create(document_id)
        return await self.head(document_id)

    async def head(self, document_id: str) -> DocumentHead:
        return (await self._find(document_id, 0, 0)).head

    async def append(
        self, document_id: str, updates: Sequence[bytes], *, generation: int
    ) -> DocumentHead:
        keys = self._keys(document_id, "meta", "updates", "fence", "dirty", "used")
        first = (document_id, generation, UNSETTLED_BYTES)
        for _ in range(3):
            answer = await self._redis.run_with(
                script("document_append"), keys, lambda run: (*first, run, _new_epoch(), *updates)
            )
            match answer[0]:
                case b"ok":
                    if self._settles:
                        await self.settle(document_id)
                    return _Found(answer).head
                case b"stale":
                    raise StaleGeneration(generation=int(answer[1]))
                case b"fenced":
                    raise Unavailable("The document begins a new history; try again.")
                case b"full":
                    raise Unavailable("Too much of this document waits for the database.")
                case _:
                    await self._take_up(document_id)
        raise Unavailable("The document could not be taken up; try again.")

    async def read(
        self, document_id: str, *, after: int | None = None, limit: int = 1000
    ) -> DocumentLog:
        while True:
            found = await self._find(document_id, -1 if after is None else after, limit)
            if after is not None and after >= found.settled:
                return DocumentLog(found.head, None, found.updates, after + len(found.updates))
            older = await self._lasting.read(document_id, after=after, limit=limit)
            room = limit - len(older.updates)
            newer = await self._find(document_id, older.through, room)
            if newer.head.epoch != found.head.epoch or older.through < newer.settled:
                if len(older.updates) >= limit:
                    return replace(older, head=newer.head)
                continue  # it was settled, or lost, between the two reads
            updates = [*older.updates, *newer.updates]
            return DocumentLog(
                newer.head, older.snapshot, updates, older.through + len(newer.updates)
            )

    async def compact(
        self,
        document_id: str,
        snapshot: bytes,
        *,
        generation: int,
        epoch: str,
        base: int,
        through: int,
    ) -> bool:
        head = await self.head(document_id)
        if head.generation != generation:
            raise StaleGeneration(generation=head.generation)
        await self.settle(document_id)
        if (await self.head(document_id)).epoch != epoch:
            return False
        # What is settled keeps its numbers, whatever happens to Redis.
        lasting = await self._lasting.head(document_id)
        done = await self._lasting.compact(
            document_id,
            snapshot,
            generation=generation,
            epoch=lasting.epoch,
            base=base,
            through=through,
        )
        await self._agree(document_id)
        return done

    async def renew(self, document_id: str, snapshot: bytes, *, generation: int) -> DocumentHead:
        head = await self.head(document_id)
        if head.generation != generation:
            raise StaleGeneration(generation=head.generation)
        async with _Fence(self._redis, self._keys(document_id, "fence")[0]):
            await self.settle(document_id)
            renewed = await self._lasting.renew(document_id, snapshot, generation=generation)
            await self._drop(document_id)
        return renewed

    async def delete(self, document_id: str) -> None:
        async with _Fence(self._redis, self._keys(document_id, "fence")[0]):
            await self._lasting.delete(document_id)
            await self._drop(document_id)

    async def close(self) -> None:
        """Redis is closed by whoever opened it."""

    # -- writing behind --------------------------------------------------------------------------

    async def dirty(self, limit: int) -> Sequence[str]:
        found: list[str] = []
        for key in self._redis.keys.parts("documents-dirty"):
            names = await self._redis.call("ZRANGE", key, 0, limit - 1)
            found += [name.decode() for name in names]
        return found[:limit]

    async def settle(self, document_id: str) -> None:
        lock = self._settling.get(document_id)
        if lock is None:
            lock = self._settling[document_id] = asyncio.Lock()
        async with lock:
            while await self._settle_some(document_id):
                continue

    async def _settle_some(self, document_id: str) -> bool:
        """Move one portion; whether there may be more."""
        found = await self._present(document_id, EVERYTHING, 0)
        if found is None:
            return False
        found = await self._present(document_id, found.settled, SETTLED_AT_ONCE)
        if found is None or not found.updates:
            return found is not None and found.head.offset > found.settled
        through = found.settled + len(found.updates)
        try:
            head = await self._lasting.absorb(
                document_id,
                found.updates,
                generation=found.head.generation,
                epoch=found.head.epoch,
                after=found.settled,
            )
        except (NotFound, StaleGeneration):
            log.warning("a document's old updates are dropped", document=document_id)
            await self._drop(document_id)
            return False
        await self._note(document_id, found.head.epoch, through, head)
        return True

    async def _note(self, document_id: str, epoch: str, through: int, head: DocumentHead) -> None:
        values = (
            document_id,
            epoch,
            through,
            head.epoch,
            head.offset,
            head.base,
            head.log_bytes,
            head.snapshot_bytes,
        )
        keys = self._keys(document_id, "meta", "updates", "dirty")
        await self._redis.run(script("document_settled"), keys, values)

    async def _agree(self, document_id: str) -> None:
        """Note what the lasting store's compaction changed, where nothing else moved meanwhile."""
        found = await self._present(document_id, EVERYTHING, 0)
        head = await self._lasting.head(document_id)
        if found is None or (head.epoch, head.offset) != (found.head.epoch, found.settled):
            return
        await self._note(document_id, found.head.epoch, found.settled, head)

    async def evict(self, idle_ms: int, limit: int) -> int:
        seconds, micros = await self._redis.call("TIME")
        before = int(seconds) * 1000 + int(micros) // 1000 - idle_ms
        gone = 0
        for key in self._redis.keys.parts("documents-used"):
            names = await self._redis.call(
                "ZRANGEBYSCORE", key, "-inf", before, "LIMIT", 0, limit - gone
            )
            for name in names:
                await self.settle(name.decode())
                gone += await self._drop(name.decode(), idle_before=before)
        return gone

    # -- one document ----------------------------------------------------------------------------

    async def _find(self, document_id: str, after: int, limit: int) -> _Found:
        """The document with its updates after `after`, taken up where it is not here."""
        while True:
            found = await self._present(document_id, after, limit, use=True)
            if found is not None:
                return found
            await self._take_up(document_id)

    async def _present(
        self, document_id: str, after: int, limit: int, *, use: bool = False
    ) -> _Found | None:
        keys = self._keys(document_id, "meta", "updates", "used")
        answer = await self._redis.run_with(
            script("document_read"),
            keys,
            lambda run: (document_id, after, limit, int(use), run, _new_epoch()),
        )
        return _Found(answer) if answer[0] == b"ok" else None

    async def _take_up(self, document_id: str) -> None:
        head = await self._lasting.head(document_id)
        values = (
            document_id,
            head.generation,
            _new_epoch(),
            head.offset,
            head.base,
            head.log_bytes,
            head.snapshot_bytes,
        )
        keys = self._keys(document_id, "meta", "used")
        await self._redis.run_with(script("document_open"), keys, lambda run: (*values, run))

    async def _drop(self, document_id: str, *, idle_before: int | None = None) -> int:
        keys = self._keys(document_id, "meta", "updates", "dirty", "used")
        values = (document_id, "" if idle_before is None else idle_before)
        return int(await self._redis.run(script("document_drop"), keys, values))

    def _keys(self, document_id: str, *parts: str) -> list[str]:
        keys, name = self._redis.keys, f"document:{document_id}"
        indexes = {"dirty": "documents-dirty", "used": "documents-used"}
        return [
            keys.index(indexes[part], name) if part in indexes else f"{keys.own(name)}:{part}"
            for part in parts
        ]


def _new_epoch() -> str:
    return uuid.uuid4().hex[:16]


class _Fence:
    """Refuses appends to one document for a moment; ends by itself."""

    def __init__(self, redis: Redis, key: str) -> None:
        self._redis = redis
        self._key = key

    async def __aenter__(self) -> None:
        await self._redis.call("SET", self._key, "1", "PX", FENCE_MS)

    async def __aexit__(self, *_: Any) -> None:
        await self._redis.call("DEL", self._key)
