"""Who was there when: last-seen times are gathered in memory and written now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parlour.ports import SessionRecord
from parlour.server.connections import Caller

if TYPE_CHECKING:
    from parlour.server.node import Node


class Activity:
    """Throttles the writes of `heartbeat`: one per user and session and flush, however many events come."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._users: dict[str, int] = {}
        self._sessions: dict[str, int] = {}

    def touch(self, caller: Caller, now: int) -> None:
        """The person did something just now, in milliseconds."""
        self._users[caller.user.id] = now
        if caller.session_id is not None:
            self._sessions[caller.session_id] = now

    def seen(self, record: SessionRecord) -> None:
        """The session was connected until just now."""
        self._sessions[record.id] = self._node.clock.now_ms()

    async def flush(self) -> None:
        """Write what was gathered. What cannot be written now is kept for the next time."""
        users, self._users = self._users, {}
        sessions, self._sessions = self._sessions, {}
        try:
            while users:
                user_id, at = next(iter(users.items()))
                await self._node.users.touch_user(user_id, at)
                del users[user_id]
            while sessions:
                session_id, at = next(iter(sessions.items()))
                await self._node.sessions.touch(session_id, at)
                del sessions[session_id]
        finally:
            self._users = {**users, **self._users}
            self._sessions = {**sessions, **self._sessions}
