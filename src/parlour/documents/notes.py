"""Notes: what REST and authors do with them. Whatever changes a text goes through its document."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import structlog
from pycrdt import Doc

from parlour.core.access import is_principal
from parlour.core.documents import document_of
from parlour.core.users import User
from parlour.documents.access import (
    Admitted,
    Permission,
    admit,
    admit_owner,
    admit_writer,
    permission_of,
)
from parlour.documents.content import (
    Tree,
    count_nodes,
)
from parlour.documents.markdown_in import from_markdown
from parlour.documents.open_document import OpenDocument
from parlour.documents.replica import Author
from parlour.documents.writing import (
    append_blocks,
    write_blocks,
    write_title,
)
from parlour.errors import Conflict, InvalidPayload, NotFound, ParlourError, TooLarge
from parlour.ports import NoteRecord
from parlour.server.connections import Connection
from parlour.wire.told import (
    ACCESS_UPDATED,
    EVENTS_NOTE,
    NOTE_CREATED,
    NOTE_DELETED,
    NOTE_UPDATED,
    AccessUpdated,
    NoteEvents,
    StreamEvent,
)

if TYPE_CHECKING:
    from parlour.documents.manager import Documents

log = structlog.get_logger(__name__)

PREVIEW: Final = 200
MOST_GRANTS: Final = 100
MOST_TEXT: Final = 500_000
MOST_NODES: Final = 20_000
"""Bytes and nodes of one edit over REST: writing it must not hold up everybody else for long."""

PARSED_AT_ONCE: Final = 20_000
"""Characters up to which Markdown is parsed without a thread."""


Wire = dict[str, Any]


class Notes:
    """Every method asks who may do it."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._node = documents.node
        self._store = documents.node.notes

    # -- making and reading ----------------------------------------------------------------------

    async def create(
        self,
        user: User,
        *,
        title: str = "",
        markdown: str = "",
        grants: Mapping[str, str] | None = None,
    ) -> Wire:
        """A new note of this user."""
        blocks = await self._parse(markdown)
        checked = _checked_grants(grants or {})
        note_id, now = self._node.new_id(), self._node.clock.now_ms()
        limit = self._node.settings.notes_per_user
        await self._store.create_note(note_id, user.id, now, limit=limit)
        try:
            await self._node.documents.create(document_of(note_id))
        except ParlourError:
            await self._store.delete_note(note_id, now)
            raise
        if title or markdown:

            def write(doc: Doc[Any]) -> None:
                if title:
                    write_title(doc, title)
                if blocks:
                    write_blocks(doc, blocks)

            await self.edit(note_id, write, Author(user.id))
        if checked:
            await self._store.set_grants(note_id, checked, now)
        note = await self.read(user, note_id)
        await self._tell(NOTE_CREATED, note_id, note, checked)
        return note

    async def read(self, user: User, note_id: str) -> Wire:
        """The note, with its text as of this moment. Raises `NotFound`."""
        await admit(self._store, note_id, user)
        await self.settle_text(note_id)
        return await self._shown(await admit(self._store, note_id, user))

    async def page(
        self, user: User, *, cursor: str | None, limit: int, search: str | None
    ) -> tuple[list[Wire], str | None]:
        """Notes of the user and those that are shared, newest change first."""
        records, more = await self._store.notes(user, cursor=cursor, limit=limit, search=search)
        return [_listed(record, permission_of(record, user) or "read") for record in records], more

    async def settle_text(self, note_id: str) -> None:
        """Save what the document says where the saved text is behind it."""
        document_id = document_of(note_id)
        open_here = self._documents.find(document_id)
        if open_here is not None:
            await open_here.replica.check()
            await open_here.replica.settled()
            open_here.saver.touch()
            await open_here.saver.flush()
            return
        note = await self._store.note(note_id, NOBODY)
        head = await self._node.documents.head(document_id)
        if note is None:
            return
        kept = note.content
        if (kept.generation, kept.epoch, kept.offset) == (head.generation, head.epoch, head.offset):
            return
        if head.offset == 0 and kept.offset == 0:
            return
        async with self._documents.hold(document_id) as document:
            document.saver.touch()
            await document.saver.flush()

    # -- changing --------------------------------------------------------------------------------

    async def change(
        self,
        user: User,
        note_id: str,
        *,
        title: str | None = None,
        markdown: str | None = None,
        append: str | None = None,
        grants: Mapping[str, str] | None = None,
        expected_version: int | None = None,
    ) -> Wire:
        """What is None stays. Raises `Conflict` where `expected_version` is not the present one."""
        if grants is not None:
            await admit_owner(self._store, note_id, user)
        await admit_writer(self._store, note_id, user)
        blocks, more = await self._parse(markdown or ""), await self._parse(append or "")
        checked = None if grants is None else _checked_grants(grants)
        if expected_version is not None:
            await self._expect(user, note_id, expected_version)
        if markdown is not None:
            await self._documents.versions.keep(note_id, user, automatic=True)

        def write(doc: Doc[Any]) -> None:
            if title is not None:
                write_title(doc, title)
            if markdown is not None:
                write_blocks(doc, blocks)
            if append is not None:
                append_blocks(doc, more)

        if title is not None or markdown is not None or append is not None:
            await self.edit(note_id, write, Author(user.id))
        if checked is not None:
            await self._share(note_id, checked)
        note = await self.read(user, note_id)
        if title is not None or checked is not None:
            await self._tell(NOTE_UPDATED, note_id, note, await self._store.grants(note_id))
        return note

    async def _expect(self, user: User, note_id: str, version: int) -> None:
        await self.settle_text(note_id)
        present = (await admit(self._store, note_id, user)).note.version
        if present != version:
            raise Conflict("The note has changed meanwhile.", version=present)

    async def _share(self, note_id: str, grants: Mapping[str, str]) -> None:
        before = await self._store.grants(note_id)
        await self._store.set_grants(note_id, grants, self._node.clock.now_ms())
        await self._documents.access_changed(note_id, document_of(note_id))
        lost = [name for name in before if name not in grants]
        for user_id in _users_of(lost):
            room = f"note:{note_id}"
            await self._node.routing.leave_room_for_users(room, [user_id], "removed")

    async def edit(self, note_id: str, work: Callable[[Doc[Any]], None], author: Author) -> None:
        """Change a note's document and save what it says then. Nobody is asked."""
        async with self._documents.hold(document_of(note_id)) as document:
            await document.replica.edit(work, author)
            await document.saver.flush()

    async def delete(self, user: User, note_id: str) -> None:
        """For good, with its document and its versions."""
        admitted = await admit_owner(self._store, note_id, user)
        grants = await self._store.grants(note_id)
        await self._store.delete_note(note_id, self._node.clock.now_ms())
        await self._node.documents.delete(document_of(note_id))
        document = self._documents.find(document_of(note_id))
        if document is not None:
            document.tell_access()
            await document.replica.check()
        gone = {"id": note_id, "owner": {"id": admitted.note.owner_id}}
        await self._tell(NOTE_DELETED, note_id, gone, grants)

    async def attach(self, user: User, note_id: str, file_id: str) -> None:
        """Let readers of the note read a file of this user."""
        await admit_writer(self._store, note_id, user)
        record = await self._node.files.file(file_id)
        if record is None or record.user_id != user.id:
            raise NotFound("There is no such file.")
        await self._store.attach_file(note_id, file_id)

    async def may_read_file(self, user: User, file_id: str) -> bool:
        """Whether a file is attached to a note that the user may read."""
        for note_id in await self._store.notes_of_file(file_id):
            note = await self._store.note(note_id, user)
            if note is not None and permission_of(note, user) is not None:
                return True
        return False

    async def _parse(self, markdown: str) -> Tree:
        """The blocks of a text, within what one edit may bring. Raises `TooLarge`."""
        limit = min(MOST_TEXT, self._node.settings.max_document_bytes)
        if len(markdown.encode()) > limit:
            raise TooLarge(f"One edit may bring {limit} bytes.", limit=limit)
        large = len(markdown) > PARSED_AT_ONCE
        blocks = (
            await asyncio.to_thread(from_markdown, markdown) if large else from_markdown(markdown)
        )
        if count_nodes(blocks) > MOST_NODES:
            raise TooLarge(f"One edit may bring {MOST_NODES} blocks and pieces.", limit=MOST_NODES)
        return blocks

    # -- telling ---------------------------------------------------------------------------------

    def tell_permission(
        self, document: OpenDocument, connection: Connection, permission: Permission
    ) -> None:
        """A connection in the document may do something else now."""
        shown: Literal["read", "write"] = "read" if permission == "read" else "write"
        payload: AccessUpdated = {
            "room": document.room.name,
            "reason": "permission",
            "permission": shown,
        }
        connection.send(ACCESS_UPDATED.encode(payload))

    async def _tell(
        self,
        event: StreamEvent[Any],
        note_id: str,
        note: Wire,
        grants: Mapping[str, str],
    ) -> None:
        """To the owner, to whom it is shared with by name, and to who looks at it."""
        listed = {name: value for name, value in note.items() if name not in _TEXTS}
        type, data = event({"note": listed})
        payload: NoteEvents = {
            "note_id": note_id,
            "data": {"type": type, "data": dict(data)},
            "at": self._node.clock.now_ms(),
        }
        people = {note["owner"]["id"], *_users_of(grants)}
        await self._node.routing.emit_to_users(EVENTS_NOTE.name, payload, people)
        await self._node.routing.emit_to_room(EVENTS_NOTE.name, payload, f"note:{note_id}")

    async def _shown(self, admitted: Admitted) -> Wire:
        note, content = admitted.note, admitted.note.content
        shown = {
            **_listed(note, admitted.permission),
            "markdown": content.markdown,
            "html": content.html,
            "text": content.text,
        }
        if admitted.permission == "owner":
            shown["grants"] = dict(await self._store.grants(note.id))
        return shown


NOBODY: Final = User(id="", name="")
_TEXTS: Final = frozenset({"markdown", "html", "text", "grants", "permission"})


def _listed(note: NoteRecord, permission: Permission) -> Wire:
    return {
        "id": note.id,
        "document_id": document_of(note.id),
        "title": note.content.title,
        "preview": note.content.text[:PREVIEW],
        "version": note.version,
        "owner": {"id": note.owner_id, "name": note.owner_name},
        "permission": permission,
        "created_at": note.created_at,
        "updated_at": note.updated_at,
    }


def _checked_grants(grants: Mapping[str, str]) -> dict[str, str]:
    if len(grants) > MOST_GRANTS:
        raise TooLarge(f"A note has at most {MOST_GRANTS} grants.", limit=MOST_GRANTS)
    for principal, right in grants.items():
        if not is_principal(principal) or right not in ("read", "write"):
            raise InvalidPayload(
                "A grant is for everyone, role:{role} or user:{id}, and is read or write.",
                field="grants",
            )
    return dict(grants)


def _users_of(principals: Any) -> list[str]:
    return [one.partition(":")[2] for one in principals if one.startswith("user:")]
