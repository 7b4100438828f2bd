"""Who may do what with a note, and so with its document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from parlour.core.access import Facts, Grant, Kind, decide
from parlour.core.users import User
from parlour.errors import Forbidden, NotFound
from parlour.ports import NoteRecord, NoteStore

Permission = Literal["owner", "write", "read"]


@dataclass(frozen=True, slots=True)
class Admitted:
    """A note and what the user may do with it."""

    note: NoteRecord
    permission: Permission

    @property
    def writes(self) -> bool:
        return self.permission != "read"


async def admit(notes: NoteStore, note_id: str, user: User) -> Admitted:
    """Raises `NotFound` for a note that the user may not even read."""
    record = await notes.note(note_id, user)
    permission = None if record is None else permission_of(record, user)
    if record is None or permission is None:
        raise NotFound("There is no note with this id.")
    return Admitted(record, permission)


async def admit_writer(notes: NoteStore, note_id: str, user: User) -> Admitted:
    """Also raises `Forbidden`."""
    admitted = await admit(notes, note_id, user)
    if not admitted.writes:
        raise Forbidden("You may only read this note.")
    return admitted


async def admit_owner(notes: NoteStore, note_id: str, user: User) -> Admitted:
    """Also raises `Forbidden`."""
    admitted = await admit(notes, note_id, user)
    if admitted.permission != "owner":
        raise Forbidden("Only the owner of the note may do this.")
    return admitted


def permission_of(note: NoteRecord, user: User) -> Permission | None:
    """What a user may do, None where it is nothing. Administrators are owners of every note."""
    if note.owner_id == user.id or user.is_admin:
        return "owner"
    grant = _grant(note, user)
    if grant.write:
        return "write"
    return "read" if grant.read else None


def _grant(note: NoteRecord, user: User) -> Grant:
    read, write = note.granted
    me = frozenset({user.id})
    facts = Facts(
        exists=True,
        owner_id=note.owner_id,
        readers=me if read else frozenset(),
        writers=me if write else frozenset(),
    )
    return decide(user, Kind.NOTE, note.id, facts)
