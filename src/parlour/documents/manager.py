"""The documents of a node: which are open, who may be in them, when they are let go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import structlog

from parlour.core.documents import note_of, room_of
from parlour.documents.access import admit, permission_of
from parlour.documents.author import running
from parlour.documents.content import Content
from parlour.documents.notes import Notes
from parlour.documents.open_document import OpenDocument
from parlour.documents.room import Member
from parlour.documents.versions import Versions
from parlour.errors import (
    Forbidden,
    NotFound,
    ParlourError,
    RateLimited,
    StaleGeneration,
    Unavailable,
)
from parlour.server.connections import Caller, Connection
from parlour.server.router import Routes

if TYPE_CHECKING:
    from parlour.server.node import Node

log = structlog.get_logger(__name__)

REVIEW_SECONDS: Final = 0.5
CHECK_SECONDS: Final = 3.0
ANNOUNCE_SECONDS: Final = 10.0
EVICT_IDLE_MS: Final = 10 * 60 * 1000
AT_ONCE: Final = 200


class Documents:
    """A part of the node (`server.parts`)."""

    def __init__(self, node: Node, tables: Sequence[Routes] = ()) -> None:
        self.tables = tables
        self.node = node
        self.notes = Notes(self)
        self.versions = Versions(self)
        self._open: dict[str, OpenDocument] = {}
        self._opening: dict[str, asyncio.Lock] = {}
        self._stopped = False
        node.registrar.departed.append(self._departed)
        sweeper, settings = node.sweeper, node.settings
        sweeper.add("document access", REVIEW_SECONDS, self._review_all, "documents")
        sweeper.add("idle documents", 1.0, self._close_idle, "documents")
        sweeper.add("unsaved notes", 30.0, self._save_lagging, "documents")
        if not settings.embedded:
            sweeper.add("documents behind", CHECK_SECONDS, self._check_all, "documents")
            sweeper.add("people in documents", ANNOUNCE_SECONDS, self._announce_all, "documents")
        if node.documents_behind is not None:
            sweeper.add(
                "documents to the database",
                settings.document_sync_seconds,
                self._settle,
                "documents",
            )
            sweeper.add("resting documents", 60.0, self._evict, "documents")
        node.metrics.observe("documents_open", "Documents in memory", lambda: len(self._open))

    async def start(self) -> None:
        """Nothing waits for documents: they are opened when somebody asks."""
        running.append(self)

    async def stop(self) -> None:
        """Everything that is applied is stored, and every text is saved."""
        self._stopped = True
        if self in running:
            running.remove(self)
        open_now, self._open = list(self._open.values()), {}
        await asyncio.gather(*(document.close() for document in open_now))
        if self.node.documents_behind is not None:
            await self._settle()

    # -- opening ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def hold(self, document_id: str) -> AsyncIterator[OpenDocument]:
        """The document, open at least until the block ends. Raises `NotFound`, `Unavailable`."""
        document = await self._acquire(document_id)
        document.holds += 1
        try:
            yield document
        finally:
            document.holds -= 1
            document.idle_since = self.node.clock.monotonic()

    def find(self, document_id: str) -> OpenDocument | None:
        """The document where it is open here."""
        return self._open.get(document_id)

    async def _acquire(self, document_id: str) -> OpenDocument:
        document = self._open.get(document_id)
        if document is not None:
            return document
        lock = self._opening.setdefault(document_id, asyncio.Lock())
        try:
            async with lock:
                document = self._open.get(document_id)
                if document is None:
                    document = await self._read(document_id)
                return document
        finally:
            if not lock.locked():
                self._opening.pop(document_id, None)

    async def _read(self, document_id: str) -> OpenDocument:
        if self._stopped:
            raise Unavailable("This node is going away.")
        document = OpenDocument(self.node, document_id, saved=self._saved, ended=self._ended)
        document.review = lambda: self._review_later(document)  # type: ignore[method-assign]
        await document.open()
        document.idle_since = self.node.clock.monotonic()
        self._open[document_id] = document
        return document

    def _ended(self, document: OpenDocument, error: ParlourError) -> None:
        if self._open.get(document.id) is document:
            del self._open[document.id]
        self.node.tasks.spawn(document.close(), f"close {document.id}")

    async def _close_idle(self) -> None:
        limit = self.node.clock.monotonic() - self.node.settings.document_idle_seconds
        for document in list(self._open.values()):
            if document.holds or document.room.members or document.idle_since > limit:
                continue
            if document.saver.waiting or document.replica.busy:
                continue
            del self._open[document.id]
            await document.close()

    # -- connections -----------------------------------------------------------------------------

    async def join(
        self,
        caller: Caller,
        document_id: str,
        *,
        listed: bool,
        color: str,
    ) -> tuple[OpenDocument, Member]:
        """Check, open, and wait until what is here is stored. Raises `NotFound`, `RateLimited`, …"""
        connection = require_connection(caller)
        if room_of(document_id) not in connection.rooms:
            self._limit(connection)
        admitted = await admit(self.node.notes, note_of(document_id), caller.user)
        document = await self._acquire(document_id)
        document.holds += 1
        try:
            await document.replica.settled()
        finally:
            document.holds -= 1
        if document.replica.over is not None:
            raise document.replica.over
        member = Member(connection, listed, admitted.writes, admitted.note.access_version)
        if not connection.left:
            document.enter(member, color)
        return document, member

    def _limit(self, connection: Connection) -> None:
        limit = self.node.settings.documents_per_connection
        if sum(room.startswith("doc_") for room in connection.rooms) >= limit:
            raise RateLimited(f"A connection may have {limit} documents open.", limit=limit)

    def member(self, caller: Caller, document_id: str) -> tuple[OpenDocument, Member]:
        """Where a connection has joined. Raises `Forbidden`."""
        note_of(document_id)
        document = self._open.get(document_id)
        connection = require_connection(caller)
        member = None if document is None else document.room.members.get(connection)
        if document is None or member is None:
            raise Forbidden("Join the document first.")
        return document, member

    def writer(
        self, caller: Caller, document_id: str, generation: int | None
    ) -> tuple[OpenDocument, Member]:
        """Also raises `StaleGeneration`."""
        document, member = self.member(caller, document_id)
        if not member.writes:
            raise Forbidden("You may only read this document.")
        present = document.replica.generation
        if generation is not None and generation != present:
            raise StaleGeneration(generation=present)
        return document, member

    # -- access ----------------------------------------------------------------------------------

    async def access_changed(self, note_id: str, document_id: str) -> None:
        """A note's grants changed: this node acts at once, the others when they hear of it."""
        document = self._open.get(document_id)
        if document is not None:
            document.tell_access()
            await self._review(document)

    def _review_later(self, document: OpenDocument) -> None:
        self.node.tasks.spawn(self._review(document), f"review {document.id}")

    async def _review_all(self) -> None:
        """What was told to this node may have been lost: compare what every open note says."""
        busy = {one.note_id: one for one in self._open.values() if one.room.members}
        if not busy:
            return
        versions = await self.node.notes.access_versions(list(busy))
        for note_id, document in busy.items():
            known = {member.access_version for member in document.room.members.values()}
            if known != {versions.get(note_id)}:
                await self._review(document)

    async def _review(self, document: OpenDocument) -> None:
        """Ask again for everybody; who is not known to be allowed leaves."""
        people = {one.user.id: one.user for one in document.room.members}
        for user in people.values():
            note = await self.node.notes.note(document.note_id, user)
            permission = None if note is None else permission_of(note, user)
            for connection, member in list(document.room.members.items()):
                if connection.user.id != user.id:
                    continue
                if note is None or permission is None:
                    document.room.expel(connection, "deleted" if note is None else "removed")
                    continue
                member.access_version = note.access_version
                if member.writes != (permission != "read"):
                    member.writes = not member.writes
                    self.notes.tell_permission(document, connection, permission)

    # -- saving and keeping ----------------------------------------------------------------------

    def _saved(self, document: OpenDocument, content: Content, version: int) -> None:
        self.node.tasks.spawn(
            self.versions.saved(document, content, version), f"after saving {document.id}"
        )

    async def _save_lagging(self) -> None:
        """Save what a node that died had stored and not saved."""
        for note_id in await self.node.notes.lagging(AT_ONCE):
            try:
                await self.notes.settle_text(note_id)
            except ParlourError as error:
                log.warning("a note is not saved yet", note=note_id, error=str(error))

    async def _settle(self) -> None:
        behind = self.node.documents_behind
        if behind is None:
            return
        while dirty := await behind.dirty(AT_ONCE):
            for document_id in dirty:
                await behind.settle(document_id)
            if len(dirty) < AT_ONCE:
                return

    async def _evict(self) -> None:
        if self.node.documents_behind is not None:
            await self.node.documents_behind.evict(EVICT_IDLE_MS, AT_ONCE)

    # -- other nodes -----------------------------------------------------------------------------

    async def _check_all(self) -> None:
        for document in list(self._open.values()):
            try:
                await document.replica.check()
            except Unavailable as error:
                log.warning("a document cannot be checked", document=document.id, error=str(error))
                return

    async def _announce_all(self) -> None:
        for document in list(self._open.values()):
            document.announce()

    def _departed(self, node_id: str) -> None:
        for document in list(self._open.values()):
            document.departed(node_id)

    # -- for others ------------------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """Numbers for tests and benchmarks."""
        return {
            "open": len(self._open),
            "members": sum(len(one.room) for one in self._open.values()),
        }


def require_connection(caller: Caller) -> Connection:
    """Raises `NotFound` for callers without a socket: documents are joined on one."""
    if caller.connection is None:
        raise NotFound("Documents are joined over a socket.")
    return caller.connection
