"""Notes for app authors: open one, edit it, let everybody see it live.

async with cl.open_note(note_id) as note:
    note.append_markdown("## Summary")
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from pycrdt import Doc

from parlour.core.documents import document_of
from parlour.core.users import User
from parlour.documents.content import Content, shown_title, to_text
from parlour.documents.markdown_out import to_markdown
from parlour.documents.open_document import OpenDocument
from parlour.documents.replica import Author
from parlour.documents.writing import (
    append_markdown,
    insert_text,
    replace_text,
    write_markdown,
    write_title,
)
from parlour.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from parlour.documents.manager import Documents

APP: Final = Author("app")

running: list[Documents] = []
"""The documents of the nodes that run in this process, newest last."""


class Note:
    """A note that is open for editing. Edits are synchronous and appear at once; they are stored when
    the block of `open_note` ends, or after `flush`."""

    def __init__(self, document: OpenDocument) -> None:
        self._document = document
        self._stored: list[asyncio.Future[int]] = []

    @property
    def id(self) -> str:
        return self._document.note_id

    @property
    def title(self) -> str:
        """The title; the first line where none was given. Can be set."""
        return shown_title(self._content)

    @title.setter
    def title(self, title: str) -> None:
        self._edit(lambda doc: write_title(doc, title))

    @property
    def text(self) -> str:
        """Plain text, one line per block."""
        return to_text(self._content.body)

    @property
    def markdown(self) -> str:
        """Can be set: what is the same stays untouched."""
        return to_markdown(self._content.body)

    @markdown.setter
    def markdown(self, markdown: str) -> None:
        self._edit(lambda doc: write_markdown(doc, markdown))

    def insert(self, index: int, text: str) -> None:
        """Insert at a position of `text`; further lines become paragraphs behind that block."""
        self._edit(lambda doc: insert_text(doc, index, text))

    def replace(self, old: str, new: str) -> bool:
        """Replace the first occurrence within one block; False where there is none."""
        done = False

        def work(doc: Doc[Any]) -> None:
            nonlocal done
            done = replace_text(doc, old, new)

        self._edit(work)
        return done

    def append_markdown(self, markdown: str) -> None:
        """Add blocks at the end."""
        self._edit(lambda doc: append_markdown(doc, markdown))

    async def flush(self) -> None:
        """Wait until every edit is stored. Raises `Unavailable`, `NotFound` (deleted meanwhile)."""
        stored, self._stored = self._stored, []
        for one in stored:
            await asyncio.shield(one)

    @property
    def _content(self) -> Content:
        return self._document.content()

    def _edit(self, work: Callable[[Doc[Any]], None]) -> None:
        replica = self._document.replica
        if replica.over is not None:
            raise replica.over
        update = replica.live.edit(work)
        if update is not None:
            self._stored.append(replica.note(update, APP))


@asynccontextmanager
async def open_note(note_id: str) -> AsyncIterator[Note]:
    """Open a note for an app: no user is asked, so the app decides for whom it edits. Works while a node
    runs in this event loop. Raises `NotFound`, `Unavailable`."""
    documents = _documents()
    if await documents.node.notes.note(note_id, _APP_USER) is None:
        raise NotFound("There is no note with this id.")
    async with documents.hold(document_of(note_id)) as document:
        await document.replica.check()
        note = Note(document)
        try:
            yield note
        finally:
            await note.flush()


async def create_note(
    owner_id: str,
    *,
    title: str = "",
    markdown: str = "",
    grants: Mapping[str, str] | None = None,
) -> str:
    """A new note of a user; gives back its id."""
    documents = _documents()
    owner = await documents.node.user(owner_id)
    if owner is None:
        raise NotFound("There is no such user.")
    made = await documents.notes.create(owner, title=title, markdown=markdown, grants=grants)
    return str(made["id"])


_APP_USER: Final = User(id="", name="")


def _documents() -> Documents:
    if not running:
        raise Unavailable("No node with documents runs here.")
    return running[-1]
