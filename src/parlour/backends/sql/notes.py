"""`ports.NoteStore` on a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    Select,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from parlour.backends.packing import pack, unpack
from parlour.backends.sql.channel_schema import grants
from parlour.backends.sql.channel_work import granted
from parlour.backends.sql.cursors import decode_cursor, encode_cursor
from parlour.backends.sql.document_schema import documents, note_files, note_versions, notes
from parlour.backends.sql.engine import Database, upsert
from parlour.backends.sql.projections import plain
from parlour.backends.sql.schema import users
from parlour.core.access import Kind, principals_of
from parlour.core.documents import document_of
from parlour.core.users import User
from parlour.errors import Conflict, NotFound, TooLarge
from parlour.ports import NoteRecord, NoteText, NoteVersion

NOTE = Kind.NOTE.value


class SqlNoteStore:
    """`ports.NoteStore` on a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_note(
        self, note_id: str, owner_id: str, at: int, *, limit: int | None = None
    ) -> NoteRecord:
        return await self._database.write(lambda c: _create(c, note_id, owner_id, at, limit))

    async def note(self, note_id: str, user: User) -> NoteRecord | None:
        return await self._database.read(lambda c: _note(c, note_id, user))

    async def notes(
        self, user: User, *, cursor: str | None, limit: int, search: str | None = None
    ) -> tuple[Sequence[NoteRecord], str | None]:
        before = decode_cursor(cursor)
        return await self._database.read(lambda c: _page(c, user, before, limit, search))

    async def save(self, note_id: str, content: NoteText, at: int) -> int | None:
        return await self._database.write(lambda c: _save(c, note_id, content, at))

    async def grants(self, note_id: str) -> Mapping[str, str]:
        return await self._database.read(lambda c: _grants(c, note_id))

    async def set_grants(self, note_id: str, grants: Mapping[str, str], at: int) -> int:
        return await self._database.write(lambda c: _set_grants(c, note_id, grants))

    async def access_versions(self, note_ids: Sequence[str]) -> Mapping[str, int]:
        return await self._database.read(lambda c: _access_versions(c, note_ids))

    async def delete_note(self, note_id: str, at: int) -> None:
        await self._database.write(lambda c: _delete(c, note_id, at))

    async def lagging(self, limit: int) -> Sequence[str]:
        return await self._database.read(lambda c: _lagging(c, limit))

    # -- versions --------------------------------------------------------------------------------

    async def add_version(self, version: NoteVersion, *, unless_since: int | None = None) -> bool:
        packed = pack(version.content or b"")
        return await self._database.write(lambda c: _add_version(c, version, packed, unless_since))

    async def versions(
        self, note_id: str, *, cursor: str | None, limit: int
    ) -> tuple[Sequence[NoteVersion], str | None]:
        before = decode_cursor(cursor)
        return await self._database.read(lambda c: _versions(c, note_id, before, limit))

    async def note_version(self, note_id: str, version_id: str) -> NoteVersion | None:
        return await self._database.read(lambda c: _note_version(c, note_id, version_id))

    async def delete_version(self, note_id: str, version_id: str) -> bool:
        return await self._database.write(
            lambda c: (
                c.execute(delete(note_versions).where(*_this_version(note_id, version_id))).rowcount
                > 0
            )
        )

    async def thin_versions(self, note_id: str, keep: int) -> int:
        return await self._database.write(lambda c: _thin(c, note_id, keep))

    # -- files -----------------------------------------------------------------------------------

    async def attach_file(self, note_id: str, file_id: str) -> None:
        def unit(connection: Connection) -> None:
            statement = upsert(connection, note_files).values(note_id=note_id, file_id=file_id)
            connection.execute(statement.on_conflict_do_nothing())

        await self._database.write(unit)

    async def notes_of_file(self, file_id: str) -> Sequence[str]:
        query = select(note_files.c.note_id).where(note_files.c.file_id == file_id)
        return await self._database.read(lambda c: list(c.scalars(query)))


# --------------------------------------------------------------------------------------------------
# Notes
# --------------------------------------------------------------------------------------------------


def _with_owner() -> Select[Any]:
    return select(notes, users.c.name.label("owner_name")).outerjoin(
        users, users.c.id == notes.c.owner_id
    )


def _record(row: Row[Any], granted: tuple[bool, bool]) -> NoteRecord:
    content = NoteText(
        row.title, row.markdown, row.html, row.text, row.generation, row.epoch, row.saved_offset
    )
    return NoteRecord(
        row.id,
        row.owner_id,
        row.owner_name or "",
        content,
        row.version,
        row.access_version,
        row.created_at,
        row.updated_at,
        granted,
    )


