"""Payload models of the documents' commands (docs/documents.md).

Binary values come as bytes or, from older clients, as arrays of integers 0-255. The model keeps which
it was, since the answer has the same form.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints

from parlour.wire.events import CommandId, Name, Payload


class Binary(bytes):
    """Bytes that came as such, or (`listed`) as an array of integers."""

    listed: bool = False


def _binary(value: Any) -> Binary:
    if isinstance(value, bytes | bytearray | memoryview):
        return Binary(value)
    if isinstance(value, list):
        try:
            found = Binary(bytes(value))
        except (TypeError, ValueError):
            raise ValueError("an array of integers 0-255 is needed") from None
        found.listed = True
        return found
    raise ValueError("bytes or an array of integers 0-255 are needed")


Bytes = Annotated[Any, BeforeValidator(_binary)]
"""Validated to a `Binary`."""

Color = Annotated[str, StringConstraints(max_length=64)]


class DocumentJoin(Payload):
    """`user_id` and `user_name` of older clients are ignored: the connection says who it is."""

    document_id: Name
    state_vector: Bytes | None = None
    generation: Annotated[int, Field(ge=0, le=2**53 - 1)] | None = None
    user_color: Color = ""


class DocumentState(Payload):
    document_id: Name
    state_vector: Bytes | None = None


class DocumentUpdate(Payload):
    document_id: Name
    update: Bytes
    generation: Annotated[int, Field(ge=0, le=2**53 - 1)] | None = None
    command_id: CommandId | None = None


class DocumentLeave(Payload):
    document_id: Name


class AwarenessUpdate(Payload):
    document_id: Name
    update: Bytes


class JoinNote(Payload):
    """Hear `events:note` of a note; `auth` is what older clients send along."""

    note_id: Name
    auth: dict[str, Any] | None = None


def in_form(data: bytes, listed: bool) -> Any:
    """Bytes in the form that a connection uses."""
    return list(data) if listed else data


__all__ = [
    "AwarenessUpdate",
    "Binary",
    "DocumentJoin",
    "DocumentLeave",
    "DocumentState",
    "DocumentUpdate",
    "JoinNote",
    "in_form",
]
