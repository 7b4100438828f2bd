"""Documents in the process's own memory: for tests and for what may be lost."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from parlour.errors import NotFound, StaleGeneration
from parlour.ports import DocumentHead, DocumentLog


@dataclass(slots=True)
class _Document:
    epoch: str
    generation: int = 1
    snapshot: bytes | None = None
    base: int = 0
    updates: list[bytes] = field(default_factory=list)

    def head(self) -> DocumentHead:
        return DocumentHead(
            self.generation,
            self.epoch,
            self.base + len(self.updates),
            self.base,
            sum(map(len, self.updates)),
            len(self.snapshot or b""),
        )


class MemoryDocumentStore:
    """`ports.DocumentStore` without anything behind it."""

    def __init__(self) -> None:
        self._documents: dict[str, _Document] = {}
        self._deleted: set[str] = set()
        self._epoch = uuid.uuid4().hex[:16]

    async def create(self, document_id: str) -> DocumentHead:
        if document_id in self._deleted:
            raise NotFound("This document was deleted.")
        return self._documents.setdefault(document_id, _Document(self._epoch)).head()

    async def head(self, document_id: str) -> DocumentHead:
        return self._one(document_id).head()

    async def append(
        self, document_id: str, updates: Sequence[bytes], *, generation: int
    ) -> DocumentHead:
        document = self._fenced(document_id, generation)
        document.updates.extend(updates)
        return document.head()

    async def read(
        self, document_id: str, *, after: int | None = None, limit: int = 1000
    ) -> DocumentLog:
        document = self._one(document_id)
        snapshot, start = None, 0
        if after is None or after < document.base:
            snapshot = document.snapshot
        else:
            start = after - document.base
        found = document.updates[start : start + limit]
        return DocumentLog(document.head(), snapshot, found, document.base + start + len(found))

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
        document = self._fenced(document_id, generation)
        if (document.epoch, document.base) != (epoch, base):
            return False
        if not base < through <= document.head().offset:
            return False
        del document.updates[: through - base]
        document.snapshot, document.base = snapshot, through
        return True

    async def renew(self, document_id: str, snapshot: bytes, *, generation: int) -> DocumentHead:
        document = self._fenced(document_id, generation)
        document.base = document.head().offset + 1
        document.generation += 1
        document.snapshot, document.updates = snapshot, []
        return document.head()

    async def delete(self, document_id: str) -> None:
        self._deleted.add(document_id)
        self._documents.pop(document_id, None)

    async def close(self) -> None:
        return None

    def _one(self, document_id: str) -> _Document:
        document = self._documents.get(document_id)
        if document is None:
            raise NotFound("There is no such document.")
        return document

    def _fenced(self, document_id: str, generation: int) -> _Document:
        document = self._one(document_id)
        if document.generation != generation:
            raise StaleGeneration(generation=document.generation)
        return document
