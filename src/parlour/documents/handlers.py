"""The commands of documents: join, state, update, leave, awareness (docs/documents.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parlour.core.documents import note_of, read_state_vector
from parlour.documents.access import admit
from parlour.documents.manager import Documents, require_connection
from parlour.documents.open_document import OpenDocument
from parlour.documents.replica import Author
from parlour.documents.room import Member
from parlour.errors import TooLarge
from parlour.server.connections import Caller
from parlour.server.router import Routes
from parlour.wire.documents import (
    AwarenessUpdate,
    Binary,
    DocumentJoin,
    DocumentLeave,
    DocumentState,
    DocumentUpdate,
    JoinNote,
    in_form,
)
from parlour.wire.told import DOCUMENT_STATE, DocumentStateTold

if TYPE_CHECKING:
    from parlour.server.node import Node

routes = Routes()

Wire = dict[str, Any]


@routes.command("ydoc:document:join", DocumentJoin, http=False)
async def join(node: Node, caller: Caller, payload: DocumentJoin) -> Wire:
    """Enter, get what the client's copy lacks, and learn what the server lacks."""
    vector: Binary | None = payload.state_vector
    if vector is not None:
        read_state_vector(vector)
    listed = vector is None or vector.listed
    document, member = await node.part(Documents).join(
        caller, payload.document_id, listed=listed, color=payload.user_color
    )
    generation = document.replica.generation
    stale = payload.generation is not None and payload.generation != generation
    # Nothing is awaited from entering to here: the state, then what is live.
    _send_state(document, member, None if stale else vector)
    document.room.greet(member)
    return {
        "generation": generation,
        "status": "reset" if stale else "ready",
        "permission": "write" if member.writes else "read",
        "offset": document.replica.known,
        "state_vector": in_form(document.replica.live.state_vector(), listed),
    }


@routes.command("ydoc:document:state", DocumentState, http=False)
async def state(node: Node, caller: Caller, payload: DocumentState) -> Wire:
    """Send what the client's copy lacks once more."""
    document, member = node.part(Documents).member(caller, payload.document_id)
    vector: Binary | None = payload.state_vector
    if vector is not None:
        member.listed = vector.listed
    await document.replica.settled()
    _send_state(document, member, vector)
    return {
        "generation": document.replica.generation,
        "offset": document.replica.known,
        "state_vector": in_form(document.replica.live.state_vector(), member.listed),
    }


def _send_state(document: OpenDocument, member: Member, vector: bytes | None) -> None:
    replica, room = document.replica, document.room
    payload: DocumentStateTold = {
        "document_id": document.id,
        "state": in_form(replica.live.since(vector), member.listed),
        "state_vector": in_form(replica.live.state_vector(), member.listed),
        "generation": replica.generation,
        "offset": replica.known,
        "sessions": sorted({one.session_id for one in room.participants}),
        "users": [
            {"id": one.user_id, "name": one.name, "color": one.color}
            for one in room.participants.users()
        ],
        "user_id": None,
    }
    member.connection.send(DOCUMENT_STATE.encode(payload))


@routes.command("ydoc:document:update", DocumentUpdate, http=False)
async def update(node: Node, caller: Caller, payload: DocumentUpdate) -> Wire:
    """Acknowledged once it is stored."""
    documents = node.part(Documents)
    document, member = documents.writer(caller, payload.document_id, payload.generation)
    data: Binary = payload.update
    member.listed = data.listed
    limit = node.settings.max_payload_bytes
    if len(data) > limit:
        raise TooLarge(f"An update has at most {limit} bytes.", limit=limit)
    author = Author(caller.user.id, member.connection.sid)
    document.holds += 1
    try:
        offset = await document.replica.submit(bytes(data), author)
    finally:
        document.holds -= 1
    return {"offset": offset, "generation": document.replica.generation}


@routes.command("ydoc:document:leave", DocumentLeave, http=False)
async def leave(node: Node, caller: Caller, payload: DocumentLeave) -> Wire:
    """Idempotent."""
    connection = require_connection(caller)
    note_of(payload.document_id)
    document = node.part(Documents).find(payload.document_id)
    if document is not None:
        document.room.leave(connection)
    return {}


@routes.signal("ydoc:awareness:update", AwarenessUpdate)
def awareness(node: Node, caller: Caller, payload: AwarenessUpdate) -> Wire:
    """A cursor, a name's colour: told to the others, kept for newcomers, stored nowhere."""
    document, member = node.part(Documents).member(caller, payload.document_id)
    document.say(member.connection, payload.update)
    return {}


@routes.command("join-note", JoinNote, http=False)
async def join_note(node: Node, caller: Caller, payload: JoinNote) -> Wire:
    """Hear `events:note` of one note."""
    connection = require_connection(caller)
    await admit(node.notes, payload.note_id, caller.user)
    node.hub.join(f"note:{payload.note_id}", connection)
    return {"note_id": payload.note_id}
