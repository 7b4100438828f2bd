"""A connection: one socket of one user on this node, and who stands behind it."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from parlour.core.users import User
from parlour.ports import SessionRecord
from parlour.server.endpoint import Ack, Link
from parlour.wire.packets import Encoded

Command = tuple[str, Any, Ack | None]


class Connection:
    """Dies with the network; the session behind it does not. Compared by identity."""

    __slots__ = (
        "active_at",
        "away",
        "booked",
        "caller",
        "commands",
        "expires_at",
        "fresh",
        "jti",
        "knocks",
        "known",
        "left",
        "link",
        "quiet_until",
        "reads",
        "rooms",
        "session",
        "sid",
        "user",
        "working",
    )

    def __init__(
        self,
        link: Link,
        user: User,
        session: SessionRecord,
        jti: str | None,
        expires_at: int | None,
    ) -> None:
        self.link = link
        self.sid = link.sid
        self.user = user
        self.session = session
        self.jti = jti
        self.expires_at = expires_at
        self.rooms: dict[str, Callable[[], None] | None] = {}
        self.commands: deque[Command] | None = None
        """What waits behind the command that is being handled; None where nothing does."""
        self.working = False
        self.left = False
        self.fresh = False
        self.caller: Caller | None = None
        self.booked = 0.0
        self.quiet_until = 0.0
        """Until when another sign of life is no news, on the monotonic clock."""
        self.away = False
        self.active_at = 0
        self.known = False
        self.reads: set[str] | None = None
        """Rooms of conversations in which the person only reads."""
        self.knocks: dict[str, None] | None = None
        """Rooms that the person was refused, and waits at."""

    @property
    def homes(self) -> tuple[str, str]:
        """The rooms that it stays in as long as it lives: its user's and its session's."""
        # All tabs of a person share the first name.
        return sys.intern(f"user:{self.user.id}"), f"session:{self.session.id}"

    def send(self, encoded: Encoded) -> None:
        self.link.send(encoded)

    def log_fields(self) -> dict[str, str]:
        """For `telemetry.speaker`."""
        return {"sid": self.sid, "user": self.user.id, "session": self.session.id}


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf a command runs: a socket's connection, or an HTTP request."""

    user: User
    session_id: str | None = None
    connection: Connection | None = None
    client: str = "websocket"
    environ: Mapping[str, Any] = field(default_factory=dict)
    user_env: Mapping[str, str] = field(default_factory=dict)
