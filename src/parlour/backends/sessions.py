"""The rule by which a stored session and a new connection's record become one."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from parlour.errors import Forbidden
from parlour.ports import SessionRecord

_KEPT = {"id", "user_id", "created_at", "last_seen"}
_DEFAULTS = SessionRecord(id="", user_id="")


def changed_fields(record: SessionRecord) -> dict[str, Any]:
    """The fields that `record` sets anew: those that differ from the default."""
    return {
        one.name: getattr(record, one.name)
        for one in fields(SessionRecord)
        if one.name not in _KEPT and getattr(record, one.name) != getattr(_DEFAULTS, one.name)
    }


def merge_sessions(stored: SessionRecord, record: SessionRecord) -> SessionRecord:
    """What is stored wins, except for fields that `record` sets anew; `last_seen` never goes back.

    Raises `Forbidden` where the session belongs to another user."""
    if stored.user_id != record.user_id:
        raise Forbidden("this session belongs to somebody else")
    last_seen = max(stored.last_seen, record.last_seen)
    return replace(stored, **changed_fields(record), last_seen=last_seen)
