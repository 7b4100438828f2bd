"""`/api/notes`: notes, their sharing, files and versions. Every change of a text is an edit of the
document, which people who have it open see live."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from parlour.documents.manager import Documents
from parlour.documents.notes import Notes
from parlour.documents.versions import Versions
from parlour.transports.http.calling import CurrentCaller
from parlour.transports.http.identity import CurrentNode

router = APIRouter(prefix="/api/notes", tags=["notes"])

Wire = dict[str, Any]
Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{7,63}$")]
Cursor = Annotated[str | None, Query(max_length=200)]
Limit = Annotated[int, Query(ge=1, le=200)]
Title = Annotated[str, Field(max_length=500)]
Grants = Annotated[dict[str, Literal["read", "write"]], Field(max_length=100)]


class Listed(BaseModel):
    """`next_cursor` is None at the end."""

    items: list[Wire]
    next_cursor: str | None


class NewNote(BaseModel):
    """`grants` are `{principal: read | write}`."""

    title: Title = ""
    markdown: str = ""
    grants: Grants | None = None


class NoteChange(BaseModel):
    """What is None stays as it is. `expected_version` is the version that the change is meant for."""

    title: Title | None = None
    markdown: str | None = None
    append_markdown: str | None = None
    grants: Grants | None = None
    expected_version: Annotated[int, Field(ge=0, le=2**53 - 1)] | None = None


class NoteFile(BaseModel):
    """One's own upload."""

    file_id: Annotated[str, Field(max_length=64)]


class NewVersion(BaseModel):
    name: Annotated[str, Field(max_length=200)] = ""


class Comparison(BaseModel):
    """`{op: equal | insert | delete, text}` over the Markdown, in order."""

    changes: list[Wire]


def _notes(node: CurrentNode) -> Notes:
    return node.part(Documents).notes


def _versions(node: CurrentNode) -> Versions:
    return node.part(Documents).versions


# -- notes -----------------------------------------------------------------------------------------


@router.get("")
async def list_notes(
    caller: CurrentCaller,
    node: CurrentNode,
    cursor: Cursor = None,
    limit: Limit = 50,
    search: Annotated[str | None, Query(max_length=200)] = None,
) -> Listed:
    """Own and shared ones, newest change first."""
    items, more = await _notes(node).page(
        caller.user, cursor=cursor or None, limit=limit, search=search or None
    )
    return Listed(items=items, next_cursor=more)


@router.post("", status_code=201)
async def create_note(body: NewNote, caller: CurrentCaller, node: CurrentNode) -> Wire:
    """A new note of one's own."""
    return await _notes(node).create(
        caller.user, title=body.title, markdown=body.markdown, grants=body.grants
    )


@router.get("/{note_id}")
async def read_note(note_id: Id, caller: CurrentCaller, node: CurrentNode) -> Wire:
    """The note as of this moment."""
    return await _notes(node).read(caller.user, note_id)


@router.patch("/{note_id}")
async def change_note(
    note_id: Id, body: NoteChange, caller: CurrentCaller, node: CurrentNode
) -> Wire:
    """An edit: `409` with the present `version` where `expected_version` is not that one."""
    return await _notes(node).change(
        caller.user,
        note_id,
        title=body.title,
        markdown=body.markdown,
        append=body.append_markdown,
        grants=body.grants,
        expected_version=body.expected_version,
    )


@router.delete("/{note_id}", status_code=204)
async def delete_note(note_id: Id, caller: CurrentCaller, node: CurrentNode) -> None:
    """For good, with its versions."""
    await _notes(node).delete(caller.user, note_id)


@router.post("/{note_id}/files", status_code=204)
async def attach_file(
    note_id: Id, body: NoteFile, caller: CurrentCaller, node: CurrentNode
) -> None:
    """Whoever reads the note may read this file."""
    await _notes(node).attach(caller.user, note_id, body.file_id)


# -- versions --------------------------------------------------------------------------------------


@router.get("/{note_id}/versions")
async def list_versions(
    note_id: Id,
    caller: CurrentCaller,
    node: CurrentNode,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Listed:
    """Newest first."""
    items, more = await _versions(node).page(
        caller.user, note_id, cursor=cursor or None, limit=limit
    )
    return Listed(items=items, next_cursor=more)


@router.post("/{note_id}/versions", status_code=201)
async def keep_version(
    note_id: Id, body: NewVersion, caller: CurrentCaller, node: CurrentNode
) -> Wire:
    """Keep the present state."""
    return await _versions(node).add(caller.user, note_id, body.name)


@router.get("/{note_id}/versions/{version_id}")
async def read_version(
    note_id: Id, version_id: Id, caller: CurrentCaller, node: CurrentNode
) -> Wire:
    """One version with its texts."""
    return await _versions(node).read(caller.user, note_id, version_id)


@router.get("/{note_id}/versions/{version_id}/compare")
async def compare_version(
    note_id: Id,
    version_id: Id,
    caller: CurrentCaller,
    node: CurrentNode,
    other: Annotated[str | None, Query(alias="with", max_length=64)] = None,
) -> Comparison:
    """What leads from a version to another one, or to the present text."""
    changes = await _versions(node).compare(caller.user, note_id, version_id, other or None)
    return Comparison(changes=changes)


@router.post("/{note_id}/versions/{version_id}/restore")
async def restore_version(
    note_id: Id, version_id: Id, caller: CurrentCaller, node: CurrentNode
) -> Wire:
    """A new edit that makes the note say what the version says."""
    return await _versions(node).restore(caller.user, note_id, version_id)


@router.delete("/{note_id}/versions/{version_id}", status_code=204)
async def forget_version(
    note_id: Id, version_id: Id, caller: CurrentCaller, node: CurrentNode
) -> None:
    """Forget a version."""
    await _versions(node).forget(caller.user, note_id, version_id)