def _create(
    connection: Connection, note_id: str, owner_id: str, at: int, limit: int | None
) -> NoteRecord:
    owned = select(func.count()).where(notes.c.owner_id == owner_id, notes.c.deleted_at.is_(None))
    if limit is not None and (connection.scalar(owned) or 0) >= limit:
        raise TooLarge(f"Nobody may have more than {limit} notes.", limit=limit)
    values = {
        "id": note_id,
        "owner_id": owner_id,
        "version": 0,
        "generation": 1,
        "saved_offset": 0,
        "access_version": 0,
        "created_at": at,
        "updated_at": at,
        **dict.fromkeys(("title", "markdown", "html", "text", "search", "epoch"), ""),
    }
    made = connection.execute(upsert(connection, notes).values(values).on_conflict_do_nothing())
    if not made.rowcount:
        raise Conflict("This id was used for a note before.")
    row = connection.execute(_with_owner().where(notes.c.id == note_id)).one()
    return _record(row, (False, False))


def _note(connection: Connection, note_id: str, user: User) -> NoteRecord | None:
    query = _with_owner().where(notes.c.id == note_id, notes.c.deleted_at.is_(None))
    row = connection.execute(query).first()
    if row is None:
        return None
    return _record(row, granted(connection, Kind.NOTE, note_id, user))


def _page(
    connection: Connection,
    user: User,
    before: tuple[int, str] | None,
    limit: int,
    search: str | None,
) -> tuple[list[NoteRecord], str | None]:
    shared = select(grants.c.subject_id).where(
        grants.c.kind == NOTE, grants.c.principal.in_(principals_of(user))
    )
    query = _with_owner().where(
        notes.c.deleted_at.is_(None),
        or_(notes.c.owner_id == user.id, notes.c.id.in_(shared)),
    )
    if before is not None:
        at, note_id = before
        query = query.where(
            or_(notes.c.updated_at < at, and_(notes.c.updated_at == at, notes.c.id < note_id))
        )
    if search:
        query = query.where(notes.c.search.contains(plain(search).lower(), autoescape=True))
    query = query.order_by(notes.c.updated_at.desc(), notes.c.id.desc()).limit(limit + 1)
    rows = connection.execute(query).all()
    last = rows[limit - 1] if len(rows) > limit else None
    found = [_record(row, granted(connection, Kind.NOTE, row.id, user)) for row in rows[:limit]]
    return found, None if last is None else encode_cursor(last.updated_at, last.id)


def _save(connection: Connection, note_id: str, content: NoteText, at: int) -> int | None:
    query = select(notes).where(notes.c.id == note_id, notes.c.deleted_at.is_(None))
    row = connection.execute(query.with_for_update()).first()
    if row is None or _is_late(row, content):
        return None
    texts = {
        "title": plain(content.title),
        "markdown": plain(content.markdown),
        "html": plain(content.html),
        "text": plain(content.text),
    }
    changed: dict[str, Any] = {
        "generation": content.generation,
        "epoch": content.epoch,
        "saved_offset": content.offset,
    }
    version: int = row.version
    if any(row._mapping[name] != text for name, text in texts.items()):
        version += 1
        search = f"{texts['title']}\n{texts['text']}".lower()
        changed |= {**texts, "search": search, "version": version, "updated_at": at}
    connection.execute(update(notes).where(notes.c.id == note_id).values(changed))
    return version


def _is_late(row: Row[Any], content: NoteText) -> bool:
    """Whether what is kept is as new. Offsets of different epochs say nothing of each other."""
    if row.generation != content.generation:
        return bool(row.generation > content.generation)
    return bool(row.epoch == content.epoch and row.saved_offset >= content.offset)


def _grants(connection: Connection, note_id: str) -> dict[str, str]:
    query = (
        select(grants.c.principal, grants.c.write)
        .where(grants.c.kind == NOTE, grants.c.subject_id == note_id)
        .order_by(grants.c.principal)
    )
    return {row.principal: "write" if row.write else "read" for row in connection.execute(query)}


def _set_grants(connection: Connection, note_id: str, wanted: Mapping[str, str]) -> int:
    query = select(notes.c.access_version).where(
        notes.c.id == note_id, notes.c.deleted_at.is_(None)
    )
    known = connection.scalar(query.with_for_update())
    if known is None:
        raise NotFound("There is no note with this id.")
    connection.execute(delete(grants).where(grants.c.kind == NOTE, grants.c.subject_id == note_id))
    rows = [
        {
            "kind": NOTE,
            "subject_id": note_id,
            "principal": principal,
            "read": True,
            "write": right == "write",
        }
        for principal, right in wanted.items()
    ]
    if rows:
        connection.execute(insert(grants), rows)
    connection.execute(update(notes).where(notes.c.id == note_id).values(access_version=known + 1))
    return int(known) + 1


