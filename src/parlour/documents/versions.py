"""Versions of notes: states that were kept, by a person or by themselves; compared and restored."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from parlour.core.documents import document_of
from parlour.core.users import User
from parlour.documents.access import admit, admit_writer
from parlour.documents.comparing import compare_texts
from parlour.documents.content import Content, from_json, shown_title, to_json, to_text
from parlour.documents.html import to_html
from parlour.documents.markdown_out import to_markdown
from parlour.documents.notes import NOBODY, PREVIEW
from parlour.documents.open_document import OpenDocument
from parlour.documents.replica import Author
from parlour.documents.writing import write_content
from parlour.errors import NotFound, ParlourError
from parlour.ports import NoteVersion

if TYPE_CHECKING:
    from parlour.documents.manager import Documents

log = structlog.get_logger(__name__)

Wire = dict[str, Any]


class Versions:
    """A version is what a note said, as a tree; every method that is for a user asks who may do it."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._node = documents.node
        self._store = documents.node.notes

    async def saved(self, document: OpenDocument, content: Content, version: int) -> None:
        """After each save: keep a version now and then."""
        now = self._node.clock.now_ms()
        every = self._node.settings.note_version_interval_seconds * 1000
        try:
            made = await self._store.add_version(
                self._version(document.note_id, content, version, None, "", automatic=True),
                unless_since=now - every,
            )
            if made:
                keep = self._node.settings.note_versions_kept
                await self._store.thin_versions(document.note_id, keep)
        except ParlourError as error:
            log.warning("no version was kept", note=document.note_id, error=str(error))

    async def keep(
        self, note_id: str, author: User | None, *, name: str = "", automatic: bool = False
    ) -> NoteVersion:
        """Keep the present state."""
        await self._documents.notes.settle_text(note_id)
        note = await self._store.note(note_id, NOBODY)
        if note is None:
            raise NotFound("There is no note with this id.")
        async with self._documents.hold(document_of(note_id)) as document:
            content = document.content()
        version = self._version(note_id, content, note.version, author, name, automatic=automatic)
        await self._store.add_version(version)
        if automatic:
            await self._store.thin_versions(note_id, self._node.settings.note_versions_kept)
        return version

    def _version(
        self,
        note_id: str,
        content: Content,
        version: int,
        author: User | None,
        name: str,
        *,
        automatic: bool,
    ) -> NoteVersion:
        return NoteVersion(
            id=self._node.new_id(),
            note_id=note_id,
            name=name,
            automatic=automatic,
            author=None if author is None else {"id": author.id, "name": author.name},
            created_at=self._node.clock.now_ms(),
            version=version,
            title=shown_title(content),
            preview=to_text(content.body)[:PREVIEW],
            content=to_json(content),
        )

    async def add(self, user: User, note_id: str, name: str) -> Wire:
        """A version that a person names."""
        await admit_writer(self._store, note_id, user)
        return _shown_version(await self.keep(note_id, user, name=name))

    async def page(
        self, user: User, note_id: str, *, cursor: str | None, limit: int
    ) -> tuple[list[Wire], str | None]:
        """Newest first."""
        await admit(self._store, note_id, user)
        found, more = await self._store.versions(note_id, cursor=cursor, limit=limit)
        return [_shown_version(one) for one in found], more

    async def read(self, user: User, note_id: str, version_id: str) -> Wire:
        """With its texts."""
        await admit(self._store, note_id, user)
        found, content = await self._kept(note_id, version_id)
        return {
            **_shown_version(found),
            "markdown": to_markdown(content.body),
            "html": to_html(content.body),
            "text": to_text(content.body),
        }

    async def compare(
        self, user: User, note_id: str, version_id: str, other_id: str | None
    ) -> list[Wire]:
        """What leads from a version to another one, or to the present text, over the Markdown."""
        await admit(self._store, note_id, user)
        _, old = await self._kept(note_id, version_id)
        if other_id is not None:
            _, new = await self._kept(note_id, other_id)
        else:
            async with self._documents.hold(document_of(note_id)) as document:
                await document.replica.check()
                new = document.content()
        return await asyncio.to_thread(
            lambda: compare_texts(to_markdown(old.body), to_markdown(new.body))
        )

    async def restore(self, user: User, note_id: str, version_id: str) -> Wire:
        """Make the note say what a version says, as an edit like any other."""
        await admit_writer(self._store, note_id, user)
        _, content = await self._kept(note_id, version_id)
        await self.keep(note_id, user, automatic=True)
        await self._documents.notes.edit(
            note_id, lambda doc: write_content(doc, content), Author(user.id)
        )
        return await self._documents.notes.read(user, note_id)

    async def forget(self, user: User, note_id: str, version_id: str) -> None:
        """Raises `NotFound`."""
        await admit_writer(self._store, note_id, user)
        if not await self._store.delete_version(note_id, version_id):
            raise NotFound("There is no such version.")

    async def _kept(self, note_id: str, version_id: str) -> tuple[NoteVersion, Content]:
        found = await self._store.note_version(note_id, version_id)
        if found is None or found.content is None:
            raise NotFound("There is no such version.")
        return found, from_json(found.content)


def _shown_version(version: NoteVersion) -> Wire:
    return {
        "id": version.id,
        "name": version.name,
        "automatic": version.automatic,
        "author": None if version.author is None else dict(version.author),
        "created_at": version.created_at,
        "version": version.version,
        "title": version.title,
        "preview": version.preview,
    }
