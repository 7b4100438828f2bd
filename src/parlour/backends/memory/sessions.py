"""Sessions within one process; `user_env` is kept, since memory is no disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from parlour.backends.sessions import merge_sessions
from parlour.errors import NotFound
from parlour.ports import NO_ENVIRONMENT, SessionRecord


class MemorySessionStore:
    """`ports.SessionStore` of a single node."""

    def __init__(self) -> None:
        self._sessions: dict[str, SessionRecord] = {}
        self._values: dict[str, dict[tuple[str, str], bytes]] = {}

    async def bind(self, record: SessionRecord) -> SessionRecord:
        stored = self._sessions.get(record.id)
        merged = record if stored is None else merge_sessions(stored, record)
        self._sessions[record.id] = _copy(merged)
        return _copy(merged)

    async def load(self, session_id: str) -> SessionRecord | None:
        stored = self._sessions.get(session_id)
        return None if stored is None else _copy(stored)

    async def touch(self, session_id: str, at: int) -> None:
        stored = self._sessions.get(session_id)
        if stored is not None:
            stored.last_seen = max(stored.last_seen, at)

    async def values(self, session_id: str, thread_id: str) -> dict[str, bytes]:
        held = self._values.get(session_id, {})
        return {key: value for (thread, key), value in held.items() if thread == thread_id}

    async def threads(self, session_id: str) -> Sequence[str]:
        return sorted({thread for thread, _ in self._values.get(session_id, {})})

    async def write_values(
        self, session_id: str, thread_id: str, changes: Mapping[str, bytes | None]
    ) -> None:
        """Raises `NotFound` where the session is gone, so that no value outlives it."""
        if session_id not in self._sessions:
            raise NotFound("there is no such session")
        held = self._values.setdefault(session_id, {})
        for key, value in changes.items():
            if value is None:
                held.pop((thread_id, key), None)
            else:
                held[thread_id, key] = value

    async def expired(self, before: int, limit: int) -> Sequence[SessionRecord]:
        old = [one for one in self._sessions.values() if one.last_seen < before]
        return [_copy(one) for one in sorted(old, key=lambda one: one.last_seen)[:limit]]

    async def delete(self, session_id: str) -> bool:
        self._values.pop(session_id, None)
        return self._sessions.pop(session_id, None) is not None


def _copy(record: SessionRecord) -> SessionRecord:
    return replace(record, user_env=dict(record.user_env) or NO_ENVIRONMENT)
