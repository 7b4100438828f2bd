"""Opaque keyset cursors: the sort key of the last row that was given, as URL-safe base64."""

from __future__ import annotations

import base64
import binascii

import orjson

from parlour.errors import InvalidPayload


def encode_cursor(at: int, row_id: str) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([at, row_id])).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> tuple[int, str] | None:
    """The key in a cursor; None for None. Raises `InvalidPayload` for a cursor that is not ours."""
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        at, row_id = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, TypeError, binascii.Error) as error:
        raise InvalidPayload("this is not a cursor of ours") from error
    if not isinstance(at, int) or isinstance(at, bool) or not isinstance(row_id, str):
        raise InvalidPayload("this is not a cursor of ours")
    if abs(at) >= 2**63:
        raise InvalidPayload("this is not a cursor of ours")
    return at, row_id
