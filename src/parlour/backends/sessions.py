"""The rule by which a stored session and a new connection's record become one."""

from __future__ import annotations

from dataclasses import fields, replace

from parlour.errors import Forbidden
from parlour.ports import SessionRecord

_KEPT = {"id", "user_id", "created_at", "last_seen"}
_DEFAULTS = SessionRecord(id="", user_id="")


def merge_sessions(stored: SessionRecord, record: SessionRecord) -> SessionRecord:
    """What is stored wins, except for fields that `record` sets anew (that differ from the
    default).

    `last_seen` never goes back. Raises `Forbidden` where the session belongs to another user."""
    if stored.user_id != record.user_id:
        raise Forbidden("this session belongs to somebody else")
    changes = {
        one.name: getattr(record, one.name)
        for one in fields(SessionRecord)
        if one.name not in _KEPT and getattr(record, one.name) != getattr(_DEFAULTS, one.name)
    }
    return replace(stored, **changes, last_seen=max(stored.last_seen, record.last_seen))