def _access_versions(connection: Connection, note_ids: Sequence[str]) -> dict[str, int]:
    query = select(notes.c.id, notes.c.access_version).where(
        notes.c.id.in_(list(note_ids)), notes.c.deleted_at.is_(None)
    )
    return {row.id: row.access_version for row in connection.execute(query)}


def _delete(connection: Connection, note_id: str, at: int) -> None:
    emptied = dict.fromkeys(("title", "markdown", "html", "text", "search"), "")
    connection.execute(
        update(notes)
        .where(notes.c.id == note_id, notes.c.deleted_at.is_(None))
        .values(deleted_at=at, **emptied)
    )
    connection.execute(delete(grants).where(grants.c.kind == NOTE, grants.c.subject_id == note_id))
    for table in (note_versions, note_files):
        connection.execute(delete(table).where(table.c.note_id == note_id))


def _lagging(connection: Connection, limit: int) -> list[str]:
    query = (
        select(notes.c.id)
        .join(documents, documents.c.id == document_of_column())
        .where(
            notes.c.deleted_at.is_(None),
            documents.c.deleted.is_(False),
            or_(
                documents.c.generation > notes.c.generation,
                documents.c.head > notes.c.saved_offset,
            ),
        )
        .limit(limit)
    )
    return list(connection.scalars(query))


def document_of_column() -> Any:
    """`core.documents.document_of` in SQL."""
    return document_of("x" * 8).removesuffix("x" * 8) + notes.c.id


# --------------------------------------------------------------------------------------------------
# Versions
# --------------------------------------------------------------------------------------------------


def _this_version(note_id: str, version_id: str) -> tuple[Any, Any]:
    return note_versions.c.note_id == note_id, note_versions.c.id == version_id


def _add_version(
    connection: Connection, version: NoteVersion, packed: bytes, unless_since: int | None
) -> bool:
    # The note's row orders those who ask at the same time.
    note = select(notes.c.id).where(notes.c.id == version.note_id, notes.c.deleted_at.is_(None))
    if connection.scalar(note.with_for_update()) is None:
        raise NotFound("There is no note with this id.")
    if unless_since is not None:
        newest = connection.scalar(
            select(func.max(note_versions.c.created_at)).where(
                note_versions.c.note_id == version.note_id
            )
        )
        if newest is not None and newest >= unless_since:
            return False
    connection.execute(
        insert(note_versions).values(
            id=version.id,
            note_id=version.note_id,
            name=plain(version.name),
            automatic=version.automatic,
            author=None if version.author is None else dict(version.author),
            created_at=version.created_at,
            version=version.version,
            title=plain(version.title),
            preview=plain(version.preview),
            content=packed,
        )
    )
    return True


def _versions(
    connection: Connection, note_id: str, before: tuple[int, str] | None, limit: int
) -> tuple[list[NoteVersion], str | None]:
    columns = [one for one in note_versions.c if one.name != "content"]
    query = select(*columns).where(note_versions.c.note_id == note_id)
    if before is not None:
        at, version_id = before
        query = query.where(
            or_(
                note_versions.c.created_at < at,
                and_(note_versions.c.created_at == at, note_versions.c.id < version_id),
            )
        )
    query = query.order_by(note_versions.c.created_at.desc(), note_versions.c.id.desc())
    rows = connection.execute(query.limit(limit + 1)).all()
    last = rows[limit - 1] if len(rows) > limit else None
    return (
        [NoteVersion(**row._mapping) for row in rows[:limit]],
        None if last is None else encode_cursor(last.created_at, last.id),
    )


def _note_version(connection: Connection, note_id: str, version_id: str) -> NoteVersion | None:
    query = select(note_versions).where(*_this_version(note_id, version_id))
    row = connection.execute(query).first()
    if row is None:
        return None
    return NoteVersion(**{**row._mapping, "content": unpack(bytes(row.content))})


def _thin(connection: Connection, note_id: str, keep: int) -> int:
    automatic = (note_versions.c.note_id == note_id) & note_versions.c.automatic
    kept = (
        select(note_versions.c.id)
        .where(automatic)
        .order_by(note_versions.c.created_at.desc(), note_versions.c.id.desc())
        .limit(keep)
    )
    done = connection.execute(
        delete(note_versions).where(automatic, note_versions.c.id.not_in(kept))
    )
    return done.rowcount
